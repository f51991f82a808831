//! A handle to a key that is added often.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::Added;
use crate::keys::Id;
use crate::ledger::Wanted;
use crate::policy::Ask;
use crate::shared::Shared;

/// A key that the queue has made known: adding by it hashes, compares and clones nothing. Made by
/// [`WorkQueue::intern`](crate::WorkQueue::intern).
///
/// While there is one, the queue remembers the key, also when it isn't queued; so keep it as long as what the key
/// stands for, and no longer. Clones count.
pub struct KeyId<K> {
    shared: Arc<Shared<K>>,
    id: Id,
    flow: u64,
}

impl<K> KeyId<K> {
    pub(crate) fn new(shared: Arc<Shared<K>>, key: K) -> Self
    where
        K: Clone + Eq + Hash,
    {
        let (hash, flow) = (shared.hash(&key), shared.flow(&key));
        let id = shared.change(|ledger, now| {
            let id = ledger.intern(hash, Cow::Owned(key), now);
            ledger.pin(id);
            id
        });
        Self { shared, id, flow }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> K
    where
        K: Clone,
    {
        self.shared.look(|ledger| ledger.key(self.id).clone())
    }

    /// As [`WorkQueue::add`](crate::WorkQueue::add).
    pub fn add(&self) -> Added {
        self.ask(Wanted::default())
    }

    /// As [`WorkQueue::add_after`](crate::WorkQueue::add_after).
    pub fn add_after(&self, delay: Duration) -> Added {
        self.ask(Wanted { after: delay, ..Wanted::default() })
    }

    /// As [`WorkQueue::add_with`](crate::WorkQueue::add_with).
    pub fn add_with(&self, ask: Ask) -> Added {
        self.ask(Shared::<K>::wanted(ask))
    }

    /// As [`WorkQueue::withdraw`](crate::WorkQueue::withdraw).
    pub fn withdraw(&self) -> bool {
        self.shared.change(|ledger, now| ledger.withdraw(self.id, now))
    }

    /// As [`WorkQueue::failures`](crate::WorkQueue::failures).
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.shared.look(|ledger| ledger.failures(self.id))
    }

    /// As [`WorkQueue::add_rate_limited`](crate::WorkQueue::add_rate_limited).
    pub fn add_rate_limited(&self) -> Added {
        let failures = self.shared.look(|ledger| ledger.next_failure(self.id));
        let delay = self.shared.back_off(failures);
        let wanted = Wanted { after: delay, flow: self.flow, ..Wanted::default() };
        self.shared.change_timed(true, |ledger, now| ledger.add_failed(self.id, wanted, now))
    }

    fn ask(&self, wanted: Wanted) -> Added {
        let needs_time = !wanted.after.is_zero();
        self.shared
            .change_timed(needs_time, |ledger, now| ledger.add_id(self.id, Wanted { flow: self.flow, ..wanted }, now))
    }
}

impl<K> Clone for KeyId<K> {
    fn clone(&self) -> Self {
        self.shared.change(|ledger, _| ledger.pin(self.id));
        Self { shared: self.shared.clone(), id: self.id, flow: self.flow }
    }
}

impl<K> Drop for KeyId<K> {
    fn drop(&mut self) {
        self.shared.change(|ledger, now| ledger.unpin(self.id, now));
    }
}

impl<K> fmt::Debug for KeyId<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyId").field(&self.id.index()).finish()
    }
}
