//! The cells that can't exist.
//!
//! Comes in: a fault, a phase, a size. Goes out: why it isn't played.

use crate::phase::Phase::{self, FirstList, InitialEvents, PagedList, Reconnect, Shutdown, SteadyWatch};
use crate::phase::SIZES;

/// Cells of some faults, in some phases, of some sizes, and the reason. No faults: all of them.
struct Cells {
    faults: &'static [&'static str],
    phases: &'static [Phase],
    sizes: &'static [usize],
    reason: &'static str,
}

const EVENTS: &[&str] = &["duplicate events", "reordered", "lost event", "410 event", "bookmark wrong"];

const EXCLUDED: [Cells; 8] = [
    Cells { faults: &[], phases: &[PagedList], sizes: &[0], reason: "nothing is listed in no pages" },
    Cells { faults: EVENTS, phases: &[FirstList, PagedList], sizes: &SIZES, reason: "a list has no events" },
    Cells {
        faults: &["duplicate events", "reordered", "lost event"],
        phases: &[InitialEvents],
        sizes: &[0],
        reason: "nothing has no initial events",
    },
    Cells {
        faults: &["connect refused"],
        phases: &[SteadyWatch],
        sizes: &SIZES,
        reason: "a running watch opens no connection",
    },
    Cells {
        faults: &["hang before headers"],
        phases: &[SteadyWatch],
        sizes: &SIZES,
        reason: "the headers of a running watch have come",
    },
    Cells {
        faults: &["410 status"],
        phases: &[SteadyWatch],
        sizes: &SIZES,
        reason: "the status of a running watch has come: what refuses then is an event",
    },
    Cells {
        faults: &["410 on continue"],
        phases: &[FirstList, InitialEvents, SteadyWatch, Reconnect],
        sizes: &SIZES,
        reason: "only a page behind the first is continued",
    },
    Cells { faults: &["410 on continue"], phases: &[Shutdown], sizes: &[0], reason: "nothing is listed in no pages" },
];

impl Cells {
    fn has(&self, fault: &str, phase: Phase, size: usize) -> bool {
        (self.faults.is_empty() || self.faults.contains(&fault))
            && self.phases.contains(&phase)
            && self.sizes.contains(&size)
    }
}

/// Why there is no such cell.
pub(crate) fn excluded(fault: &str, phase: Phase, size: usize) -> Option<&'static str> {
    EXCLUDED.iter().find(|cells| cells.has(fault, phase, size)).map(|cells| cells.reason)
}
