//! The numbers of an election, and the arithmetic that makes them safe.
//!
//! In: durations chosen by the user. Out: a verdict that shows the numbers. Never: repairs a number silently.
//!
//! Symbols, as in the promises: L lease duration as stored, D renew deadline (how long a gate stays open after the
//! renewal that opened it was *sent*), R retry period, T request timeout, J stop bound (from the closing of a gate to
//! the last effect of any worker), rho the bound on the rate error of every process's gate clock.
//!
//! A holder's last effect comes at most `D / (1 - rho) + J` of true time after its last good renewal was sent, and so
//! no later than that after the renewal was stored. A rival that waits L on its own clock after it saw that renewal
//! takes over at least `L / (1 + rho)` after it was stored. So two sets of workers never overlap if
//! `D <= (1 - rho) * (L / (1 + rho) - J)`. client-go asks only for L > D > 1.2 R.
//!
//! Beside candidates of client-go, count with a second less of L. They compare records in which the renewal's time has whole seconds
//! (`kubernetes/client-go:tools/leaderelection/resourcelock/interface.go`, `metav1.Time`), so they don't see the second of two renewals within
//! one. The defaults have that second.

use std::time::Duration;

/// The longest lease a holder may ask for, and the longest a candidate waits because a record says so.
///
/// One constant for both sides: a candidate that cut a rule-abiding holder's lease short would be unsafe, one that
/// believed an absurd value would never take over.
pub const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// Timings of one election. All candidates of a Lease should use the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Timings {
    /// L: how long others wait after the last change they saw. Whole seconds, as a Lease stores them; 1 s to
    /// [`LONGEST_LEASE`]. Default 15 s, as upstream.
    pub lease_duration: Duration,
    /// D: how long a gate stays open, counted from just before the last successful renewal was sent. Default 10 s.
    pub renew_deadline: Duration,
    /// R: time between renewals, and between looks of a candidate. Default 2 s.
    pub retry_period: Duration,
    /// T: deadline of each request to the Lease. Default 3 s, so that three tries fit into D.
    pub request_timeout: Duration,
    /// J: how long effects may go on after the gate has closed; past it the process must have ended. Default 2 s.
    pub stop_bound: Duration,
    /// rho: bound on the rate error of every gate clock. Default 1/12, the most that chrony slews by default.
    pub clock_rate_error: f64,
    /// A candidate looks every R * (1 + jitter * random in 0..1). 0 to 2, default 0.2.
    pub jitter: f64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
            request_timeout: Duration::from_secs(3),
            stop_bound: Duration::from_secs(2),
            clock_rate_error: 1.0 / 12.0,
            jitter: 0.2,
        }
    }
}

/// Why timings can't work. The text shows the numbers and what to change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TimingsError {
    /// A duration that must not be zero is.
    #[error("the {name} is zero: give it a positive duration")]
    Zero {
        /// Which one.
        name: &'static str,
    },
    /// The lease duration can't be stored in a Lease, or is out of bounds.
    #[error(
        "the lease duration is {}s: a Lease stores whole seconds, so choose whole seconds from 1s to {LONGEST_LEASE:?}",
        .0.as_secs_f64()
    )]
    Lease(Duration),
    /// The clock rate error isn't a number from 0 to below 0.5.
    #[error(
        "the clock rate error is {0}: choose a number from 0 to below 0.5, such as 0.0833 (chrony slews that much)"
    )]
    ClockRate(f64),
    /// The jitter isn't a number from 0 to 2.
    #[error("the jitter is {0}: choose a number from 0 to 2, such as 0.2")]
    Jitter(f64),
    /// Not even two tries to renew fit before the gate closes.
    #[error(
        "retry period {retry:?} + request timeout {timeout:?} is not less than the renew deadline {deadline:?}, so one \
         slow request would lose the Lease: shorten the retry period or the request timeout, or lengthen the renew \
         deadline (and with it the lease duration)"
    )]
    Tries {
        /// R.
        retry: Duration,
        /// T.
        timeout: Duration,
        /// D.
        deadline: Duration,
    },
    /// The gate could still be open when another candidate may take over.
    #[error("{}", explain_overlap(.0))]
    Overlap(Box<Timings>),
}

impl Timings {
    /// The longest safe renew deadline for this lease, stop bound and clock rate error; zero if there is none.
    ///
    /// `(1 - rho) * (L / (1 + rho) - J)`.
    pub fn longest_renew_deadline(&self) -> Duration {
        let rho = self.clock_rate_error;
        let seconds = (1.0 - rho) * (self.lease_duration.as_secs_f64() / (1.0 + rho) - self.stop_bound.as_secs_f64());
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::ZERO)
    }

    /// Whether these timings can work and are safe.
    ///
    /// # Errors
    /// The first rule that doesn't hold.
    pub fn check(&self) -> Result<(), TimingsError> {
        for (name, duration) in [
            ("renew deadline", self.renew_deadline),
            ("retry period", self.retry_period),
            ("request timeout", self.request_timeout),
            ("stop bound", self.stop_bound),
        ] {
            if duration.is_zero() {
                return Err(TimingsError::Zero { name });
            }
        }
        let lease = self.lease_duration;
        if lease.is_zero() || lease.subsec_nanos() != 0 || lease > LONGEST_LEASE {
            return Err(TimingsError::Lease(lease));
        }
        if !(0.0..0.5).contains(&self.clock_rate_error) {
            return Err(TimingsError::ClockRate(self.clock_rate_error));
        }
        if !(0.0..=2.0).contains(&self.jitter) {
            return Err(TimingsError::Jitter(self.jitter));
        }
        if self.renew_deadline > self.longest_renew_deadline() {
            return Err(TimingsError::Overlap(Box::new(self.clone())));
        }
        if self.retry_period.saturating_add(self.request_timeout) >= self.renew_deadline {
            return Err(TimingsError::Tries {
                retry: self.retry_period,
                timeout: self.request_timeout,
                deadline: self.renew_deadline,
            });
        }
        Ok(())
    }

    /// The shortest whole-second lease for which the renew deadline would be safe.
    fn shortest_lease(&self) -> f64 {
        let rho = self.clock_rate_error;
        ((1.0 + rho) * (self.renew_deadline.as_secs_f64() / (1.0 - rho) + self.stop_bound.as_secs_f64())).ceil()
    }
}

fn explain_overlap(timings: &Timings) -> String {
    let most = timings.longest_renew_deadline();
    let (lease, stop) = (timings.lease_duration.as_secs_f64(), timings.stop_bound.as_secs_f64());
    let rho = timings.clock_rate_error;
    // Rounded down, so that following the advice passes the check.
    let advice = (most.as_secs_f64() * 10.0).floor() / 10.0;
    let shorten = if advice > 0.0 {
        format!("shorten the renew deadline to {advice}s or less, or the stop bound")
    } else {
        "shorten the stop bound".to_owned()
    };
    let lease_wanted = timings.shortest_lease();
    let lengthen = if lease_wanted <= LONGEST_LEASE.as_secs_f64() {
        format!(", or lengthen the lease duration to {lease_wanted}s or more")
    } else {
        String::new()
    };
    format!(
        "the renew deadline {:?} is too long: another candidate could take over while this one may still act. With lease \
         duration {lease}s, stop bound {stop}s and clock rate error {rho:.4} it may be at most {:.3}s = (1 - {rho:.4}) * \
         ({lease}s / (1 + {rho:.4}) - {stop}s): {shorten}{lengthen}",
        timings.renew_deadline,
        most.as_secs_f64(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: f64) -> Duration {
        Duration::from_secs_f64(value)
    }

    fn timings(lease: u64, deadline: f64, stop: f64, rho: f64) -> Timings {
        Timings {
            lease_duration: Duration::from_secs(lease),
            renew_deadline: seconds(deadline),
            stop_bound: seconds(stop),
            clock_rate_error: rho,
            ..Timings::default()
        }
    }

    /// Goal: the bound is the published table. Method: its rows, to a tenth of a second.
    #[test]
    fn longest_renew_deadline_is_the_formula() {
        for (lease, stop, rho, expected) in [
            (15, 2.0, 0.0, 13.0),
            (15, 2.0, 0.01, 12.7),
            (15, 2.0, 1.0 / 12.0, 10.9),
            (15, 2.0, 0.2, 8.4),
            (15, 4.0, 1.0 / 12.0, 9.0),
            (30, 5.0, 1.0 / 12.0, 20.8),
            (1, 2.0, 0.0, 0.0),
        ] {
            let most = timings(lease, 10.0, stop, rho).longest_renew_deadline().as_secs_f64();
            assert!((most - expected).abs() < 0.1, "L {lease} J {stop} rho {rho}: {most}");
        }
    }

    /// Goal: the defaults are safe, and just so: a second more of D isn't. Method: the check on both.
    #[test]
    fn defaults_pass_and_little_more_does_not() {
        assert_eq!(Timings::default().check(), Ok(()));
        assert!(matches!(timings(15, 11.0, 2.0, 1.0 / 12.0).check(), Err(TimingsError::Overlap(_))));
        // client-go's defaults with a long stop.
        assert!(matches!(timings(15, 10.0, 5.0, 1.0 / 12.0).check(), Err(TimingsError::Overlap(_))));
    }

    /// Goal: the defaults are safe beside client-go's candidates, which may wait for a second less.
    #[test]
    fn defaults_have_a_second_for_client_go() {
        let defaults = Timings::default();
        let lease_duration = defaults.lease_duration - Duration::from_secs(1);
        assert_eq!(Timings { lease_duration, ..defaults }.check(), Ok(()));
    }

    /// Goal: the error names every number and its advice works. Method: follow each advice and check again.
    #[test]
    fn overlap_error_says_what_to_change() {
        let bad = timings(15, 14.0, 2.0, 1.0 / 12.0);
        let text = bad.check().unwrap_err().to_string();
        for part in ["14s", "lease duration 15s", "stop bound 2s", "0.0833", "10.859s", "to 10.8s", "to 19s"] {
            assert!(text.contains(part), "{part:?} missing in: {text}");
        }
        assert_eq!(timings(15, 10.8, 2.0, 1.0 / 12.0).check(), Ok(()));
        assert_eq!(timings(19, 14.0, 2.0, 1.0 / 12.0).check(), Ok(()));
        assert!(timings(18, 14.0, 2.0, 1.0 / 12.0).check().is_err());
    }

    /// Goal: nonsense is refused, never computed with. Method: one bad field at a time.
    #[test]
    fn nonsense_is_refused() {
        let good = Timings::default;
        let cases: Vec<(Timings, &str)> = vec![
            (Timings { lease_duration: Duration::ZERO, ..good() }, "is 0s: a Lease stores whole seconds"),
            (Timings { lease_duration: Duration::from_millis(15_500), ..good() }, "is 15.5s: "),
            (Timings { lease_duration: Duration::MAX, ..good() }, "whole seconds"),
            (Timings { renew_deadline: Duration::ZERO, ..good() }, "renew deadline is zero"),
            (Timings { renew_deadline: Duration::MAX, ..good() }, "too long"),
            (Timings { retry_period: Duration::ZERO, ..good() }, "retry period is zero"),
            (Timings { retry_period: Duration::MAX, ..good() }, "one slow request"),
            (Timings { request_timeout: Duration::ZERO, ..good() }, "request timeout is zero"),
            (Timings { request_timeout: Duration::from_secs(8), ..good() }, "one slow request"),
            (Timings { stop_bound: Duration::ZERO, ..good() }, "stop bound is zero"),
            (Timings { stop_bound: Duration::from_secs(20), ..good() }, "shorten the stop bound"),
            (Timings { clock_rate_error: f64::NAN, ..good() }, "clock rate error"),
            (Timings { clock_rate_error: -0.1, ..good() }, "clock rate error"),
            (Timings { clock_rate_error: 0.5, ..good() }, "clock rate error"),
            (Timings { jitter: f64::INFINITY, ..good() }, "jitter"),
            (Timings { jitter: -1.0, ..good() }, "jitter"),
        ];
        for (timings, expected) in cases {
            let text = timings.check().expect_err("must be refused").to_string();
            assert!(text.contains(expected), "{expected:?} missing in: {text}");
        }
    }
}
