//! Renewals against time, checks, closings and doubts.

use watchkeeper_leader::models::{Renewal, open};
use watchkeeper_leader::{CloseReason, GateClosed, Loss};

use crate::{HOLD, STOP_BOUND, at, explore, join, scene, thread};

/// Goal: the answer to a renewal comes in time or too late, but never half: a gate whose time has run out stays closed, and its hard stop
/// stays where it was.
#[test]
fn a_late_answer_changes_nothing() {
    explore(|| {
        let (term, clock) = scene();
        open(&term).expect("in time");
        clock.set(5);
        let renewal = Renewal::send(clock.as_ref());
        let elector = thread(&term, &clock, move |term, _| renewal.succeeded(term));
        clock.set(10);
        let seen = term.check();
        let alive = join(elector);
        assert_eq!(term.check().is_ok(), alive);
        assert_eq!(seen.is_ok(), alive, "nothing else has happened since");
        let ends = if alive { at(15) } else { at(10) };
        assert_eq!(term.hard_stop_at(), ends + STOP_BOUND);
    });
}

/// Goal: a Lease that is lost stays lost, whatever renewal is answered afterwards; the hard stop doesn't move away from the work, nor come
/// upon it sooner than it was promised. Method: gate, permit and renewal at once.
#[test]
fn a_loss_is_final() {
    explore(|| {
        let (term, clock) = scene();
        open(&term).expect("in time");
        let renewal = Renewal::send(clock.as_ref());
        clock.set(4);
        let loser = thread(&term, &clock, |term, _| {
            term.close(CloseReason::Lost(Loss::Overwritten("b".to_owned())));
            term.hard_stop_at()
        });
        let worker = thread(&term, &clock, |term, _| term.check());
        let before = renewal.succeeded(&term);
        let stop = join(loser);
        let permit = join(worker);
        assert!(permit.is_err() || permit.is_ok_and(|permit| permit.checked_at() + STOP_BOUND <= stop));
        assert!(!renewal.succeeded(&term));
        assert!(term.check().is_err());
        assert_eq!((term.hard_stop_at(), stop), (at(4) + STOP_BOUND, at(4) + STOP_BOUND), "renewed: {before}");
    });
}

/// Goal: whatever passes is within D of the latest renewal, and what one worker was promised isn't taken back. Method: two renewals
/// answered in either order, beside two checks.
#[test]
fn promises_are_kept() {
    explore(|| {
        let (term, clock) = scene();
        open(&term).expect("in time");
        clock.set(2);
        let first = Renewal::send(clock.as_ref());
        clock.set(6);
        let second = Renewal::send(clock.as_ref());
        let elector = thread(&term, &clock, move |term, _| first.succeeded(term));
        let late = thread(&term, &clock, move |term, _| second.succeeded(term));
        let promised = term.check().expect("in time").deadline();
        let then = term.check().expect("in time").deadline();
        assert!(promised <= then && then <= at(6) + HOLD, "{promised:?}, {then:?}");
        assert!(join(elector) && join(late));
        assert_eq!(term.check().expect("in time").deadline(), at(6) + HOLD);
    });
}

/// Goal: after a doubt nothing passes until a renewal that was sent afterwards, also when the clocks agree again. Method: the answer to an
/// older one at any time.
#[test]
fn a_doubt_asks_for_a_new_renewal() {
    explore(|| {
        let (term, clock) = scene();
        open(&term).expect("in time");
        let old = Renewal::send(clock.as_ref());
        clock.set(3);
        let elector = thread(&term, &clock, move |term, _| old.succeeded(term));
        clock.step_wall(60);
        assert!(matches!(term.check(), Err(GateClosed::InDoubt(_))));
        clock.step_wall(-60);
        assert!(matches!(term.check(), Err(GateClosed::InDoubt(_))));
        assert!(join(elector), "the term isn't lost by it");
        assert!(matches!(term.check(), Err(GateClosed::InDoubt(_))));
        assert!(Renewal::send(clock.as_ref()).succeeded(&term));
        assert!(term.check().is_ok());
    });
}
