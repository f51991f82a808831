//! Tests of `gate.rs`: open at the right times only, and closed for good.
#![allow(clippy::disallowed_methods)]

use jiff::SignedDuration;

use super::*;
use crate::clock::VirtualClock;

const SECOND: Duration = Duration::from_secs(1);

fn term(clock: &VirtualClock) -> Term {
    Term::won(&Holder::example(clock.clone()), Epoch::new(7), Moment::of(clock))
}

fn reason(answer: Result<Remaining, GateClosed>) -> CloseReason {
    match answer {
        Err(GateClosed::Closed { reason, .. }) => reason,
        other => panic!("not closed: {other:?}"),
    }
}

/// Goal: a won term is closed until its owner opens it, and then open for D counted from the sending.
/// Method: advance to both sides of each edge.
#[tokio::test(start_paused = true)]
async fn open_from_opening_until_the_deadline() {
    let clock = VirtualClock::new();
    let term = term(&clock);
    assert_eq!(term.check(), Err(GateClosed::NotOpenYet(Epoch::new(7))));
    tokio::time::advance(3 * SECOND).await;
    term.open().unwrap();
    assert_eq!(term.check().unwrap().duration(), 7 * SECOND);
    tokio::time::advance(7 * SECOND - Duration::from_nanos(1)).await;
    assert!(term.is_open());
    assert!(!term.cancelled().is_cancelled());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(reason(term.check()), CloseReason::TimeRanOut);
    // The check itself has noticed, without any ticker.
    assert!(term.cancelled().is_cancelled());
    assert_eq!(term.hard_stop_at(), GateInstant::from_nanos(12_000_000_000));
}

/// Goal: a gate that lapsed before it was opened never opens. Method: open after D.
#[tokio::test(start_paused = true)]
async fn too_late_to_open() {
    let clock = VirtualClock::new();
    let term = term(&clock);
    tokio::time::advance(10 * SECOND).await;
    assert!(matches!(term.open(), Err(GateClosed::Closed { reason: CloseReason::TimeRanOut, .. })));
}

/// Goal: a renewal extends from its sending, never shortens, and can't bring a lapsed gate back.
/// Method: extend with older, newer and late times.
#[tokio::test(start_paused = true)]
async fn renewals_extend_only_living_terms() {
    let clock = VirtualClock::new();
    let term = term(&clock);
    term.open().unwrap();
    let start = clock.now();
    tokio::time::advance(6 * SECOND).await;
    assert!(term.extend(Moment::when(&clock, start + 4 * SECOND)));
    assert_eq!(term.check().unwrap().duration(), 8 * SECOND);
    assert!(term.extend(Moment::when(&clock, start + 2 * SECOND)));
    assert_eq!(term.check().unwrap().duration(), 8 * SECOND);
    tokio::time::advance(9 * SECOND).await;
    // Nobody has looked since it lapsed; the good answer comes too late.
    assert!(!term.extend(Moment::when(&clock, clock.now())));
    assert_eq!(reason(term.check()), CloseReason::TimeRanOut);
    assert!(term.tick());
}

/// Goal: losses and the owner's closing are at once and final, the first reason stays, and only a loss stops renewing.
/// Method: close for each reason, then close again, extend and open.
#[tokio::test(start_paused = true)]
async fn closing_is_final() {
    for (reason_given, renewed_after) in [
        (CloseReason::Lost(Loss::Deleted), false),
        (CloseReason::ElectorGone, false),
        (CloseReason::Stopping, true),
        (CloseReason::LaterTerm(Epoch::new(9)), true),
    ] {
        let clock = VirtualClock::new();
        let term = term(&clock);
        term.open().unwrap();
        let token = term.cancelled();
        tokio::time::advance(SECOND).await;
        term.close(reason_given.clone());
        assert!(token.is_cancelled());
        term.close(CloseReason::Ended);
        assert_eq!(term.extend(Moment::when(&clock, clock.now())), renewed_after);
        assert!(term.open().is_err());
        assert_eq!(reason(term.check()), reason_given);
        assert_eq!(term.closed(), Some(reason_given));
    }
}

/// Goal: the hard stop is J after the closing on a loss, and moves with the Lease after the owner's closing.
/// Method: compare instants.
#[tokio::test(start_paused = true)]
async fn hard_stop_follows_what_is_known() {
    let clock = VirtualClock::new();
    let lost = term(&clock);
    let stopping = term(&clock);
    let start = clock.now();
    tokio::time::advance(SECOND).await;
    lost.close(CloseReason::Lost(Loss::Recreated));
    assert_eq!(lost.hard_stop_at(), start + 3 * SECOND);
    stopping.close(CloseReason::Stopping);
    assert_eq!(stopping.hard_stop_at(), start + 12 * SECOND);
    assert!(stopping.extend(Moment::when(&clock, start + SECOND)));
    assert_eq!(stopping.hard_stop_at(), start + 13 * SECOND);
    // Time runs out for a closed gate too: the Lease is lost then.
    assert!(!stopping.tick());
    tokio::time::advance(11 * SECOND).await;
    assert!(stopping.tick());
}

/// Goal: a suspended machine finds the gate closed at the first use. Method: a clock that jumps while no timer runs.
#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_closes() {
    struct Jumping(Mutex<u64>);
    impl GateClock for Jumping {
        fn now(&self) -> GateInstant {
            GateInstant::from_nanos(*self.0.lock())
        }
        fn wall(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
    }
    let clock = Arc::new(Jumping(Mutex::new(5)));
    let holder = Holder { clock: clock.clone(), ..Holder::example(VirtualClock::new()) };
    let term = Term::won(&holder, Epoch::new(7), Moment::of(clock.as_ref()));
    term.open().unwrap();
    assert!(term.is_open());
    *clock.0.lock() = 3_600_000_000_000;
    assert!(!term.is_open());
}

/// Goal: after a jump of the clocks nothing acts before a renewal that was sent afterwards has succeeded, and then all goes on; one that
/// was sent before proves nothing. Method: step the wall forwards and back.
#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_asks_the_server_first() {
    let clock = VirtualClock::new();
    let term = Term::won(&Holder::example(clock.clone()), Epoch::new(7), Moment::of(&clock));
    term.open().unwrap();
    for step in [3600, -3600, 2] {
        let before = Moment::of(&clock);
        tokio::time::advance(SECOND).await;
        clock.step_wall(SignedDuration::from_secs(step));
        assert_eq!(term.check(), Err(GateClosed::InDoubt(Epoch::new(7))), "{step}");
        assert!(term.extend(before), "the term isn't lost");
        assert!(!term.is_open(), "{step}: sent before the jump was seen");
        let certain = tokio::spawn({
            let term = term.clone();
            async move { term.certain().await }
        });
        assert!(term.closed().is_none() && !term.cancelled().is_cancelled());
        assert!(term.extend(Moment::of(&clock)));
        assert!(term.is_open(), "{step}");
        certain.await.unwrap();
    }
    clock.step_wall(SignedDuration::from_secs(1));
    assert!(term.is_open(), "a second is no jump");
}

/// Goal: a jump just before the opening costs no term: the gate is opened, and nothing acts before the server was asked. Method: step the wall, then open.
#[tokio::test(start_paused = true)]
async fn a_gate_in_doubt_is_opened_all_the_same() {
    let clock = VirtualClock::new();
    let term = Term::won(&Holder::example(clock.clone()), Epoch::new(7), Moment::of(&clock));
    clock.step_wall(SignedDuration::from_secs(100));
    assert_eq!(term.open(), Ok(()));
    assert_eq!(term.check(), Err(GateClosed::InDoubt(Epoch::new(7))));
    tokio::time::advance(SECOND).await;
    assert!(term.extend(Moment::of(&clock)));
    assert!(term.is_open());
}

/// Goal: doubt keeps no term alive. Method: a jump, and no renewal.
#[tokio::test(start_paused = true)]
async fn a_doubt_that_nothing_resolves_ends_by_time() {
    let clock = VirtualClock::new();
    let term = Term::won(&Holder::example(clock.clone()), Epoch::new(7), Moment::of(&clock));
    term.open().unwrap();
    clock.step_wall(SignedDuration::from_secs(100));
    assert!(!term.is_open());
    tokio::time::advance(10 * SECOND).await;
    term.certain().await;
    assert_eq!(reason(term.check()), CloseReason::TimeRanOut);
}

/// Goal: the term of work that needs no election is open until its owner closes it. Method: a year, jumps, then close.
#[tokio::test(start_paused = true)]
async fn always_is_open_until_it_is_closed() {
    let clock = VirtualClock::new();
    let term = Term::always(Arc::new(clock.clone()), Identity::from_parts("me", 1, 1).unwrap(), SECOND);
    assert!(!term.is_elected());
    tokio::time::advance(Duration::from_secs(365 * 24 * 3600)).await;
    clock.step_wall(SignedDuration::from_secs(100));
    assert!(term.is_open());
    term.close(CloseReason::Stopping);
    assert_eq!(reason(term.check()), CloseReason::Stopping);
    assert!(term.cancelled().is_cancelled());
}
