//! Posting: the slots under one value of an index.
//!
//! In: slots that enter and leave, from the one writer. Out: the slots in order, as a copy that costs one count and isn't
//! changed any more. While no reader has a copy, nothing is copied on a change either; else one piece of the whole.

use std::sync::Arc;

/// A piece that grows beyond this is cut in two.
const PIECE: usize = 512;

/// Sorted, each slot once. Most values of most indexes have few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Posting {
    One(u32),
    Few(Arc<Vec<u32>>),
    /// Pieces that follow each other, none empty.
    Many(Arc<Vec<Arc<Vec<u32>>>>),
}

impl Posting {
    /// Of slots in any order.
    pub(crate) fn of(mut slots: Vec<u32>) -> Self {
        slots.sort_unstable();
        slots.dedup();
        Self::Few(Arc::new(slots))
    }

    pub(crate) fn insert(&mut self, slot: u32) {
        match self {
            Self::One(one) if *one == slot => {}
            Self::One(one) => *self = Self::Few(Arc::new(vec![slot.min(*one), slot.max(*one)])),
            Self::Few(few) => {
                if insert(few, slot)
                    && let Some(rest) = cut(few)
                {
                    *self = Self::Many(Arc::new(vec![Arc::clone(few), rest]));
                }
            }
            Self::Many(pieces) => {
                let at = piece_of(pieces, slot);
                let pieces = Arc::make_mut(pieces);
                if insert(&mut pieces[at], slot)
                    && let Some(rest) = cut(&mut pieces[at])
                {
                    pieces.insert(at + 1, rest);
                }
            }
        }
    }

    /// `false`: nothing is left.
    pub(crate) fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::One(one) => *one != slot,
            Self::Few(few) => {
                remove(few, slot);
                if let [one] = ***few {
                    *self = Self::One(one);
                }
                self.len() > 0
            }
            Self::Many(pieces) => {
                let at = piece_of(pieces, slot);
                let pieces = Arc::make_mut(pieces);
                remove(&mut pieces[at], slot);
                if pieces[at].is_empty() {
                    pieces.remove(at);
                }
                if let [last] = &**pieces {
                    *self = Self::Few(Arc::clone(last));
                }
                true
            }
        }
    }

    pub(crate) fn contains(&self, slot: u32) -> bool {
        match self {
            Self::One(one) => *one == slot,
            Self::Few(few) => few.binary_search(&slot).is_ok(),
            Self::Many(pieces) => pieces[piece_of(pieces, slot)].binary_search(&slot).is_ok(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
        }
    }

    /// In order.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u32]> {
        let (one, many) = match self {
            Self::One(one) => (Some(std::slice::from_ref(one)), None),
            Self::Few(few) => (Some(&***few), None),
            Self::Many(pieces) => (None, Some(pieces)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|pieces| pieces.iter().map(|piece| &***piece)))
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.slices().flatten().copied()
    }
}

/// The piece that has this slot, if any has.
fn piece_of(pieces: &[Arc<Vec<u32>>], slot: u32) -> usize {
    pieces.partition_point(|piece| piece.first().is_some_and(|first| *first <= slot)).saturating_sub(1)
}

fn insert(piece: &mut Arc<Vec<u32>>, slot: u32) -> bool {
    let Err(at) = piece.binary_search(&slot) else { return false };
    Arc::make_mut(piece).insert(at, slot);
    true
}

fn remove(piece: &mut Arc<Vec<u32>>, slot: u32) {
    if let Ok(at) = piece.binary_search(&slot) {
        Arc::make_mut(piece).remove(at);
    }
}

/// The second half of a piece that is too large. A piece that grew at its end, as the first list makes it, stays nearly whole.
fn cut(piece: &mut Arc<Vec<u32>>) -> Option<Arc<Vec<u32>>> {
    if piece.len() <= PIECE {
        return None;
    }
    let piece = Arc::make_mut(piece);
    let rest = piece.split_off(PIECE / 2);
    piece.shrink_to_fit();
    Some(Arc::new(rest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: a posting is a sorted set, whatever its size, and a copy isn't changed by what happens to the original.
        /// Method: random slots enter and leave, in phases of growth and decline, beside a `BTreeSet`.
        #[test]
        fn a_posting_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u32..3_000), 1..4_000), growing in any::<bool>()) {
            let (mut posting, mut set) = (None::<Posting>, BTreeSet::new());
            let mut copy = (posting.clone(), set.clone());
            for (number, (enters, slot)) in steps.into_iter().enumerate() {
                if enters || (growing && number % 3 > 0) {
                    set.insert(slot);
                    match &mut posting {
                        Some(posting) => posting.insert(slot),
                        none => *none = Some(Posting::One(slot)),
                    }
                } else {
                    set.remove(&slot);
                    posting.take_if(|posting| !posting.remove(slot));
                }
                let present: Vec<u32> = posting.iter().flat_map(Posting::iter).collect();
                if number % 64 == 0 {
                    prop_assert!(present.iter().eq(&set), "{present:?}");
                    prop_assert_eq!(posting.as_ref().map_or(0, Posting::len), set.len());
                    prop_assert_eq!(posting.as_ref().is_some_and(|posting| posting.contains(slot)), set.contains(&slot));
                    prop_assert!(copy.0.iter().flat_map(Posting::iter).eq(copy.1.iter().copied()));
                    copy = (posting.clone(), set.clone());
                }
            }
            prop_assert!(posting.iter().flat_map(Posting::iter).eq(set));
        }
    }
}
