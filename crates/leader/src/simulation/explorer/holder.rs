//! What of a holder makes a difference to what happens next, for the explorer.
//!
//! In: a tenure. Out: facts. Never: its configuration, which doesn't change, and what it knows of twins, of which there are none here.

use super::Tenure;
use crate::simulation::explorer::facts::{Fact, Facts};

impl Tenure {
    pub(crate) fn facts(&self, facts: &mut Facts) {
        let Self { fixed: _, lease, epoch, next_at, read_next, conflicts, unanswered: _, stranger: _ } = self;
        facts.record(lease.object());
        facts.push(Fact::Version(epoch.number()));
        facts.due(*next_at);
        facts.plain(u64::from(*read_next) * 4 + u64::from((*conflicts).min(2)));
    }
}
