//! What the owner of the work holds: a candidacy, and while a term lasts, a standing.
//!
//! In: terms, from the elector. Out: the gate's opening and the term's end, to the elector.
//! Never: outlives its elector as something open: when the elector is gone, so is the term.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::GateInstant;
use crate::gate::{CloseReason, GateClosed, Term};
use crate::sight::Sight;
use crate::standpoint::Stance;

/// The place at which terms are handed over. Dropping it ends the elector's interest in the Lease.
pub struct Candidacy {
    terms: mpsc::Receiver<Standing>,
    footing: Footing,
    sight: Sight,
}

/// How a candidate stands, to be changed from anywhere; cheap to clone. It doesn't keep the candidacy alive.
#[derive(Clone)]
pub struct Footing {
    stance: watch::Sender<Stance>,
    withheld: watch::Sender<bool>,
    /// After stepping down.
    rests_until: watch::Sender<GateInstant>,
}

/// What becomes of the Lease at the end of a term. All but [`End::Keep`] only after all work of the term has stopped: a process whose
/// work may still run must not release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Give it back, so that another candidate can begin at once.
    Release,
    /// Give it back for this identity (or the readable part of one), whom others let go first for a lease duration.
    HandOver(String),
    /// Give it back, and don't claim it again for this long at least: what made this process step down needs time to mend.
    StepDown(Duration),
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
    asked: watch::Receiver<Option<String>>,
}

/// The owner has ended the term.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) how: End,
    pub(crate) done: oneshot::Sender<()>,
}

/// The elector's side of a candidacy.
#[derive(Clone)]
pub(crate) struct Seats {
    terms: mpsc::Sender<Standing>,
    footing: Footing,
    pub(crate) sight: Sight,
}

/// The elector's side of a standing.
pub(crate) struct Seat {
    pub(crate) ending: oneshot::Receiver<Ending>,
    asked: watch::Sender<Option<String>>,
}

impl Candidacy {
    pub(crate) fn new(sight: Sight) -> (Seats, Self) {
        // One is enough: there is no next term before the last one has been ended.
        let (sender, terms) = mpsc::channel(1);
        let footing = Footing {
            stance: watch::Sender::new(Stance::default()),
            withheld: watch::Sender::new(false),
            rests_until: watch::Sender::new(GateInstant::from_nanos(0)),
        };
        let seats = Seats { terms: sender, footing: footing.clone(), sight: sight.clone() };
        (seats, Self { terms, footing, sight })
    }

    /// How this candidate stands.
    pub fn footing(&self) -> Footing {
        self.footing.clone()
    }

    /// What the elector sees and has seen.
    pub fn sight(&self) -> Sight {
        self.sight.clone()
    }

    /// The next term won, its gate still closed; None once the elector has stopped.
    ///
    /// A term that nobody takes keeps the Lease with a closed gate. Cancel safe.
    pub async fn next_term(&mut self) -> Option<Standing> {
        self.terms.recv().await
    }
}

impl Footing {
    /// How the candidate stands from now on. Takes effect at its next look; a term that has been won goes on.
    pub fn stand(&self, stance: Stance) {
        self.stance.send_replace(stance);
    }

    /// Whether the candidate claims nothing, however it stands: for a process that knows itself to be unwell. It still looks. A term that
    /// has been won goes on: end it with [`End::StepDown`].
    pub fn withhold(&self, withheld: bool) {
        self.withheld.send_replace(withheld);
    }

    /// The candidate has stepped down, and claims nothing before this time.
    pub(crate) fn rest(&self, until: GateInstant) {
        self.rests_until.send_replace(until);
    }

    /// None: withheld.
    fn stance(&self) -> Option<Stance> {
        (!*self.withheld.borrow()).then(|| *self.stance.borrow())
    }

    /// Whether the candidate would claim the Lease at `now`, if it might.
    pub(crate) fn stands(&self, now: GateInstant) -> bool {
        now >= *self.rests_until.borrow() && !matches!(self.stance(), None | Some(Stance::Aside))
    }
}

impl Seats {
    /// Hands a term over; false if nobody is there to take it.
    pub(crate) fn hand_over(&self, standing: Standing) -> bool {
        self.terms.try_send(standing).is_ok()
    }

    /// None: withheld.
    pub(crate) fn stance(&self) -> Option<Stance> {
        self.footing.stance()
    }

    pub(crate) fn footing(&self) -> &Footing {
        &self.footing
    }

    /// Returns once the candidacy has been dropped. Cancel safe.
    pub(crate) async fn left(&self) {
        self.terms.closed().await;
    }
}

impl Seat {
    /// The holder is asked to hand over to `to`; None: not any more.
    pub(crate) fn ask(&self, to: Option<&str>) {
        self.asked.send_if_modified(|asked| {
            let news = asked.as_deref() != to;
            if news {
                *asked = to.map(str::to_owned);
            }
            news
        });
    }
}

impl Standing {
    pub(crate) fn new(term: Term) -> (Self, Seat) {
        let (sender, ending) = oneshot::channel();
        let asked = watch::Sender::new(None);
        (Self { term, ending: Some(sender), asked: asked.subscribe() }, Seat { ending, asked })
    }

    /// Returns, once somebody asks this holder to hand over ([`HAND_OVER_ANNOTATION`](crate::HAND_OVER_ANNOTATION)), for whom. The
    /// owner may then stop its work and [`end`](Self::end) with [`End::HandOver`], or may not. Waits for ever if nobody does. Cancel safe.
    pub async fn asked_to_hand_over(&self) -> String {
        let mut asked = self.asked.clone();
        let answer = asked.wait_for(Option::is_some).await.ok().and_then(|asked| asked.clone());
        match answer {
            Some(to) => to,
            // The elector is gone, which the term's end says.
            None => std::future::pending().await,
        }
    }

    /// The term.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// Opens the gate. Before, whatever the work reads must have caught up with a read made after the Lease was won.
    ///
    /// # Errors
    /// The gate has closed before it was opened. Opening an open gate does nothing. One that is in doubt at the moment is
    /// opened too; it lets nobody act before the doubt has passed.
    pub fn open(&self) -> Result<(), GateClosed> {
        self.term.open()
    }

    /// Ends the term: closes the gate if it is still open, releases the Lease if asked to (and if it wasn't lost), and
    /// returns when that is done or given up, after at most three tries to give it back: one request timeout each, two
    /// where the try met an edit of the Lease, and the pauses between them.
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
