//! The client of a reconciler: reads freely, writes only while its term lasts.
//!
//! In: a [`Connection`] and a [`Term`]. Out: an ordinary [`Client`] with the write fence directly above the connection, so every
//! typed `Api` made from it is gated. The plain client is behind [`GatedClient::ungated`], a name that a review finds.

use kube_client::Client;
use watchkeeper_leader::{FenceConfig, FenceLayer, Term};

use crate::connection::{Connection, ConnectionError};

/// A client whose writes are refused once its term is over. Cheap to clone; made once per term.
#[derive(Clone)]
pub struct GatedClient {
    fenced: Client,
    plain: Client,
    term: Term,
}

impl GatedClient {
    /// Must be called on the runtime that will use the client.
    pub(crate) fn new(
        connection: &Connection,
        plain: Client,
        term: Term,
        fence: FenceConfig,
    ) -> Result<Self, ConnectionError> {
        let fenced = connection.layered(FenceLayer::new(term.clone(), fence))?;
        Ok(Self { fenced, plain, term })
    }

    /// The gated client, for `Api::namespaced(client.client(), ..)` and the like. Rules for writes (each refused write is a
    /// [`watchkeeper_leader::FenceRefused`] inside `kube_client::Error::Service`): updates carry the `resourceVersion` of the
    /// object they were computed from, deletes carry preconditions, creates carry a name.
    pub fn client(&self) -> Client {
        self.fenced.clone()
    }

    /// The term in which this client may write.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// The escape: a client that writes whether or not this process leads. What it writes is outside the promises I11 and I12.
    pub fn ungated(&self) -> Client {
        self.plain.clone()
    }
}
