//! Pending: how the deltas of one key are coalesced while the store is busy.
//!
//! In: deltas in order of arrival. Out: at most the end of one life and the present state of the next. It never keeps
//! a state that is known to be older than what it has, and never forgets the end of a life the store may hold.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Delta;
use crate::event::Finality;
use crate::object::Cached;
use crate::version;

/// What is pending for one key: at most the end of an earlier life, then a present state.
pub(super) struct Pending<K> {
    pub(super) gone: Option<(Arc<K>, Finality)>,
    pub(super) here: Option<Arc<K>>,
}

impl<K: Cached> Pending<K> {
    pub(super) fn new(delta: Delta<K>) -> Self {
        match delta {
            Delta::Applied(object) => Self { gone: None, here: Some(object) },
            Delta::Deleted(object) => Self { gone: Some((object, Finality::Observed)), here: None },
        }
    }

    pub(super) fn merge(&mut self, delta: Delta<K>) {
        match delta {
            Delta::Applied(object) => self.apply(object),
            Delta::Deleted(object) => self.delete(object),
        }
    }

    /// Of an older life and a newer one, the end of the first and the newest state of the second are kept. A life
    /// that began and ended in here vanishes where an earlier end is already pending: the store never held it.
    fn apply(&mut self, object: Arc<K>) {
        if self.newest().is_some_and(|newest| is_older(&*object, newest)) {
            return;
        }
        match self.here.replace(object) {
            Some(before) => {
                if self.here.as_ref().is_some_and(|now| now.uid() != before.uid()) {
                    self.gone.get_or_insert((before, Finality::Inferred));
                }
            }
            // It left the selectors and came back: one life, compressed to its latest state.
            None => {
                let now = self.here.as_ref().map(|now| now.uid());
                if self.gone.as_ref().is_some_and(|(last, _)| Some(last.uid()) == now) {
                    self.gone = None;
                }
            }
        }
    }

    fn delete(&mut self, object: Arc<K>) {
        if self.newest().is_some_and(|newest| is_older(&*object, newest)) {
            return;
        }
        match self.here.take() {
            Some(before) if before.uid() == object.uid() => {
                self.gone.get_or_insert((object, Finality::Observed));
            }
            Some(before) => {
                self.gone.get_or_insert((before, Finality::Inferred));
            }
            None => match &mut self.gone {
                Some((last, _)) if last.uid() == object.uid() => *last = object,
                Some(_) => {}
                none => *none = Some((object, Finality::Observed)),
            },
        }
    }

    fn newest(&self) -> Option<&K> {
        self.here.as_deref().or(self.gone.as_ref().map(|(last, _)| &**last))
    }
}

/// Whether `a` is known to be an older state than `b`; false where the versions can't be compared, since what comes
/// later in a stream is newer.
pub(crate) fn is_older<K: Cached>(a: &K, b: &K) -> bool {
    version::compare(a.version(), b.version()) == Some(Ordering::Less)
}
