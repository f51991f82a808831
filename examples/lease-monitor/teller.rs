//! The reconciler: tells each edge of each Lease once, as a Kubernetes Event.
//!
//! In: the key of a Lease, and the board that knows what its edges are. Out: creates, and updates of the `series` of
//! Events that exist, all through the gated client: two active sets of workers would tell everything twice. The
//! name of an Event is derived, so a create that conflicts means that a former term has told it. Every update
//! carries the version it was computed from. It never writes to a Lease.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube_client::Api;
use kube_client::api::PostParams;
use watchkeeper::{Action, BoxError, Failure, Reconciler, Request};

use crate::board::Board;
use crate::moment::SharedClock;
use crate::output::Voice;
use crate::problem;
use crate::story::{Story, again};

/// Posts Events about Leases.
pub(crate) struct Teller {
    pub(crate) board: Arc<Board>,
    pub(crate) clock: SharedClock,
    pub(crate) voice: Voice,
    pub(crate) replica: String,
}

#[async_trait]
impl Reconciler<Lease> for Teller {
    async fn reconcile(&self, request: Request<Lease>) -> Result<Action, Failure> {
        let epoch = request.client.term().epoch().to_string();
        let plan = self.board.plan(&request.key, &epoch);
        if !plan.tell.is_empty() || plan.renew.is_some() {
            let events = Api::namespaced(request.client.client(), request.key.namespace());
            let instance = request.client.term().identity().to_string();
            let desk = Desk { teller: self, events, instance, epoch, key: &request.key };
            for story in &plan.tell {
                desk.tell(story).await?;
            }
            if let Some(story) = &plan.renew {
                desk.renew(story, Reason::StillStale).await?;
            }
        }
        Ok(plan.again.map_or(Action::Done, Action::RequeueAfter))
    }
}

/// Why a series is renewed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The create conflicted.
    FoundTold,
    /// The Lease has been stale for another period.
    StillStale,
}

/// One pass over one Lease.
struct Desk<'a> {
    teller: &'a Teller,
    events: Api<Event>,
    instance: String,
    epoch: String,
    key: &'a watchkeeper::informer::ObjectKey,
}

impl Desk<'_> {
    async fn tell(&self, story: &Story) -> Result<(), Failure> {
        let event = story.event(&self.instance, self.teller.clock.wall());
        match self.events.create(&PostParams::default(), &event).await {
            Ok(_) => {
                let Story { namespace, lease, reason, note, .. } = story;
                let by = &self.teller.replica;
                self.teller
                    .voice
                    .say(&format!("event: {reason} on {namespace}/{lease}: {note} [{by}, epoch {}]", self.epoch));
                self.done(story);
                Ok(())
            }
            // A former term was here, or an earlier try of ours whose answer was lost.
            Err(error) if problem::code(&error) == Some(409) && story.stands => {
                self.renew(story, Reason::FoundTold).await
            }
            Err(error) if problem::code(&error) == Some(409) => {
                self.done(story);
                Ok(())
            }
            Err(error) => Err(failure(error, "create", &story.namespace)),
        }
    }

    async fn renew(&self, story: &Story, reason: Reason) -> Result<(), Failure> {
        let Some(event) =
            self.events.get_opt(&story.name).await.map_err(|error| failure(error, "get", &story.namespace))?
        else {
            // Events live for an hour, or were deleted: told anew, at the next try.
            self.teller.board.untold(self.key, story);
            return match reason {
                Reason::StillStale => Box::pin(self.tell(story)).await,
                Reason::FoundTold => Err(Failure::Retry("the Event vanished between two requests".into())),
            };
        };
        if reason == Reason::FoundTold && event.reporting_instance.as_ref() == Some(&self.instance) {
            self.done(story);
            return Ok(());
        }
        let event = again(event, self.teller.clock.wall());
        let put = self.events.replace(&story.name, &PostParams::default(), &event).await;
        put.map_err(|error| failure(error, "update", &story.namespace))?;
        self.done(story);
        Ok(())
    }

    fn done(&self, story: &Story) {
        self.teller.board.told(self.key, story, &self.epoch);
    }
}

/// A namespace that is going or gone takes no Events, and that is no failure to mend; all else is tried again.
fn failure(error: kube_client::Error, verb: &str, namespace: &str) -> Failure {
    let gone = match &error {
        kube_client::Error::Api(status) => {
            status.code == 404 && verb == "create" || status.code == 403 && status.message.contains("being terminated")
        }
        _ => false,
    };
    let text: BoxError = problem::explain(&error, verb, "events.events.k8s.io", namespace).into();
    if gone { Failure::GiveUp(text) } else { Failure::Retry(text) }
}
