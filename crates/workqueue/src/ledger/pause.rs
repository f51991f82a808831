//! Pauses, of the queue or of one key. What is paused goes on accepting adds, and is handed out when it is resumed.

use std::borrow::Cow;

use super::Ledger;
use crate::keys::Id;
use crate::moment::Moment;
use crate::state::Mark;

impl<K> Ledger<K> {
    /// Nothing is handed out until [`Ledger::resume`].
    pub(crate) fn pause(&mut self) {
        self.paused = !self.shut_down;
    }

    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// The key isn't handed out until [`Ledger::resume_key`]; a worker that has it finishes.
    pub(crate) fn pause_key(&mut self, hash: u64, key: K, flow: u64, now: Moment)
    where
        K: Clone + Eq,
    {
        let id = self.intern(hash, Cow::Owned(key), now);
        self.cooling.order.remove(&mut self.cooling.places, id);
        let standing = self.memos.standing(id);
        let record = self.keys.record_mut(id);
        if self.shut_down {
            // What somebody stops isn't started by an end.
            self.state.unqueue(id, record, standing);
            self.settle(id, now);
            return;
        }
        self.paused_keys += usize::from(!std::mem::replace(&mut record.paused, true));
        if record.mark == Mark::Ready {
            self.state.unqueue(id, record, standing);
            self.state.enqueue(id, record, standing);
        } else if let Some(memo) = self.memos.get_mut(id) {
            memo.flow = flow;
        }
    }

    /// The end of all pauses, and of what was held back by them.
    pub(super) fn unpause_all(&mut self, now: Moment) {
        let paused: Vec<Id> = self.keys.live().filter(|(_, _, record)| record.paused).map(|(id, ..)| id).collect();
        for id in paused {
            let standing = self.memos.standing(id);
            let record = self.keys.record_mut(id);
            record.paused = false;
            self.state.unqueue(id, record, standing);
            self.settle(id, now);
        }
        self.paused_keys = 0;
    }

    /// False: the key wasn't paused.
    pub(crate) fn resume_key(&mut self, id: Id, now: Moment) -> bool {
        let standing = self.memos.standing(id);
        let record = self.keys.record_mut(id);
        if !std::mem::take(&mut record.paused) {
            return false;
        }
        self.paused_keys -= 1;
        if record.mark == Mark::Held {
            self.state.unqueue(id, record, standing);
            self.make_ready_again(id, now);
        }
        self.settle(id, now);
        true
    }
}
