//! Deadlines: keys that wait for a point in time.
//!
//! In: an id and when it is due. Out: the ids that are due, in order of their deadlines, equal ones in the order in
//! which they were set. Pure: `now` is an argument. At most one deadline a key, and the earliest one wins: a later
//! one never postpones it.

use crate::keys::Id;
use crate::moment::Moment;
use crate::order::{Order, Places};

/// What became of a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheduled {
    /// The key had none.
    New,
    /// The key had a later one.
    Earlier,
    /// The key had an earlier one, which stands.
    Kept,
}

/// The deadlines of all waiting keys.
#[derive(Default)]
pub(crate) struct Deadlines {
    order: Order,
    places: Places,
}

impl Deadlines {
    /// Sets the key's deadline, unless it has an earlier one.
    pub(crate) fn schedule(&mut self, id: Id, due: Moment) -> Scheduled {
        let scheduled = match self.due(id) {
            None => Scheduled::New,
            Some(earlier) if earlier <= due => return Scheduled::Kept,
            Some(_) => Scheduled::Earlier,
        };
        self.move_to(id, due);
        scheduled
    }

    /// Sets the key's deadline, also if it has an earlier one.
    pub(crate) fn move_to(&mut self, id: Id, due: Moment) {
        self.order.set(&mut self.places, id, due.nanos());
    }

    /// Withdraws the key's deadline. False: it had none.
    pub(crate) fn cancel(&mut self, id: Id) -> bool {
        self.order.remove(&mut self.places, id)
    }

    pub(crate) fn is_waiting(&self, id: Id) -> bool {
        self.places.of(id).is_some()
    }

    /// When the key is due.
    pub(crate) fn due(&self, id: Id) -> Option<Moment> {
        self.order.rank(&self.places, id).map(Moment::from_nanos)
    }

    /// When the first key is due.
    pub(crate) fn earliest(&self) -> Option<Moment> {
        self.order.first().map(|(rank, _)| Moment::from_nanos(rank))
    }

    /// Takes the first key that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<Id> {
        self.earliest().filter(|due| *due <= now)?;
        self.order.pop(&mut self.places)
    }

    /// Takes the first key, due or not.
    pub(crate) fn pop_any(&mut self) -> Option<Id> {
        self.order.pop(&mut self.places)
    }

    /// Waiting keys and when they are due, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Moment, Id)> {
        self.order.ids().map(|(rank, id)| (Moment::from_nanos(rank), id))
    }

    /// Waiting keys.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Gives memory back; `slots` is how many ids there are.
    pub(crate) fn trim(&mut self, slots: usize) {
        self.order.trim();
        self.places.trim(slots);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keys::Keys;

    /// Goal: the earliest deadline wins, a move doesn't ask, and what was withdrawn is never due.
    #[test]
    fn the_earliest_wins() {
        let mut keys = Keys::new();
        let (a, b) = (keys.intern(1, 1), keys.intern(2, 2));
        let at = |ms| Moment::START.after(Duration::from_millis(ms));
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.schedule(a, at(30)), Scheduled::New);
        assert_eq!(deadlines.schedule(a, at(40)), Scheduled::Kept);
        assert_eq!(deadlines.schedule(a, at(20)), Scheduled::Earlier);
        assert_eq!(deadlines.schedule(b, at(25)), Scheduled::New);
        assert_eq!((deadlines.earliest(), deadlines.pop_due(at(19))), (Some(at(20)), None));
        deadlines.move_to(a, at(50));
        assert_eq!((deadlines.due(a), deadlines.pop_due(at(49))), (Some(at(50)), Some(b)));
        assert!(deadlines.cancel(a) && !deadlines.cancel(a));
        assert_eq!((deadlines.pop_due(Moment::NEVER), deadlines.len()), (None, 0));
    }
}
