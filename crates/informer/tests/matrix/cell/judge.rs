//! The judgements on a cell while the fault lasts and after it: requests, memory, and what is told of the fault.

use std::time::Duration;

use watchkeeper_apiserver::simulate::{check, log};

use super::{Figures, MINUTE, Play};
use crate::fault::{Row, Tells};
use crate::heap::Heap;
use crate::phase::Phase;

/// What is held at most is what is kept in the end and this part of it: the keys of a list beside the cache that it is
/// compared with.
const PENDING_PERCENT: usize = 15;
/// What is kept of an object, story and copies of keys included, where the informer is told to stop before it keeps any.
const KEPT_AN_OBJECT: usize = 1_500;
/// And this, whatever the size: pieces of a body on each side of the wire, an object at the limit of its size.
const CONSTANT: usize = 512 << 10;
impl Play {
    /// (c) No minute has more requests than the table says.
    pub(super) fn judge_requests(&mut self, begun: Duration, row: Row) {
        let of = |path: &str| log::requests(&self.world.server, path).remove("informer").unwrap_or_default();
        let mut sent = of("");
        // A list counts as one however many pages it has.
        for continued in of("continue=") {
            if let Some(place) = sent.iter().position(|at| *at == continued) {
                sent.remove(place);
            }
        }
        let since = |from: Duration| sent.iter().filter(|at| **at >= from).copied().collect::<Vec<_>>();
        let in_any = |sent: &[Duration]| {
            (0..=sent.len()).rev().find(|most| *most == 0 || check::request_budget(sent, MINUTE, most - 1).is_err())
        };
        let (whole, capped) = (since(begun), self.capped.map(|capped| since(begun.max(capped))).unwrap_or_default());
        let (whole, capped) = (in_any(&whole).unwrap_or(0), in_any(&capped).unwrap_or(0));
        self.figures.requests = self.figures.requests.max(whole);
        if whole > row.climbing() {
            self.complain(format!("{whole} requests in a minute, more than {}", row.climbing()));
        }
        if capped > row.at_cap() {
            self.complain(format!(
                "{capped} requests in a minute at the cap of the backoff, more than {}",
                row.at_cap()
            ));
        }
    }

    /// (d) No more is pending than a part of what is cached, or would be if the informer weren't told to stop.
    pub(super) fn judge_heap(&mut self, heap: &Heap) {
        let whole = self.cell.size * KEPT_AN_OBJECT;
        let Figures { retained, most, .. } = &mut self.figures;
        *most = heap.most();
        *retained = if self.cell.phase == Phase::Shutdown { heap.now().max(whole) } else { heap.now() };
        let bound = *retained + *retained * PENDING_PERCENT / 100 + CONSTANT;
        if *most > bound {
            let what = format!("{most} bytes were held, more than {bound}");
            self.complain(what);
        }
    }

    /// (e) Nothing was told but what the fault is.
    pub(super) fn judge_classes(&mut self) {
        let steps = (self.cell.fault.steps)(self.place);
        let meant = |class: &str| {
            self.cell.fault.also.contains(&class)
                || steps.iter().any(|step| matches!(step.tells, Tells::Class(told) if told == class))
        };
        let others: Vec<_> = self.failing.iter().filter(|(class, _)| !meant(class)).cloned().collect();
        if !others.is_empty() {
            self.complain(format!("it tells of {others:?}"));
        }
    }
}
