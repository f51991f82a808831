//! When a Lease that does not change is late, and when it is stale.
//!
//! In: the class and the `leaseDurationSeconds` of the object itself, which the holder chose. Out: two ages, or a
//! [`Finding`] that names what is wrong with the duration. No threshold comes from this program's flags: real
//! durations reach from seconds to an hour. Any `i32`, and none at all, is a legal input; nothing overflows.

use std::fmt;
use std::time::Duration;

use crate::class::Class;

/// The longest duration that is taken for meant: a day. The longest in the field is an API server's hour.
pub(crate) const LONGEST_MEANT: Duration = Duration::from_secs(86_400);

/// The ages at which a Lease without a change enters the next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// From here on it is late: renewals were missed, nobody has lost anything yet.
    pub(crate) late: Duration,
    /// From here on it is stale: its holder is taken for dead, an election may be taken over.
    pub(crate) stale: Duration,
}

/// What is wrong with a Lease, beside its state. Shown in the table, never a reason to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// No `leaseDurationSeconds`: there is no age at which this Lease would be late.
    NoDuration,
    /// A zero or negative duration, which no API server should have accepted.
    NotPositive(i32),
    /// A duration of more than a day: a dead holder would go unnoticed for as long.
    TooLong(i32),
    /// A Lease in `kube-node-lease` without a Node of its name.
    NoNode,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::NoDuration => write!(f, "invalid duration: none set, can't be judged"),
            Finding::NotPositive(seconds) => write!(f, "invalid duration: {seconds}s is not positive, can't be judged"),
            Finding::TooLong(seconds) => {
                write!(f, "invalid duration: {seconds}s is more than a day, a dead holder would go unnoticed")
            }
            Finding::NoNode => write!(f, "orphan: no Node of this name"),
        }
    }
}

/// A Lease's duration, if it is one: positive. Too long a one is used all the same.
pub(crate) fn duration(seconds: Option<i32>) -> Option<Duration> {
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// What is wrong with a duration.
pub(crate) fn finding(seconds: Option<i32>) -> Option<Finding> {
    match (seconds, duration(seconds)) {
        (None, _) => Some(Finding::NoDuration),
        (Some(seconds), None) => Some(Finding::NotPositive(seconds)),
        (Some(seconds), Some(duration)) => (duration > LONGEST_MEANT).then_some(Finding::TooLong(seconds)),
    }
}

impl Thresholds {
    /// The thresholds of a Lease; `None` where none can be derived: no valid duration, or nothing that is renewed.
    ///
    /// An API server's identity Lease lasts 3600 s and is renewed each 10 s, long before it expires, so it is late
    /// after a sixtieth and stale after a twelfth of its duration (60 s and 300 s), but never before 20 s and 40 s,
    /// two and four renewals, unless the duration itself is shorter.
    pub(crate) fn of(class: Class, seconds: Option<i32>) -> Option<Thresholds> {
        let whole = duration(seconds)?;
        Some(match class {
            Class::Inert => return None,
            Class::ApiServer => Thresholds {
                late: (whole / 60).max(Duration::from_secs(20).min(whole / 2)),
                stale: (whole / 12).max(Duration::from_secs(40).min(whole)),
            },
            Class::Heartbeat => Thresholds { late: whole, stale: whole * 5 },
            Class::Node | Class::Coordinated | Class::Core | Class::Election => {
                Thresholds { late: whole / 2, stale: whole }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_class_has_the_thresholds_of_the_field() {
        for (class, duration, late, stale) in [
            (Class::Node, 40, 20, 40),
            (Class::ApiServer, 3600, 60, 300),
            (Class::ApiServer, 40, 20, 40),
            (Class::ApiServer, 10, 5, 10),
            (Class::Election, 60, 30, 60),
            (Class::Heartbeat, 30, 30, 150),
        ] {
            let expected = Thresholds { late: Duration::from_secs(late), stale: Duration::from_secs(stale) };
            assert_eq!(Thresholds::of(class, Some(duration)), Some(expected), "{class:?} {duration}");
        }
    }

    #[test]
    fn bad_durations_are_named() {
        assert_eq!(finding(None), Some(Finding::NoDuration));
        assert_eq!(finding(Some(0)), Some(Finding::NotPositive(0)));
        assert_eq!(finding(Some(i32::MIN)), Some(Finding::NotPositive(i32::MIN)));
        assert_eq!(finding(Some(i32::MAX)), Some(Finding::TooLong(i32::MAX)));
        assert_eq!(finding(Some(86_400)), None);
        assert_eq!(Thresholds::of(Class::Node, Some(-5)), None);
        assert!(Finding::NotPositive(-5).to_string().contains("invalid duration: -5s"));
    }

    proptest! {
        #[test]
        fn late_is_never_after_stale(seconds in any::<i32>(), class in 0usize..7) {
            let class = [Class::ApiServer, Class::Node, Class::Coordinated, Class::Core, Class::Election,
                         Class::Heartbeat, Class::Inert][class];
            if let Some(thresholds) = Thresholds::of(class, Some(seconds)) {
                prop_assert!(thresholds.late < thresholds.stale && !thresholds.late.is_zero());
            }
        }
    }
}
