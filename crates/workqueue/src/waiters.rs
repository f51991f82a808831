//! Who is waiting for a key, and which of them keeps the time.
//!
//! In: wakers of calls that found nothing. Out: the one to wake. Pure: it never wakes anybody itself, so that nobody
//! is woken under the queue's lock.
//!
//! A waiter sleeps, or has been called and not come yet. A called waiter that goes away without having come (its
//! future was dropped) is noticed by [`Waiters::leave`], after which [`Waiters::call`] finds another: a call is never
//! lost. One of the sleepers is the time keeper; it sleeps no longer than until the deadline it was told.

use std::collections::VecDeque;
use std::task::Waker;

use crate::moment::Moment;
use crate::mutant::{Mutant, is_planted};

/// Names one stay among the waiters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(u64);

/// The waiting calls, in the order in which they came.
pub(crate) struct Waiters {
    sleeping: VecDeque<(Ticket, Waker)>,
    called: usize,
    keeper: Option<(Ticket, Moment)>,
    tickets: u64,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self { sleeping: VecDeque::new(), called: 0, keeper: None, tickets: 0 }
    }

    /// Nobody sleeps.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.sleeping.is_empty()
    }

    /// Goes to sleep. True: this one keeps the time until `earliest`.
    #[inline]
    pub(crate) fn enlist(&mut self, waker: Waker, earliest: Option<Moment>) -> (Ticket, bool) {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.sleeping.push_back((ticket, waker));
        let keeps = match (earliest, self.keeper) {
            (Some(earliest), None) => {
                self.keeper = Some((ticket, earliest));
                true
            }
            _ => false,
        };
        (ticket, keeps)
    }

    /// The waiter has come, called or not, or has gone away.
    #[inline]
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        match self.sleeping.iter().position(|(other, _)| *other == ticket) {
            Some(index) => {
                self.sleeping.remove(index);
                if !is_planted(Mutant::LostTimeKeeper) {
                    self.resign(ticket);
                }
            }
            None => self.called -= 1,
        }
    }

    /// Chooses whom to wake, if anybody, when `demand` waiters have something to come for and the time is next of
    /// importance at `earliest`. True: call again, there is a reason for another one.
    ///
    /// To be called after every change. Whoever has been called calls again when it has come, so a single one on its
    /// way is enough to see to the time keeping.
    pub(crate) fn call(&mut self, demand: usize, earliest: Option<Moment>) -> Option<(Waker, bool)> {
        let index = if demand > self.called { self.any_sleeper()? } else { self.sleeper_for_time(earliest)? };
        let (ticket, waker) = self.sleeping.remove(index)?;
        self.resign(ticket);
        self.called += 1;
        Some((waker, demand > self.called && !self.sleeping.is_empty()))
    }

    /// The longest sleeper, but the time keeper only if there is no other.
    fn any_sleeper(&self) -> Option<usize> {
        let keeps = |index: usize| {
            self.keeper.is_some_and(|(keeper, _)| self.sleeping.get(index).is_some_and(|(other, _)| *other == keeper))
        };
        let last = self.sleeping.len().checked_sub(1)?;
        Some(if keeps(0) && last > 0 { 1 } else { 0 })
    }

    /// The one to wake because nobody keeps the time, or because the keeper would sleep too long.
    fn sleeper_for_time(&self, earliest: Option<Moment>) -> Option<usize> {
        let earliest = earliest.filter(|_| self.called == 0)?;
        match self.keeper {
            None => (!self.sleeping.is_empty()).then_some(0),
            Some((keeper, until)) if earliest < until => self.sleeping.iter().position(|(other, _)| *other == keeper),
            Some(_) => None,
        }
    }

    fn resign(&mut self, ticket: Ticket) {
        if self.keeper.is_some_and(|(keeper, _)| keeper == ticket) {
            self.keeper = None;
        }
    }
}
