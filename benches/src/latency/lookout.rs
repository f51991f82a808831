//! Where a client looks out for updates: its handler, or its worker.
//!
//! In: an object's annotations, as soon as they are seen. Out: all [`Sighting`]s so far.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::sent;
use super::sighting::Sighting;

/// Collects what is seen in one place.
#[derive(Default)]
pub(crate) struct Lookout(Mutex<Vec<Sighting>>);

impl Lookout {
    /// An object is seen now.
    pub(crate) fn see(&self, annotations: Option<&BTreeMap<String, String>>) {
        let seen = sent::now();
        let value = annotations.and_then(|annotations| annotations.get(sent::ANNOTATION));
        if let Some(sent) = value.and_then(|value| read(value)) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Sighting { sent, seen });
        }
    }

    pub(crate) fn so_far(&self) -> Vec<Sighting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// When it was sent, if it was.
fn read(value: &str) -> Option<u64> {
    if value.len() != sent::NEVER.len() {
        return None;
    }
    value.parse().ok().filter(|nanos| *nanos > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_sent_has_no_moment() {
        assert_eq!(read(sent::NEVER), None);
        assert_eq!(read("17"), None);
        assert_eq!(read("0000000000000000000x"), None);
        assert_eq!(read(&sent::digits(1_234_567_890_123)), Some(1_234_567_890_123));
    }
}
