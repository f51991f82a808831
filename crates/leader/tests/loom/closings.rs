//! Closings against checks, openings and each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use loom::sync::atomic::{AtomicBool, Ordering};
use watchkeeper_leader::models::{open, tick};
use watchkeeper_leader::{CloseReason, Loss, Metrics, MetricsSink};

use crate::{STOP_BOUND, explore, join, scene, scene_with, thread};

/// Goal: nothing passes after a closing has returned, or after the token was seen cancelled.
#[test]
fn nothing_passes_a_closed_gate() {
    explore(|| {
        let (term, clock) = scene();
        open(&term).expect("in time");
        let returned = Arc::new(AtomicBool::new(false));
        let tell = returned.clone();
        let closer = thread(&term, &clock, move |term, _| {
            term.close(CloseReason::Stopping);
            tell.store(true, Ordering::SeqCst);
        });
        let closed = term.cancelled().is_cancelled() || returned.load(Ordering::SeqCst);
        let answer = term.check();
        assert!(!closed || answer.is_err(), "{answer:?}");
        join(closer);
        assert!(term.check().is_err() && term.cancelled().is_cancelled());
    });
}

/// Goal: what began after a check that passed has the whole stop bound before the hard stop, also when the Lease is lost meanwhile.
#[test]
fn an_effect_has_its_stop_bound() {
    explore(|| {
        let (term, clock) = scene();
        open(&term).expect("in time");
        let closer = thread(&term, &clock, |term, _| term.close(CloseReason::Lost(Loss::Deleted)));
        clock.set(3);
        let began = term.check().map(|remaining| remaining.checked_at());
        join(closer);
        let stop = term.hard_stop_at();
        assert!(began.is_err() || began.as_ref().is_ok_and(|began| *began + STOP_BOUND <= stop), "{began:?}, {stop:?}");
    });
}

/// Goal: of two reasons to close the first one stays, whoever looks when.
#[test]
fn the_first_reason_stays() {
    explore(|| {
        let (term, clock) = scene();
        let closer = thread(&term, &clock, |term, _| term.close(CloseReason::Lost(Loss::Recreated)));
        let other = thread(&term, &clock, |term, _| term.close(CloseReason::Stopping));
        let seen = term.closed();
        join(closer);
        let then = term.closed();
        join(other);
        let last = term.closed();
        assert!(seen.is_none() || seen == last, "{seen:?}, {last:?}");
        assert!(then == last, "{then:?}, {last:?}");
    });
}

/// Goal: one closing is told once, by time here, though owner, elector and worker come upon it together.
#[test]
fn a_closing_is_told_once() {
    explore(|| {
        let told = Arc::new(Told::default());
        let (term, clock) = scene_with(MetricsSink::new(told.clone()));
        open(&term).expect("in time");
        clock.set(10);
        let owner = thread(&term, &clock, |term, _| term.close(CloseReason::Ended));
        let elector = thread(&term, &clock, |term, _| assert!(tick(term)));
        assert!(term.check().is_err());
        join(owner);
        join(elector);
        assert_eq!(term.closed(), Some(CloseReason::TimeRanOut));
        assert_eq!(told.closings.load(Relaxed), 1);
    });
}

/// Goal: a gate that was closed before it was opened isn't opened any more, and says so.
#[test]
fn a_closed_gate_is_not_opened() {
    explore(|| {
        let (term, clock) = scene();
        let returned = Arc::new(AtomicBool::new(false));
        let tell = returned.clone();
        let closer = thread(&term, &clock, move |term, _| {
            term.close(CloseReason::Lost(Loss::Deleted));
            tell.store(true, Ordering::SeqCst);
        });
        let closed = returned.load(Ordering::SeqCst);
        let opened = open(&term);
        assert!(!closed || opened.is_err());
        join(closer);
        assert!(term.check().is_err());
    });
}

/// Counts the closings it is told.
#[derive(Default)]
struct Told {
    closings: AtomicUsize,
}

impl Metrics for Told {
    fn lease(&self, _: &str) {}
    fn master_status(&self, _: bool) {}
    fn slowpath(&self, _: u64) {}
    fn terms(&self, _: u64) {}
    fn epoch(&self, _: u64) {}
    fn time_to_closing(&self, _: Duration) {}
    fn renewal_latency(&self, _: Duration) {}
    fn closings(&self, _: &'static str) {
        self.closings.fetch_add(1, Relaxed);
    }
    fn doubts(&self, _: u64) {}
    fn refused_writes(&self, _: &'static str) {}
    fn contenders(&self, _: usize) {}
}
