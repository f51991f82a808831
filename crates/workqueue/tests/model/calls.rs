//! What is done to both queues.

use proptest::prelude::*;

use crate::naive::{Outcome, Rules};

/// One call; indices name a waiting call, an item, a drain or a handle by its place in the list of those, if there is
/// one.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Add(u8),
    AddRef(u8),
    AddAfter(u8, u64),
    /// Key, delay, priority, reason.
    AddWith(u8, u64, i16, Option<u8>),
    AddRateLimited(u8),
    Intern(u8),
    AddById(usize),
    DropId(usize),
    Wait,
    /// Poll a waiting call that wasn't woken.
    Poll(usize),
    DropWaiting(usize),
    Finish(usize, Outcome),
    Withdraw(u8),
    Forget(u8),
    Pause,
    Resume,
    PauseKey(u8),
    ResumeKey(u8),
    RetryExhausted(u8),
    RetryAllExhausted,
    Advance(u64),
    Drain,
    DropDrain(usize),
    ShutDown,
    Discard,
}

/// The rules of a case: half of all queues have none, the others each rule with a chance of a third.
pub(crate) fn rules() -> impl Strategy<Value = Rules> {
    let some = (
        prop_oneof![2 => Just(None), 1 => (0..12_u64).prop_map(Some)],
        prop_oneof![2 => Just(0), 1 => 1..4_u64],
        prop_oneof![2 => Just(0), 1 => 1..30_u64],
        prop_oneof![2 => Just((0, 0)), 1 => (1..15_u64, 0..40_u64)],
        prop_oneof![2 => Just((0, 0)), 1 => (1..4_u32, 0..3_usize)],
        prop_oneof![2 => Just(0), 1 => 1..3_usize],
        prop_oneof![2 => Just(0), 1 => 1..5_usize],
    );
    let some =
        some.prop_map(|(step, flows, min_interval, (quiet, longest), (attempts, resting), reasons, capacity)| Rules {
            step,
            flows,
            min_interval,
            quiet,
            longest,
            attempts,
            resting,
            reasons,
            capacity,
        });
    prop_oneof![1 => Just(Rules::default()), 1 => some]
}

fn key() -> impl Strategy<Value = u8> {
    0..5_u8
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Done),
        2 => (0..40_u64).prop_map(Outcome::After),
        4 => Just(Outcome::Retry),
        1 => Just(Outcome::GiveUp),
        2 => Just(Outcome::Drop),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let index = || 0..8_usize;
    let with = (key(), prop_oneof![1 => Just(0), 1 => 0..40_u64], -3..4_i16, prop::option::of(0..4_u8));
    let asking = prop_oneof![
        10 => key().prop_map(Call::Add),
        10 => key().prop_map(Call::AddRef),
        10 => (key(), 0..40_u64).prop_map(|(key, delay)| Call::AddAfter(key, delay)),
        20 => with.prop_map(|(key, delay, priority, reason)| Call::AddWith(key, delay, priority, reason)),
        3 => key().prop_map(Call::AddRateLimited),
        2 => key().prop_map(Call::Intern),
        4 => index().prop_map(Call::AddById),
        1 => index().prop_map(Call::DropId),
        4 => key().prop_map(Call::Withdraw),
        2 => key().prop_map(Call::Forget),
    ];
    let stopping = prop_oneof![
        1 => Just(Call::Pause),
        2 => Just(Call::Resume),
        2 => key().prop_map(Call::PauseKey),
        3 => key().prop_map(Call::ResumeKey),
        2 => key().prop_map(Call::RetryExhausted),
        1 => Just(Call::RetryAllExhausted),
    ];
    let working = prop_oneof![
        9 => Just(Call::Wait),
        2 => index().prop_map(Call::Poll),
        4 => index().prop_map(Call::DropWaiting),
        11 => (index(), outcome()).prop_map(|(index, outcome)| Call::Finish(index, outcome)),
        6 => (1..30_u64).prop_map(Call::Advance),
        1 => Just(Call::Drain),
        1 => index().prop_map(Call::DropDrain),
    ];
    prop_oneof![5 => asking, 1 => stopping, 8 => working]
}

/// Calls before and after the end of the queue.
pub(crate) fn calls() -> impl Strategy<Value = Vec<Call>> {
    let end = prop_oneof![2 => Just(Call::ShutDown), 1 => Just(Call::Discard)];
    (prop::collection::vec(call(), 0..60), end, prop::collection::vec(call(), 0..15))
        .prop_map(|(before, end, after)| before.into_iter().chain([end]).chain(after).collect())
}
