//! Durations in scripts: text as Go writes it, `1500ms`, `2.5s`, `1m30s`.
//!
//! Comes in: text or a duration. Goes out: the other. Never reads bare numbers, whose unit would be a guess.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::route::go_duration;

fn parse<E: Error>(text: &str) -> Result<Duration, E> {
    go_duration(text).map_err(|_| {
        E::custom(format!("{text:?} is not a duration: write a number and h, m, s, ms, us or ns, such as \"1500ms\""))
    })
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(*duration))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?)
}

fn shown(duration: Duration) -> String {
    if duration.subsec_nanos().is_multiple_of(1_000_000) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}ns", duration.as_nanos())
    }
}

/// The same where there may be none.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, Duration, Serializer, parse, shown};

    #[expect(clippy::ref_option, reason = "serde hands over a reference")]
    pub(in crate::fault) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_str(&shown(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::fault) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| parse(&text)).transpose()
    }
}
