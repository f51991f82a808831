//! When a key becomes ready: at once, when it is due, when a burst of adds has ended, when the minimum interval is
//! over.

use super::Ledger;
use crate::answer::Added;
use crate::delay::Scheduled;
use crate::keys::Id;
use crate::moment::Moment;
use crate::mutant::{Mutant, is_planted};
use crate::state::Mark;

/// How many overdue keys are put in order, or become ready, in one call, so that the lock is held for a bounded time.
const DUE_AT_ONCE: usize = 1024;

impl<K> Ledger<K> {
    /// As soon as possible, or when a debounced burst of adds has ended.
    #[inline]
    pub(super) fn want_soon(&mut self, id: Id, now: Moment) -> Added {
        self.revive(id);
        let mark = self.keys.record(id).mark;
        if let (Some(debounce), Mark::Idle | Mark::Processing) = (self.rules.debounce, mark)
            && let Some(memo) = self.memos.get_mut(id)
        {
            memo.owed = true;
            let burst = *memo.burst.get_or_insert(now);
            let due = now.after(debounce.quiet).min(burst.after(debounce.longest)).min(memo.delayed);
            if due > now {
                let sooner = self.deadlines.due(id).is_none_or(|before| due < before);
                self.deadlines.move_to(id, due);
                return match mark {
                    Mark::Processing => Added::WillRerun,
                    _ if sooner => Added::Queued,
                    _ => Added::AlreadyQueued,
                };
            }
        }
        self.make_ready(id, now)
    }

    /// When this is due, or earlier if something else asks for it.
    pub(super) fn want_at(&mut self, id: Id, due: Moment) -> Added {
        self.revive(id);
        match self.keys.record(id).mark {
            Mark::Ready | Mark::Held | Mark::Exhausted => Added::AlreadyQueued,
            Mark::Dirty => Added::WillRerun,
            Mark::Processing => {
                self.delay(id, due);
                Added::WillRerun
            }
            Mark::Idle => match self.delay(id, due) {
                Scheduled::New | Scheduled::Earlier => Added::Queued,
                Scheduled::Kept => Added::AlreadyQueued,
            },
        }
    }

    pub(super) fn delay(&mut self, id: Id, due: Moment) -> Scheduled {
        if let Some(memo) = self.memos.get_mut(id) {
            memo.delayed = memo.delayed.min(due);
        }
        self.deadlines.schedule(id, due)
    }

    #[inline]
    pub(super) fn make_ready(&mut self, id: Id, now: Moment) -> Added {
        self.become_ready(id, now, now)
    }

    /// It is ready since then, if nothing holds it back.
    fn become_ready(&mut self, id: Id, since: Moment, now: Moment) -> Added {
        match self.keys.record(id).mark {
            Mark::Ready | Mark::Held | Mark::Exhausted => return Added::AlreadyQueued,
            Mark::Dirty => return Added::WillRerun,
            Mark::Idle | Mark::Processing => {}
        }
        if let Some(answer) = self.hold_back(id, now) {
            return answer;
        }
        self.deadlines.cancel(id);
        self.end_burst(id);
        let mut counted = false;
        if let Some(memo) = self.memos.get_mut(id) {
            memo.since = since;
            memo.owed = false;
            counted = std::mem::take(&mut memo.counted);
        }
        self.state.adds += u64::from(!counted);
        let record = self.keys.record_mut(id);
        if record.mark == Mark::Processing {
            if !is_planted(Mutant::LostReAdd) {
                self.state.soil(record);
            }
            return Added::WillRerun;
        }
        self.state.enqueue(id, record, self.memos.standing(id));
        Added::Queued
    }

    /// An idle key that comes too early after its last hand-out waits until the minimum interval is over.
    #[inline]
    pub(super) fn hold_back(&mut self, id: Id, now: Moment) -> Option<Added> {
        if !self.rules.paced || self.shut_down || self.keys.record(id).mark != Mark::Idle {
            return None;
        }
        let floor = self.memos.of(id).floor(&self.rules);
        if floor <= now {
            return None;
        }
        self.end_burst(id);
        if let Some(memo) = self.memos.get_mut(id) {
            memo.owed = true;
        }
        Some(match self.delay(id, floor) {
            Scheduled::New | Scheduled::Earlier => Added::Queued,
            Scheduled::Kept => Added::AlreadyQueued,
        })
    }

    /// A key that was asked for while it couldn't be handed out can be now. No further add, so not counted as one.
    /// False: it has to wait for the minimum interval.
    pub(super) fn make_ready_again(&mut self, id: Id, now: Moment) -> bool {
        if self.hold_back(id, now).is_none() {
            self.state.enqueue(id, self.keys.record_mut(id), self.memos.standing(id));
            return true;
        }
        if let Some(memo) = self.memos.get_mut(id) {
            memo.counted = true;
        }
        false
    }

    /// Keys whose deadline has come are ready since then. To be called before anything else, at every call.
    #[inline]
    pub(crate) fn wake_due(&mut self, now: Moment) {
        let mut steps = DUE_AT_ONCE;
        while let Some((due, id)) = self.deadlines.pop_due(now, &mut steps) {
            self.end_burst(id);
            self.become_ready(id, due, now);
        }
    }

    /// The adds and delays so far are answered.
    #[inline]
    pub(super) fn end_burst(&mut self, id: Id) {
        if let Some(memo) = self.memos.get_mut(id) {
            memo.burst = None;
            memo.delayed = Moment::NEVER;
        }
    }
}
