//! Latencies in little memory that never grows: so many can be counted while memory is being measured.
//!
//! In: durations, and other histograms. Out: quantiles, at most a 32nd too high.

use std::time::Duration;

/// Buckets of one power of two.
const FINE: u64 = 32;
const BUCKETS: usize = (FINE as usize) * 60;

/// How often each length of time was seen.
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0 }
    }

    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The time that so many thousandths of all stay below, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
    pub(crate) fn micros(&self, thousandths: u64) -> f64 {
        let mut left = (self.total * thousandths).div_ceil(1000).max(1);
        for (bucket, count) in self.counts.iter().enumerate() {
            if left <= *count {
                return upper(bucket) as f64 / 1000.0;
            }
            left -= count;
        }
        0.0
    }
}

/// The first 32 are exact, then 32 a power of two.
fn bucket(nanos: u64) -> usize {
    let shift = u64::from(nanos.max(FINE).ilog2() - FINE.ilog2());
    usize::try_from(shift * FINE + (nanos >> shift)).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / FINE).saturating_sub(1);
    ((bucket - shift * FINE + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_32nd_too_high() {
        for nanos in [0, 1, 31, 32, 33, 63, 64, 1000, 123_456, 9_999_999_999] {
            let mut histogram = Histogram::new();
            histogram.record(Duration::from_nanos(nanos));
            let seen = upper(bucket(nanos));
            assert!(seen >= nanos && seen - nanos <= nanos / 32, "{nanos}: {seen}");
            assert_eq!(histogram.total(), 1);
        }
        let mut many = Histogram::new();
        (1..=1000).for_each(|micros| many.record(Duration::from_micros(micros)));
        assert!((500.0..520.0).contains(&many.micros(500)), "{}", many.micros(500));
        assert!((990.0..1025.0).contains(&many.micros(990)), "{}", many.micros(990));
    }
}
