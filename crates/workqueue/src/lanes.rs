//! The keys that are ready, in the order in which they are handed out.
//!
//! In: ids that have become ready. Out: whose turn it is. Pure. A queue without priorities and flows has one lane,
//! first in first out. Otherwise each flow has a lane of its own, ordered by rank, and the flows take turns.

use std::collections::{HashMap, VecDeque};

use crate::keys::{Hasher, Id, KEPT_SLOTS};
use crate::order::{Order, Places};

/// Where a ready key stands in line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Standing {
    /// The flow it belongs to; flows take turns.
    pub(crate) flow: u64,
    /// Its rank within the flow; the lowest is first.
    pub(crate) rank: i64,
}

/// The ready keys. An id may be pushed again only after it has been taken out.
pub(crate) enum Lanes {
    Fifo(VecDeque<Id>),
    Ranked(Ranked),
}

/// Lanes by flow.
#[derive(Default)]
pub(crate) struct Ranked {
    flows: HashMap<u64, Order, Hasher>,
    /// The flows that have ready keys, each once; the first is next.
    turns: VecDeque<u64>,
    places: Places,
    len: usize,
}

impl Lanes {
    pub(crate) fn new(ranked: bool) -> Self {
        if ranked { Self::Ranked(Ranked::default()) } else { Self::Fifo(VecDeque::new()) }
    }

    #[inline]
    pub(crate) fn push(&mut self, id: Id, standing: Standing) {
        match self {
            Self::Fifo(lane) => lane.push_back(id),
            Self::Ranked(lanes) => lanes.push(id, standing),
        }
    }

    /// Gives an id in a lane another rank.
    pub(crate) fn move_to(&mut self, id: Id, standing: Standing) {
        if let Self::Ranked(Ranked { flows, places, .. }) = self
            && let Some(lane) = flows.get_mut(&standing.flow)
        {
            lane.set(places, id, standing.rank);
        }
    }

    /// Whose turn it is.
    #[inline]
    pub(crate) fn first(&self) -> Option<Id> {
        match self {
            Self::Fifo(lane) => lane.front().copied(),
            Self::Ranked(lanes) => lanes.flows.get(lanes.turns.front()?)?.first().map(|(_, id)| id),
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Id> {
        match self {
            Self::Fifo(lane) => lane.pop_front(),
            Self::Ranked(lanes) => lanes.pop(),
        }
    }

    /// Takes out all ids.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(matches!(self, Self::Ranked(_)));
    }

    /// Takes an id out of its lane. In a queue without policies this looks at every ready key.
    pub(crate) fn remove(&mut self, id: Id, standing: Standing) {
        match self {
            Self::Fifo(lane) => {
                if let Some(index) = lane.iter().position(|other| *other == id) {
                    lane.remove(index);
                }
            }
            Self::Ranked(lanes) => lanes.remove(id, standing.flow),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fifo(lane) => lane.len(),
            Self::Ranked(lanes) => lanes.len,
        }
    }

    /// Gives memory back; `slots` is how many ids there are.
    pub(crate) fn trim(&mut self, slots: usize) {
        match self {
            Self::Fifo(lane) => {
                if lane.capacity() > KEPT_SLOTS.max(2 * lane.len()) {
                    lane.shrink_to_fit();
                }
            }
            Self::Ranked(lanes) => {
                lanes.flows.values_mut().for_each(Order::trim);
                lanes.places.trim(slots);
                if lanes.flows.capacity() > KEPT_SLOTS.max(2 * lanes.flows.len()) {
                    lanes.flows.shrink_to_fit();
                    lanes.turns.shrink_to_fit();
                }
            }
        }
    }
}

impl Ranked {
    #[inline]
    fn push(&mut self, id: Id, standing: Standing) {
        let lane = self.flows.entry(standing.flow).or_default();
        if lane.is_empty() {
            self.turns.push_back(standing.flow);
        }
        lane.set(&mut self.places, id, standing.rank);
        self.len += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<Id> {
        let flow = self.turns.pop_front()?;
        let lane = self.flows.get_mut(&flow)?;
        let id = lane.pop(&mut self.places)?;
        if lane.is_empty() {
            self.flows.remove(&flow);
        } else {
            self.turns.push_back(flow);
        }
        self.len -= 1;
        Some(id)
    }

    fn remove(&mut self, id: Id, flow: u64) {
        let Some(lane) = self.flows.get_mut(&flow) else { return };
        if lane.remove(&mut self.places, id) {
            self.len -= 1;
        }
        if lane.is_empty() {
            self.flows.remove(&flow);
            self.turns.retain(|other| *other != flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    fn ids() -> Vec<Id> {
        let mut keys = Keys::new();
        (0..16_u64).map(|key| keys.insert(key, key)).collect()
    }

    fn order(mut lanes: Lanes) -> Vec<usize> {
        std::iter::from_fn(|| lanes.pop()).map(Id::index).collect()
    }

    /// Goal: flows take turns however many keys each has, and within a flow the lowest rank is first.
    #[test]
    fn flows_take_turns_and_ranks_order_a_flow() {
        let ids = ids();
        let mut lanes = Lanes::new(true);
        for (index, rank) in [(0, 5), (1, 3), (2, 3), (3, 9)] {
            lanes.push(ids[index], Standing { flow: 1, rank });
        }
        lanes.push(ids[4], Standing { flow: 2, rank: 100 });
        lanes.push(ids[5], Standing { flow: 2, rank: 0 });
        lanes.move_to(ids[3], Standing { flow: 1, rank: 4 });
        assert_eq!(lanes.len(), 6);
        assert_eq!(order(lanes), [1, 5, 2, 4, 3, 0]);
    }

    /// Goal: whatever is taken out isn't handed out, and a flow that has run empty gets no turn.
    #[test]
    fn removal_keeps_the_rest() {
        let ids = ids();
        for ranked in [false, true] {
            let mut lanes = Lanes::new(ranked);
            ids.iter().take(6).for_each(|id| lanes.push(*id, Standing::default()));
            for gone in [0, 3, 5] {
                lanes.remove(ids[gone], Standing::default());
            }
            assert_eq!(lanes.len(), 3);
            assert_eq!(order(lanes), [1, 2, 4]);
        }
    }
}
