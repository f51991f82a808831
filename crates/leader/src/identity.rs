//! Who a candidate is: one name per incarnation of a process.
//!
//! In: a part that people can read. Out: a name no other process has. Never: the same name twice.
//!
//! A restarted process must not be taken for its predecessor, whose workers may still be running, so the name has the
//! process id and 128 random bits beside the readable part. client-go leaves that to the caller.

use std::fmt;
use std::sync::Arc;

/// The longest readable part, in bytes. With the rest an identity stays within the 128 bytes that the API server
/// allows for the `reportingInstance` of an Event.
pub const LONGEST_READABLE: usize = 80;

/// The name of one incarnation of one candidate: `readable_pid_random`, with 32 hexadecimal random digits.
///
/// Never empty, at most 128 bytes, only letters, digits, `-`, `.` and `_`. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(Arc<str>);

/// Why a readable part can't be part of an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nothing to read.
    #[error("the identity is empty: give a readable part, such as the pod's or the host's name")]
    Empty,
    /// Too long to be shown in Events.
    #[error("the identity's readable part has {0} bytes: at most {LONGEST_READABLE} are allowed")]
    TooLong(usize),
    /// A character that isn't allowed, or not at this place.
    #[error(
        "the identity's readable part {text:?} has {found:?} in it: use letters, digits, '-', '.' and '_', and begin with a letter or digit"
    )]
    Character {
        /// The whole part.
        text: String,
        /// The first wrong character.
        found: char,
    },
    /// The operating system gave no random bits.
    #[error("no random bits for an identity: {0}")]
    Random(String),
}

impl Identity {
    /// A new identity for this process, with fresh random bits. Two calls give two identities.
    ///
    /// # Errors
    /// A readable part that is empty, too long or has unusual characters, or no random bits.
    pub fn generate(readable: &str) -> Result<Self, IdentityError> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| IdentityError::Random(error.to_string()))?;
        Self::from_parts(readable, std::process::id(), u128::from_ne_bytes(bits))
    }

    /// An identity from given parts, for tests and simulations. Real processes use [`Identity::generate`].
    ///
    /// # Errors
    /// A readable part that is empty, too long or has unusual characters.
    pub fn from_parts(readable: &str, process: u32, random: u128) -> Result<Self, IdentityError> {
        check(readable)?;
        Ok(Self(format!("{readable}_{process}_{random:032x}").into()))
    }

    /// The whole name, as it stands in a Lease's `holderIdentity`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn check(readable: &str) -> Result<(), IdentityError> {
    if readable.is_empty() {
        return Err(IdentityError::Empty);
    }
    if readable.len() > LONGEST_READABLE {
        return Err(IdentityError::TooLong(readable.len()));
    }
    let wrong = readable
        .char_indices()
        .find(|&(at, found)| !(found.is_ascii_alphanumeric() || (at > 0 && matches!(found, '-' | '.' | '_'))));
    match wrong {
        Some((_, found)) => Err(IdentityError::Character { text: readable.to_owned(), found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: two incarnations never share a name, and the name shows what it is made of. Method: generate twice.
    #[test]
    fn every_incarnation_has_its_own_name() {
        let first = Identity::generate("node-1.example").unwrap();
        let second = Identity::generate("node-1.example").unwrap();
        assert_ne!(first, second);
        assert!(first.as_str().starts_with(&format!("node-1.example_{}_", std::process::id())));
        assert_eq!(Identity::from_parts("a", 7, 0xff).unwrap().to_string(), format!("a_7_{:032x}", 255));
    }

    /// Goal: what can't work is refused, and the longest still fits. Method: a table.
    #[test]
    fn bad_readable_parts_are_refused() {
        assert_eq!(Identity::generate(""), Err(IdentityError::Empty));
        assert_eq!(Identity::generate(&"x".repeat(81)), Err(IdentityError::TooLong(81)));
        for bad in [" ", "a b", "-a", ".a", "_a", "a\n", "é", "a/b", "a\u{0}"] {
            assert!(matches!(Identity::generate(bad), Err(IdentityError::Character { .. })), "{bad:?}");
        }
        let longest = Identity::from_parts(&"x".repeat(80), u32::MAX, u128::MAX).unwrap();
        assert!(longest.as_str().len() <= 128);
    }
}
