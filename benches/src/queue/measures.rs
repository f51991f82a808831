//! The list of all measures: their names, what they are taken of, and in what unit.
//!
//! In: a name from the command line, or a subject to take figures of. Out: the measure, or our side's [`Figure`].
//! Several measures may be read off one subject.

use serde::{Deserialize, Serialize};
use watchkeeper::BoxError;

use super::{Options, Size, delays, single_thread, throughput, wake};

/// One line of the report.
#[derive(PartialEq)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) subject: Subject,
    pub(crate) unit: Unit,
}

/// What a figure is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// By a handle to the key, as a source has it that keeps one beside each object.
    Cycle,
    /// By the key itself; the peer has no other way.
    CyclePlainKey,
    DuplicateAdd,
    Limiter,
    Adds {
        producers: usize,
        consumers: usize,
    },
    Wake,
    DelayInsert,
    DelayBytes,
}

/// What a measure counts, and which field of a [`Figure`] it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// CPU time of an operation.
    Nanos,
    /// Operations a second.
    PerSecond,
    /// Half of all latencies are shorter.
    P50,
    /// All but a hundredth of the latencies are shorter.
    P99,
    /// Memory of a key.
    Bytes,
}

/// What one round gives on one side; which fields there are depends on the subject. Also what the peer prints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Figure {
    /// CPU time of an operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nanos: Option<f64>,
    /// The same with what other threads did meanwhile, the peer's garbage collector above all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process_nanos: Option<f64>,
    /// Live heap of a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<f64>,
    /// Operations a second by the clock on the wall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_second: Option<f64>,
    /// How many of the adds met a key that was queued already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) absorbed: Option<usize>,
    /// Latencies in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
}

/// All measures; those of one subject stand together.
pub(crate) const MEASURES: &[Measure] = &[
    Measure { name: "cycle", subject: Subject::Cycle, unit: Unit::Nanos },
    Measure { name: "cycle_plain_key", subject: Subject::CyclePlainKey, unit: Unit::Nanos },
    Measure { name: "duplicate_add", subject: Subject::DuplicateAdd, unit: Unit::Nanos },
    Measure { name: "adds_1x1", subject: adds(1, 1), unit: Unit::PerSecond },
    Measure { name: "adds_1x2", subject: adds(1, 2), unit: Unit::PerSecond },
    Measure { name: "adds_1x4", subject: adds(1, 4), unit: Unit::PerSecond },
    Measure { name: "adds_1x8", subject: adds(1, 8), unit: Unit::PerSecond },
    Measure { name: "adds_2x2", subject: adds(2, 2), unit: Unit::PerSecond },
    Measure { name: "adds_4x4", subject: adds(4, 4), unit: Unit::PerSecond },
    Measure { name: "adds_8x8", subject: adds(8, 8), unit: Unit::PerSecond },
    Measure { name: "wake_p50", subject: Subject::Wake, unit: Unit::P50 },
    Measure { name: "wake_p99", subject: Subject::Wake, unit: Unit::P99 },
    Measure { name: "delay_insert", subject: Subject::DelayInsert, unit: Unit::Nanos },
    Measure { name: "delay_bytes", subject: Subject::DelayBytes, unit: Unit::Bytes },
    Measure { name: "limiter", subject: Subject::Limiter, unit: Unit::Nanos },
];

const fn adds(producers: usize, consumers: usize) -> Subject {
    Subject::Adds { producers, consumers }
}

impl Measure {
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        MEASURES.iter().find(|measure| measure.name == name).ok_or_else(|| format!("there are {}", Self::names()))
    }

    pub(crate) fn names() -> String {
        let names: Vec<&str> = MEASURES.iter().map(|measure| measure.name).collect();
        names.join(", ")
    }
}

impl Subject {
    /// How large the subject is made: each delayed key and each wake-up has a key of its own.
    pub(crate) fn size(self, options: &Options) -> Size {
        match self {
            Self::Cycle | Self::CyclePlainKey | Self::DuplicateAdd | Self::Limiter | Self::Adds { .. } => {
                Size { keys: options.keys, n: options.adds }
            }
            Self::Wake => Size { keys: options.samples, n: options.samples },
            Self::DelayInsert | Self::DelayBytes => Size { keys: options.adds, n: options.adds },
        }
    }

    /// Takes our side's figure.
    pub(crate) fn ours(self, size: Size) -> Result<Figure, BoxError> {
        match self {
            Self::Cycle => single_thread::cycle(size),
            Self::CyclePlainKey => single_thread::cycle_plain_key(size),
            Self::DuplicateAdd => single_thread::duplicate_add(size),
            Self::Limiter => single_thread::limiter(size),
            Self::Adds { producers, consumers } => throughput::adds(size, producers, consumers),
            Self::Wake => wake::wake(size),
            Self::DelayInsert => delays::insert(size),
            Self::DelayBytes => delays::bytes(size),
        }
    }
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::PerSecond => "adds/s",
            Self::P50 | Self::P99 => "us",
            Self::Bytes => "bytes",
        }
    }

    pub(crate) fn of(self, figure: &Figure) -> Option<f64> {
        match self {
            Self::Nanos => figure.nanos,
            Self::PerSecond => figure.per_second,
            Self::P50 => figure.p50,
            Self::P99 => figure.p99,
            Self::Bytes => figure.bytes,
        }
    }

    /// How many times better ours is.
    pub(crate) fn ratio(self, ours: f64, peer: f64) -> f64 {
        match self {
            Self::PerSecond => ours / peer,
            Self::Nanos | Self::P50 | Self::P99 | Self::Bytes => peer / ours,
        }
    }
}
