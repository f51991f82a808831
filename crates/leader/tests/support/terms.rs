//! All terms there were, as an observer in true time sees their gates.
#![allow(dead_code, reason = "each of the tests uses a part")]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use watchkeeper_apiserver::simulate::check::Stay;
use watchkeeper_leader::Term;

#[derive(Clone, Default)]
pub(crate) struct Terms(Arc<Mutex<Vec<Seen>>>);

struct Seen {
    term: Term,
    user: String,
    opened: Duration,
    /// The last moment at which the gate was seen open, and the first after it at which it was seen closed.
    open: Duration,
    closed: Option<Duration>,
    /// Since when no work is under way.
    stopped: Option<Duration>,
}

impl Terms {
    pub(crate) fn opened(&self, term: &Term, user: &str, now: Duration) -> usize {
        let mut terms = self.0.lock();
        let (term, user) = (term.clone(), user.to_owned());
        terms.push(Seen { term, user, opened: now, open: now, closed: None, stopped: None });
        terms.len() - 1
    }

    pub(crate) fn stopped(&self, number: usize, now: Duration) {
        self.0.lock()[number].stopped = Some(now);
    }

    /// The process is dead: its gates let nothing through any more.
    pub(crate) fn died(&self, user: &str, now: Duration) {
        for seen in self.0.lock().iter_mut().filter(|seen| seen.user == user && seen.stopped.is_none()) {
            seen.stopped = Some(now);
            seen.closed.get_or_insert(now);
        }
    }

    /// Asks every gate; whether one is open. One that is shut by a doubt may be open again later. A frozen process's gate is closed by its
    /// clock, not by its being asked.
    pub(crate) fn look(&self, now: Duration) -> bool {
        let mut any = false;
        for seen in self.0.lock().iter_mut().filter(|seen| seen.closed.is_none() || seen.stopped.is_none()) {
            if seen.term.is_open() {
                (seen.open, seen.closed, any) = (now, None, true);
            } else {
                seen.closed.get_or_insert(now);
            }
        }
        any
    }

    /// Whose gate is open, with its number, as last seen.
    pub(crate) fn leader(&self) -> Option<(usize, String)> {
        let terms = self.0.lock();
        let (number, seen) = terms.iter().enumerate().rfind(|(_, seen)| seen.closed.is_none())?;
        Some((number, seen.user.clone()))
    }

    pub(crate) fn closed(&self, number: usize) -> Option<Duration> {
        self.0.lock()[number].closed
    }

    /// The first gate that was opened after this time: whose, and when.
    pub(crate) fn first_after(&self, time: Duration) -> Option<(String, Duration)> {
        let terms = self.0.lock();
        terms.iter().find(|seen| seen.opened > time).map(|seen| (seen.user.clone(), seen.opened))
    }

    /// From a gate's opening to the last effect that its work may have.
    pub(crate) fn stays(&self) -> Vec<Stay> {
        let stay = |seen: &Seen| {
            let last = seen.open + seen.term.stop_bound();
            Stay {
                identity: seen.user.clone(),
                epoch: u64::try_from(seen.term.epoch().number()).unwrap_or(u64::MAX),
                opened: seen.opened,
                closed: seen.stopped.map_or(last, |stopped| stopped.min(last)),
            }
        };
        self.0.lock().iter().map(stay).collect()
    }
}
