//! A renewal that is answered late, and then nothing gets through: where client-go's holder overstays.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::simulate::process::ProcessClock;
use watchkeeper_leader::{Candidacy, Elector, GateClock, Identity};

use crate::clock::Clock;
use crate::config::config;
use crate::process::{Rate, timings};
use crate::scripted::{Server, Spoil};

/// Up to T and beyond: what is answered later than T is answered never.
const DELAYS: std::ops::Range<u64> = 0..33;
const DELAY: Duration = Duration::from_millis(100);
/// Twice R.
const PHASES: std::ops::Range<u64> = 0..80;
const PHASE: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

fn candidate(server: &Server, who: &'static str, parts_per_million: u64) -> (Candidacy, ProcessClock) {
    let clock = ProcessClock::new(Instant::now(), Duration::ZERO, parts_per_million);
    let identity = Identity::from_parts(who, 1, 1).unwrap();
    let config = config(identity, timings(), true, parts_per_million);
    let (elector, candidacy) = Elector::new(server.lock(who), config, Arc::new(Clock(clock.clone()))).unwrap();
    tokio::spawn(elector.run(CancellationToken::new()));
    (candidacy, clock)
}

/// By how much the effects of A go on after the gate of B has opened.
async fn overlap(delay: Duration, phase: Duration, slow: u64) -> Duration {
    let server = Server::default();
    let (mut a, clock) = candidate(&server, "a", slow);
    let held = a.next_term().await.unwrap();
    held.open().unwrap();
    sleep(timings().retry_period).await;
    let (mut b, _) = candidate(&server, "b", Rate::Fast as u64);
    sleep(phase).await;
    {
        let mut state = server.0.lock();
        (state.next, state.cut) = (Some(("a", Spoil::Late(delay))), Some("a"));
    }
    let taken = timeout(MINUTE, b.next_term()).await.expect("I14").unwrap();
    taken.open().unwrap();
    Clock(clock).now().until(held.term().hard_stop_at())
}

fn overlaps(slow: u64) -> Vec<(Duration, Duration, Duration)> {
    let points = DELAYS.flat_map(|delay| PHASES.map(move |phase| (DELAY * delay as u32, PHASE * phase as u32)));
    let overlap = |(delay, phase)| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        (delay, phase, runtime.block_on(overlap(delay, phase, slow)))
    };
    points.map(overlap).filter(|(_, _, overlap)| !overlap.is_zero()).collect()
}

/// Goal: at no delay and no phase do two terms act (E1). Method: 2,640 points, the holder's clock as slow and its rival's as
/// fast as stated, the holder's effects as late as its stop bound; the same grid with a clock slower than stated shows that it
/// could see them.
#[test]
fn slow_renewals_then_a_partition() {
    let found = overlaps(Rate::Slow as u64);
    assert!(found.is_empty(), "{} points, such as {:?}", found.len(), found[0]);
    assert!(!overlaps(830_000).is_empty(), "the grid sees nothing");
}
