//! The keys and delays of the benchmark, the same on both sides (the peer's are in `common.go`).
//!
//! In: how many. Out: keys of about 50 bytes, as a Deployment's keys are, numbered from 0; and delays that are uniform
//! over ten minutes, the same ones in each run.

use std::sync::Arc;
use std::time::Duration;

/// Shared, which is how a cache has a key in common with its queue.
pub(crate) type Key = Arc<str>;

pub(crate) fn keys(count: usize) -> Vec<Key> {
    (0..count)
        .map(|number| format!("namespace-{:04}/deployment-7d4b9c6f5d-{number:012}", number % 100).into())
        .collect()
}

/// Reads a key's number from its last twelve digits.
pub(crate) fn number_of(key: &str) -> Option<usize> {
    key.get(key.len().checked_sub(12)?..)?.parse().ok()
}

const TEN_MINUTES: u64 = 600_000_000_000;

/// Delays without end: the generator SplitMix64, started at 1.
pub(crate) fn delays() -> impl Iterator<Item = Duration> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_nanos((z ^ (z >> 31)) % TEN_MINUTES)
    })
}
