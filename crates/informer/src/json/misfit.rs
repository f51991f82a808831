//! Misfit: where a value doesn't fit its type, and what is there instead.
//!
//! In: the bytes that couldn't be read as a type. Out: a text for people: the names that lead to the place, the kind of the value
//! that is there, what the type says that it expects. Never a value, so serde's own messages, which quote them, aren't used; what a type
//! says that it expects is its own business.

use std::borrow::Cow;
use std::fmt::Display;

use serde::de::{self, DeserializeOwned, Expected, Unexpected};

use super::{Failure, Fault, ManagedFields, Reader};
use crate::request_error::bounded;

/// In characters; what is said of a value is shorter than that as a rule.
const LONGEST_PATH: usize = 256;

/// What is wrong, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misfit(String);

/// Reads it again, slower, for the way to what is wrong.
#[cold]
pub(super) fn describe<K: DeserializeOwned>(text: &str, managed_fields: ManagedFields) -> Box<str> {
    let mut reader = Reader::<Misfit>::new(text, managed_fields);
    let what =
        reader.whole::<K>().err().map_or_else(|| "it did when it was read again".to_owned(), |Misfit(what)| what);
    let separator = if reader.path.is_empty() { "" } else { ": " };
    bounded(&[&*shortened(&reader.path), separator, &what].concat()).into()
}

/// Of a path that is too long, its end.
fn shortened(path: &str) -> Cow<'_, str> {
    match path.char_indices().rev().nth(LONGEST_PATH - 1) {
        Some((start, _)) if start > 0 => format!("…{}", &path[start..]).into(),
        _ => path.into(),
    }
}

impl Failure for Misfit {
    const TRACED: bool = true;
}

impl From<Fault> for Misfit {
    fn from(fault: Fault) -> Self {
        let what = match fault {
            Fault::Shape => "more than the type takes",
            Fault::Syntax | Fault::TooDeep => "not a value that can be here",
        };
        Self(what.to_owned())
    }
}

impl de::Error for Misfit {
    fn custom<T: Display>(_: T) -> Self {
        Self("a value that the type refuses".to_owned())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("{}, expected {expected}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("{} of another value, expected {expected}", kind(&found)))
    }

    /// Types also mean the length of a text by it, which is a secret's sometimes.
    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self(format!("a wrong length, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("an unknown variant, expected one of {}", expected.join(", ")))
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self("an unknown field".to_owned())
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("the field {field} is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self(format!("the field {field} is there twice"))
    }
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a real number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "another kind of value",
    }
}
