//! Watchers of the load: one that reads as fast as it can, one that doesn't.
//!
//! In: the body of a watch. Out: how late each update came and how many did not come, each once and in order.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use watchkeeper::BoxError;
use watchkeeper_apiserver::Body;

use crate::histogram::Histogram;

/// What an update's number and time stand behind.
const MARK: &str = "\"data\":{\"a\":\"";
const NUMBER: usize = 12;
const TIME: usize = 20;

/// What one watcher saw.
pub(crate) struct Seen {
    pub(crate) lag: Histogram,
    pub(crate) bytes: u64,
    pub(crate) missing: u64,
}

/// What became of the watcher that stopped reading.
pub(crate) struct Slow {
    /// Events it got once it read again.
    pub(crate) events: u64,
    /// Whether its stream had ended.
    pub(crate) cut: bool,
}

/// Reads until the last of these updates has come, or the stream ends.
pub(crate) async fn read(mut body: Body, started: Instant, updates: RangeInclusive<u64>) -> Result<Seen, BoxError> {
    let mut seen = Seen { lag: Histogram::new(), bytes: 0, missing: 0 };
    let mut expected = *updates.start();
    while expected <= *updates.end()
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame?.into_data() else { continue };
        let now = started.elapsed();
        seen.bytes += data.len() as u64;
        for line in std::str::from_utf8(&data)?.lines() {
            let (number, sent) = mark(line)?;
            if number < expected {
                return Err(format!("update {number} came again where {expected} was due").into());
            }
            seen.missing += number - expected;
            expected = number + 1;
            seen.lag.record(now.saturating_sub(sent));
        }
    }
    seen.missing += (updates.end() + 1).saturating_sub(expected);
    Ok(seen)
}

/// Reads what is left of a stream that nobody has read for a while.
pub(crate) async fn read_late(mut body: Body) -> Result<Slow, BoxError> {
    let mut slow = Slow { events: 0, cut: false };
    // One that isn't cut has events at first, and then nothing.
    while let Ok(frame) = tokio::time::timeout(Duration::from_millis(500), body.frame()).await {
        let Some(frame) = frame else {
            slow.cut = true;
            break;
        };
        let Ok(data) = frame?.into_data() else { continue };
        slow.events += data.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    Ok(slow)
}

/// Number and time of the update that an event announces.
fn mark(event: &str) -> Result<(u64, Duration), BoxError> {
    let unknown = || format!("not an event of the load: {}", event.get(..200).unwrap_or(event));
    let at = event.find(MARK).ok_or_else(unknown)? + MARK.len();
    let number = event.get(at..at + NUMBER).ok_or_else(unknown)?;
    let sent = event.get(at + NUMBER + 1..at + NUMBER + 1 + TIME).ok_or_else(unknown)?;
    Ok((number.parse()?, Duration::from_nanos(sent.parse()?)))
}
