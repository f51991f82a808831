//! What can be seen of the keys from outside.

use super::Ledger;
use crate::metrics::Running;
use crate::moment::{Clock, Moment};
use crate::sight::{Exhausted, InFlight, Sight, Waiting};
use crate::state::Mark;

impl<K> Ledger<K> {
    /// At most `most` keys of each kind.
    pub(crate) fn sight(&self, most: usize, clock: Clock, now: Moment) -> Sight<K>
    where
        K: Clone,
    {
        let mut sight = Sight { snapshot: self.snapshot(), ..Sight::default() };
        for (id, key, record) in self.keys.live() {
            match record.mark {
                Mark::Ready if sight.ready.len() < most => sight.ready.push(key.clone()),
                Mark::Held if sight.held.len() < most => sight.held.push(key.clone()),
                Mark::Processing | Mark::Dirty if sight.in_flight.len() < most => sight.in_flight.push(InFlight {
                    key: key.clone(),
                    age: self.memos.of(id).started.map(|started| now.since(started)),
                    attempt: record.failures.saturating_add(1),
                    will_rerun: record.mark == Mark::Dirty || self.deadlines.is_waiting(id),
                }),
                _ => {}
            }
        }
        sight.waiting = self.waiting(most, clock);
        let mut exhausted: Vec<_> = self.exhausted().collect();
        exhausted.sort_unstable_by_key(|(since, _)| *since);
        sight.exhausted = (exhausted.into_iter().take(most))
            .map(|(since, id)| Exhausted {
                key: self.keys.key(id).clone(),
                failures: self.failures(id),
                since: clock.instant(since),
                reasons: self.reasons.get(&id).map(|reasons| (**reasons).clone()).unwrap_or_default(),
            })
            .collect();
        sight
    }

    /// How long the keys in flight have been so. Zero if nobody keeps the time.
    pub(crate) fn running(&self, now: Moment) -> Running {
        let started = (self.keys.live().filter(|(_, _, record)| record.mark.is_in_flight()))
            .filter_map(|(id, ..)| self.memos.of(id).started);
        started.fold(Running::default(), |running, started| {
            let age = now.since(started);
            Running { unfinished: running.unfinished.saturating_add(age), longest: running.longest.max(age) }
        })
    }

    /// The first `most` deadlines.
    fn waiting(&self, most: usize, clock: Clock) -> Vec<Waiting<K>>
    where
        K: Clone,
    {
        let mut waiting: Vec<_> = self.deadlines.iter().collect();
        if most < waiting.len() {
            waiting.select_nth_unstable_by_key(most, |(due, _)| *due);
            waiting.truncate(most);
        }
        waiting.sort_unstable_by_key(|(due, _)| *due);
        let key = |(due, id)| Waiting {
            key: self.keys.key(id).clone(),
            due: clock.instant(due),
            failures: self.failures(id),
        };
        waiting.into_iter().map(key).collect()
    }
}
