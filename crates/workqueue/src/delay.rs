//! Deadlines: keys that wait for a point in time.
//!
//! In: an id and when it is due. Out: the ids that are due, in order of their deadlines, equal ones in the order in
//! which they were set. Pure: `now` is an argument. At most one deadline a key, and the earliest one wins: a later
//! one never postpones it.
//!
//! What is due soon stands in order; what is due later lies unsorted in boxes of a second each, and is put
//! in order when the time of its box comes. So setting, moving and withdrawing a far deadline takes the same short
//! time however many there are, and an exact order is only made of what needs one. The price: the time of a box, too,
//! is one at which somebody must wake.

use std::collections::{BTreeSet, HashMap};

use crate::keys::{Hasher, Id, KEPT_SLOTS};
use crate::moment::Moment;
use crate::order::{Index, Order};

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

/// Somewhat more than a second, 2^30 ns, by its number since the start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct BoxNumber(u64);

impl BoxNumber {
    fn of(moment: Moment) -> Self {
        Self(moment.nanos().cast_unsigned() >> 30)
    }

    fn start(self) -> Moment {
        Moment::from_nanos((self.0 << 30).cast_signed())
    }

    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A key's deadline.
#[derive(Clone, Copy)]
struct Deadline {
    due: Moment,
    /// Makes the order of equal deadlines the order in which they were set.
    turn: u32,
    /// Where its id lies in its box; or, with [`NEAR`], where it stands in the order; or [`NOWHERE`].
    place: u32,
}

const NOWHERE: u32 = u32::MAX;
const NEAR: u32 = 1 << 31;
const NONE: Deadline = Deadline { due: Moment::START, turn: 0, place: NOWHERE };

/// The deadlines by id.
#[derive(Default)]
struct Table(Vec<Deadline>);

impl Index for Table {
    fn of(&self, id: Id) -> Option<usize> {
        let place = self.0.get(id.index())?.place;
        (place != NOWHERE && place & NEAR != 0).then_some((place & !NEAR) as usize)
    }

    fn set(&mut self, id: Id, place: usize) {
        self.0[id.index()].place = NEAR | u32::try_from(place).expect("fewer than 2^31 deadlines");
    }

    fn clear(&mut self, id: Id) {
        self.0[id.index()].place = NOWHERE;
    }
}

/// The deadlines of all waiting keys.
pub(crate) struct Deadlines {
    table: Table,
    /// What is due in `current`, the box after it, or before.
    near: Order,
    /// The others, and what hasn't been taken out of a box yet whose time has come. No box is empty.
    far: HashMap<BoxNumber, Vec<Id>, Hasher>,
    /// The boxes that there are.
    numbers: BTreeSet<BoxNumber>,
    current: BoxNumber,
    turns: u32,
    len: usize,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            table: Table::default(),
            near: Order::default(),
            far: HashMap::default(),
            numbers: BTreeSet::new(),
            current: BoxNumber::of(Moment::START),
            turns: 0,
            len: 0,
        }
    }
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
        self.cancel(id);
        if id.index() >= self.table.0.len() {
            self.table.0.resize(id.index() + 1, NONE);
        }
        let turn = self.turns;
        self.turns = turn.wrapping_add(1);
        self.len += 1;
        self.table.0[id.index()] = Deadline { due, turn, place: NOWHERE };
        let number = BoxNumber::of(due);
        // In a box whose time has come, but that isn't empty yet, it lies with those of the same age.
        if number <= self.current.next() && !self.numbers.contains(&number) {
            self.near.insert(&mut self.table, id, due.nanos(), turn);
        } else {
            self.table.0[id.index()].place = self.lay(id, number);
        }
    }

    /// Lays an id in its box; says where.
    fn lay(&mut self, id: Id, number: BoxNumber) -> u32 {
        let ids = self.far.entry(number).or_insert_with(|| {
            self.numbers.insert(number);
            Vec::new()
        });
        if ids.len() == ids.capacity() {
            ids.reserve_exact(ids.len() / 2 + 4);
        }
        ids.push(id);
        u32::try_from(ids.len() - 1).expect("fewer than 2^31 deadlines")
    }

    /// Withdraws the key's deadline. False: it had none.
    #[inline]
    pub(crate) fn cancel(&mut self, id: Id) -> bool {
        let waiting = self.len > 0 && self.is_waiting(id);
        if waiting {
            self.take_out(id);
        }
        waiting
    }

    #[inline]
    pub(crate) fn is_waiting(&self, id: Id) -> bool {
        self.table.0.get(id.index()).is_some_and(|deadline| deadline.place != NOWHERE)
    }

    /// When the key is due.
    pub(crate) fn due(&self, id: Id) -> Option<Moment> {
        self.table.0.get(id.index()).filter(|deadline| deadline.place != NOWHERE).map(|deadline| deadline.due)
    }

    /// When [`Deadlines::pop_due`] must be called next: the first deadline is then, or not much later.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<Moment> {
        if self.len == 0 {
            return None;
        }
        let far = self.numbers.first().map(|number| number.start());
        let near = self.near.first().map(|(rank, _)| Moment::from_nanos(rank));
        far.into_iter().chain(near).min()
    }

    /// Takes the first key that is due at `now`, and says since when. Each key that is taken or put in order takes one
    /// of `steps`. None: there is none, or not enough steps are left; then [`Deadlines::earliest`] isn't later than
    /// `now`.
    pub(crate) fn pop_due(&mut self, now: Moment, steps: &mut usize) -> Option<(Moment, Id)> {
        if !self.pour(BoxNumber::of(now), steps) || *steps == 0 {
            return None;
        }
        let (due, _) = self.near.first().filter(|(rank, _)| *rank <= now.nanos())?;
        let id = self.near.pop(&mut self.table)?;
        *steps -= 1;
        self.len -= 1;
        Some((Moment::from_nanos(due), id))
    }

    /// Waiting keys and when they are due, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Moment, Id)> {
        let near = self.near.ids().map(|(_, id)| id);
        near.chain(self.far.values().flatten().copied()).map(|id| (self.table.0[id.index()].due, id))
    }

    /// Waiting keys.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Gives memory back; `slots` is how many ids there are.
    pub(crate) fn trim(&mut self, slots: usize) {
        self.near.trim();
        if self.table.0.capacity() > KEPT_SLOTS.max(2 * slots) {
            self.table.0.truncate(slots);
            self.table.0.shrink_to_fit();
        }
        if self.far.capacity() > KEPT_SLOTS.max(2 * self.far.len()) {
            self.far.shrink_to_fit();
        }
    }

    fn take_out(&mut self, id: Id) {
        self.len -= 1;
        if self.near.remove(&mut self.table, id) {
            return;
        }
        let Deadline { due, place, .. } = std::mem::replace(&mut self.table.0[id.index()], NONE);
        let number = BoxNumber::of(due);
        let Some(ids) = self.far.get_mut(&number) else { return };
        ids.swap_remove(place as usize);
        if let Some(moved) = ids.get(place as usize) {
            self.table.0[moved.index()].place = place;
        } else if ids.is_empty() {
            self.far.remove(&number);
            self.numbers.remove(&number);
        }
    }

    /// Puts in order what lies in boxes up to this one. False: not all of it yet.
    fn pour(&mut self, now: BoxNumber, steps: &mut usize) -> bool {
        self.current = self.current.max(now);
        while let Some(first) = self.numbers.first().copied().filter(|first| *first <= self.current) {
            let ids = self.far.get_mut(&first).expect("there is a box for each number");
            while *steps > 0
                && let Some(id) = ids.pop()
            {
                let Deadline { due, turn, .. } = self.table.0[id.index()];
                self.near.insert(&mut self.table, id, due.nanos(), turn);
                *steps -= 1;
            }
            if !ids.is_empty() {
                return false;
            }
            self.far.remove(&first);
            self.numbers.remove(&first);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::Keys;

    /// How many steps a call is given.
    const STEPS: usize = 1000;

    fn pop_due(deadlines: &mut Deadlines, now: Moment) -> Option<Id> {
        deadlines.pop_due(now, &mut { STEPS }).map(|(_, id)| id)
    }

    fn at(millis: u64) -> Moment {
        Moment::START.after(Duration::from_millis(millis))
    }

    fn ids(count: u64) -> Vec<Id> {
        let mut keys = Keys::new();
        (0..count).map(|key| keys.insert(key, key)).collect()
    }

    /// Goal: the earliest deadline wins, a move doesn't ask, and what was withdrawn is never due.
    #[test]
    fn the_earliest_wins() {
        let ids = ids(2);
        let (a, b) = (ids[0], ids[1]);
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.schedule(a, at(30)), Scheduled::New);
        assert_eq!(deadlines.schedule(a, at(40)), Scheduled::Kept);
        assert_eq!(deadlines.schedule(a, at(20)), Scheduled::Earlier);
        assert_eq!(deadlines.schedule(b, at(25)), Scheduled::New);
        assert_eq!((deadlines.earliest(), pop_due(&mut deadlines, at(19))), (Some(at(20)), None));
        deadlines.move_to(a, at(50));
        assert_eq!((deadlines.due(a), pop_due(&mut deadlines, at(49))), (Some(at(50)), Some(b)));
        assert!(deadlines.cancel(a) && !deadlines.cancel(a));
        assert_eq!((pop_due(&mut deadlines, Moment::NEVER), deadlines.len()), (None, 0));
    }

    /// Goal: a box that holds more than one call may put in order comes out in order all the same.
    #[test]
    fn a_full_box_is_poured_in_parts() {
        let ids = ids(5000);
        let mut deadlines = Deadlines::default();
        for (index, id) in ids.iter().enumerate() {
            // All in one box, far away, the last first, five at a time.
            deadlines.schedule(*id, at(1_000_700 - u64::try_from(index).expect("small") / 50));
        }
        let now = at(2_000_000);
        let (mut popped, mut calls) = (Vec::new(), 0);
        while deadlines.len() > 0 {
            calls += 1;
            assert!(deadlines.earliest().is_some_and(|earliest| earliest <= now));
            popped.extend(std::iter::from_fn(|| pop_due(&mut deadlines, now)));
        }
        let mut expected = ids;
        expected.sort_by_key(|id| (std::cmp::Reverse(id.index() / 50), id.index()));
        assert_eq!(popped, expected);
        assert!(calls >= 5, "{calls} calls");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Goal: near and far together agree with a searched list over any sequence of calls, as time goes on.
        #[test]
        fn deadlines_behave_like_a_searched_list(
            calls in prop::collection::vec((0..4_u8, 0..24_usize, 0..2000_u64), 0..200),
        ) {
            let ids = ids(24);
            let (mut deadlines, mut now) = (Deadlines::default(), 0);
            let mut list: Vec<(Moment, usize, Id)> = Vec::new();
            for (turn, (call, key, millis)) in calls.into_iter().enumerate() {
                let (id, due) = (ids[key], at(now + millis));
                match call {
                    0 | 1 => {
                        deadlines.move_to(id, due);
                        list.retain(|other| other.2 != id);
                        list.push((due, turn, id));
                    }
                    2 => {
                        prop_assert_eq!(deadlines.cancel(id), list.iter().any(|other| other.2 == id));
                        list.retain(|other| other.2 != id);
                    }
                    _ => {
                        now += millis / 8;
                        list.sort_unstable_by_key(|entry| (entry.0, entry.1));
                        let due = list.iter().take_while(|entry| entry.0 <= at(now)).count();
                        let expected: Vec<Id> = list.drain(..due).map(|entry| entry.2).collect();
                        let popped: Vec<Id> = std::iter::from_fn(|| pop_due(&mut deadlines, at(now))).collect();
                        prop_assert_eq!(popped, expected);
                    }
                }
                prop_assert_eq!(deadlines.len(), list.len());
                let first = list.iter().map(|other| other.0).min();
                prop_assert_eq!(deadlines.earliest().is_some(), first.is_some());
                prop_assert!(deadlines.earliest() <= first);
                for id in &ids {
                    let due = list.iter().find(|other| other.2 == *id).map(|other| other.0);
                    prop_assert_eq!(deadlines.due(*id), due);
                }
            }
        }
    }
}
