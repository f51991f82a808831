//! What the owner of the work holds: a candidacy, and while a term lasts, a standing.
//!
//! In: terms, from the elector. Out: the gate's opening and the term's end, to the elector.
//! Never: outlives its elector as something open: when the elector is gone, so is the term.

use tokio::sync::{mpsc, oneshot};

use crate::gate::{CloseReason, GateClosed, Term};

/// The place at which terms are handed over. Dropping it ends the elector's interest in the Lease.
#[derive(Debug)]
pub struct Candidacy {
    terms: mpsc::Receiver<Standing>,
}

/// Whether to give the Lease back at the end of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Give it back, so that another candidate can begin at once. Only after all work of the term has stopped: a process
    /// whose work may still run must not release.
    Release,
    /// Let it run out.
    Keep,
}

/// A term that is this process's to use. While it lives, the elector renews the Lease (unless it is lost) and begins no
/// other term.
///
/// The order is: catch up, [`open`](Self::open), work until [`Term::cancelled`] or until it is time to stop, stop all
/// work, [`end`](Self::end).
///
/// Dropping a standing closes the gate and keeps the Lease, since it doesn't show whether the work has stopped.
#[derive(Debug)]
#[must_use = "a dropped standing ends its term"]
pub struct Standing {
    term: Term,
    ending: Option<oneshot::Sender<Ending>>,
}

/// The owner has ended the term.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) how: End,
    pub(crate) done: oneshot::Sender<()>,
}

/// The elector's side of a candidacy.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    terms: mpsc::Sender<Standing>,
}

impl Candidacy {
    pub(crate) fn new() -> (Seats, Self) {
        // One is enough: there is no next term before the last one has been ended.
        let (sender, terms) = mpsc::channel(1);
        (Seats { terms: sender }, Self { terms })
    }

    /// The next term won, its gate still closed; None once the elector has stopped.
    ///
    /// A term that nobody takes keeps the Lease with a closed gate. Cancel safe.
    pub async fn next_term(&mut self) -> Option<Standing> {
        self.terms.recv().await
    }
}

impl Seats {
    /// Hands a term over; false if nobody is there to take it.
    pub(crate) fn hand_over(&self, standing: Standing) -> bool {
        self.terms.try_send(standing).is_ok()
    }

    /// Returns once the candidacy has been dropped. Cancel safe.
    pub(crate) async fn left(&self) {
        self.terms.closed().await;
    }
}

impl Standing {
    pub(crate) fn new(term: Term) -> (Self, oneshot::Receiver<Ending>) {
        let (sender, receiver) = oneshot::channel();
        (Self { term, ending: Some(sender) }, receiver)
    }

    /// The term.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// Opens the gate. Before, whatever the work reads must have caught up with a read made after the Lease was won.
    ///
    /// # Errors
    /// The gate has closed before it was opened. Opening an open gate does nothing.
    pub fn open(&self) -> Result<(), GateClosed> {
        self.term.open()
    }

    /// Ends the term: closes the gate if it is still open, releases the Lease if asked to (and if it wasn't lost), and
    /// returns when that is done or given up, after at most three request timeouts and the pauses between them.
    ///
    /// To be called after all work of the term has stopped. If this future is dropped, the end still takes place.
    pub async fn end(mut self, how: End) {
        self.term.close(CloseReason::Ended);
        let (done, released) = oneshot::channel();
        if let Some(ending) = self.ending.take()
            && ending.send(Ending { how, done }).is_ok()
        {
            // An error means that the elector is gone; then there is nothing to wait for.
            let _ = released.await;
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // The sender is dropped with it, which the elector takes for End::Keep.
        self.term.close(CloseReason::Ended);
    }
}
