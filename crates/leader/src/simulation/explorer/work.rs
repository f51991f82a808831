//! The gate and the work behind it, as the judge sees them.
//!
//! In: when a term was won, renewed and closed. Out: whether effects of it may be in progress. Never: what the process
//! believes; a process that is stopped doesn't close anything, its work goes on as long as its gate would let it.

use crate::clock::GateInstant;
use crate::record::Epoch;

use super::facts::{Fact, Facts};
use super::process::Moment;

/// The work of one term.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) epoch: Epoch,
    pub(crate) opened: bool,
    /// The gate closes by itself then; None: it waits to be told, as a cancelled context does.
    pub(crate) lapses: Option<GateInstant>,
    /// The tick at which it was closed.
    pub(crate) closed: Option<u32>,
    /// How many ticks effects go on after the closing.
    pub(crate) goes_on: u32,
}

impl Work {
    /// Whether an effect may be in progress.
    pub(crate) fn is_active(&self, at: Moment) -> bool {
        let lapsed = self.lapses.is_some_and(|lapses| at.before(self.goes_on) >= lapses);
        let stopped = self.closed.is_some_and(|closed| at.tick >= closed + self.goes_on);
        self.opened && !lapsed && !stopped
    }

    pub(crate) fn facts(&self, facts: &mut Facts, at: Moment) {
        facts.push(Fact::Version(self.epoch.number()));
        facts.plain(u64::from(self.opened));
        if let Some(lapses) = self.lapses {
            facts.push(Fact::Local(lapses, at.length(self.goes_on)));
        }
        match self.closed {
            None => facts.plain(0),
            Some(closed) => {
                facts.plain(1);
                facts.push(Fact::Local(at.local_at(closed), at.length(self.goes_on)));
            }
        }
    }
}
