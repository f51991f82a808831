//! The moment of sending, in an annotation that has the same length whatever the moment: so it can be written into bytes
//! that were made before.
//!
//! In: the clock all processes of the machine share, and bytes or texts. Out: 20 digits of nanoseconds, and their place.

use rustix::time::{ClockId, clock_gettime};

/// The name of the annotation.
pub(crate) const ANNOTATION: &str = "bench.watchkeeper.test/sent-ns";
/// What it says of what was not sent yet.
pub(crate) const NEVER: &str = "00000000000000000000";

/// Nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    let at = clock_gettime(ClockId::Monotonic);
    u64::try_from(at.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(at.tv_nsec).unwrap_or(0)
}

/// The value of the annotation.
pub(crate) fn digits(nanos: u64) -> String {
    format!("{nanos:020}")
}

/// Where the value stands in an object that was never sent, JSON or protobuf; both have it a few bytes behind the name.
pub(crate) fn place(object: &[u8]) -> Option<usize> {
    const BETWEEN: usize = 4;
    let name = object.windows(ANNOTATION.len()).position(|bytes| bytes == ANNOTATION.as_bytes())?;
    let behind = name + ANNOTATION.len();
    (behind..=behind + BETWEEN)
        .find(|place| object.get(*place..*place + NEVER.len()).is_some_and(|bytes| bytes == NEVER.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is written where the value stands is what is read, in JSON and behind the two bytes of protobuf.
    #[test]
    fn digits_go_where_the_value_stands() {
        let json = format!(r#"{{"annotations":{{"{ANNOTATION}":"{NEVER}","z":"{NEVER}"}}}}"#);
        let protobuf = format!("\n\u{1e}{ANNOTATION}\u{12}\u{14}{NEVER}\u{1a}");
        for text in [json, protobuf] {
            let mut bytes = text.into_bytes();
            let place = place(&bytes).expect("the value is there");
            bytes[place..place + NEVER.len()].copy_from_slice(digits(1_234_567_890_123).as_bytes());
            let before = bytes[..place].ends_with(b":\"") || bytes[..place].ends_with(b"\x12\x14");
            assert!(before && bytes[place..].starts_with(b"00000001234567890123"));
            assert_eq!(super::place(&bytes), None, "it stands nowhere else");
        }
        assert_eq!(place(format!(r#""{ANNOTATION}":"1""#).as_bytes()), None);
        assert_eq!(place(b""), None);
    }
}
