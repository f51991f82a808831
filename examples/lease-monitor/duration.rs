//! Durations in the spelling of the field's flags: `15s`, `1m30s`, `500ms`, `1.5h`.
//!
//! In: text. Out: a `Duration`, or an error that shows the text and what was expected. And the way back, for
//! people: [`brief`]. It never panics, whatever the number, and never takes a bare number (is `15` seconds or
//! milliseconds?), just as Go's `time.ParseDuration`.

use std::time::Duration;

const UNITS: [(&str, f64); 6] = [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];

/// Longer than any timing that makes sense; keeps all sums far from overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Parses a duration such as `15s` or `1m30s`; the error is a sentence for the person who typed it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut seconds = 0.0_f64;
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err("a duration is needed, such as 15s, 1m30s or 500ms".into());
    }
    if rest.starts_with('-') {
        return Err(format!("{text:?} is negative; a duration such as 15s is needed"));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 =
            number.parse().map_err(|_| format!("{text:?} is no duration; write it as 15s, 1m30s or 500ms"))?;
        let Some((unit, scale)) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit)) else {
            return Err(match tail {
                "" => format!("{text:?} lacks a unit; write {text}s, {text}ms or {text}m"),
                _ => format!("{text:?} has an unknown unit; units are h, m, s, ms, us and ns"),
            });
        };
        seconds += number * scale;
        rest = &tail[unit.len()..];
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(format!("{text:?} is too long; ten years are the most")),
    }
}

/// A duration in at most two units, as `kubectl` prints ages: `350ms`, `2.4s`, `12s`, `3m10s`, `2h5m`, `9d`.
pub(crate) fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..=9 if duration.subsec_millis() != 0 => format!("{:.1}s", duration.as_millis() as f64 / 1000.0),
        1..=119 => format!("{seconds}s"),
        120..=7199 => pair(seconds, 60, "m", 1, "s"),
        7200..=172_799 => pair(seconds, 3600, "h", 60, "m"),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn pair(seconds: u64, large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match seconds % large / small {
        0 => format!("{}{large_unit}", seconds / large),
        rest => format!("{}{large_unit}{rest}{small_unit}", seconds / large),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_spellings_are_read() {
        for (text, millis) in [
            ("15s", 15_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("0", 0),
            ("0s", 0),
            (" 2s ", 2_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_sentence() {
        for (text, part) in [
            ("", "is needed"),
            ("15", "lacks a unit"),
            ("-5s", "negative"),
            ("5 s", "unknown unit"),
            ("s", "no duration"),
            ("1..5s", "no duration"),
            ("99999999999999999999h", "too long"),
            ("5days", "unknown unit"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn people_read_two_units_at_most() {
        for (millis, text) in [
            (350, "350ms"),
            (2_400, "2.4s"),
            (3_000, "3s"),
            (12_900, "12s"),
            (190_000, "3m10s"),
            (7_500_000, "2h5m"),
            (180_000, "3m"),
            (800_000_000, "9d"),
        ] {
            assert_eq!(brief(Duration::from_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-z.µ \\-]{0,12}") {
            let _ = parse(&text);
        }
    }
}
