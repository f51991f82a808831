//! JSON to any type that serde knows, from one complete value in memory.
//!
//! In: bytes. Out: a value, or the class of what is wrong; of what doesn't fit its type also where, never a value. Why not serde_json: this reader
//! passes over what the type doesn't want at the speed of [`crate::scan`], `metadata.managedFields` first of all; it tells
//! vectors how long they will be, so that they hold no room to grow; and it passes over any depth, while it builds no more
//! than [`MAX_BUILT_DEPTH`] levels, so that neither it nor whoever drops the value runs out of stack.
//!
//! Where a value is passed over, only its brackets and strings are looked at. Otherwise both agree on what is JSON and what it says, which
//! a test holds them to.

mod access;
mod misfit;
mod number;
mod text;

use std::fmt::Write;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};

use crate::decode::DecodeFault;
use crate::scan::{elements, skip_whitespace, value_end};
use access::{Elements, Members};
use number::Number;

/// Levels of arrays and objects that are built.
pub(crate) const MAX_BUILT_DEPTH: u32 = 128;

/// What becomes of `metadata.managedFields`.
pub(crate) enum ManagedFields {
    Kept,
    /// They are left out. Where they are, if that is known, needn't be looked for again.
    LeftOut(Range<usize>),
}

/// Why a value can't be read. It says nothing of where, so that an attempt costs nothing: an untagged enum makes several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{self:?}")]
enum Fault {
    Syntax,
    TooDeep,
    Shape,
}

/// What serde hears of a fault.
trait Failure: de::Error + From<Fault> {
    /// Whether the way to it is to be known.
    const TRACED: bool;
}

impl Failure for Fault {
    const TRACED: bool = false;
}

impl de::Error for Fault {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self::Shape
    }
}

/// One value, and nothing but whitespace around it. What doesn't fit is read once more, to say where.
pub(crate) fn read<K: DeserializeOwned>(bytes: &[u8], managed_fields: ManagedFields) -> Result<K, DecodeFault> {
    // Checked once: from here on, texts are slices.
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeFault::Syntax)?;
    let mut reader = Reader::<Fault>::new(text, managed_fields);
    reader.whole().map_err(|fault| match fault {
        Fault::Syntax => DecodeFault::Syntax,
        Fault::TooDeep => DecodeFault::TooDeep,
        Fault::Shape => DecodeFault::Shape(misfit::describe::<K>(text, reader.managed_fields)),
    })
}

/// Where reading stands.
struct Reader<'de, E> {
    text: &'de str,
    at: usize,
    depth: u32,
    /// For texts with escapes.
    scratch: String,
    /// The next value is that of `metadata` in the outermost object.
    metadata_next: bool,
    managed_fields: ManagedFields,
    /// The names that lead to where it stands, if the way is traced.
    path: String,
    failure: PhantomData<fn() -> E>,
}

/// A text, as it stands or with its escapes resolved.
enum Text<'de, 'a> {
    Plain(&'de str),
    Resolved(&'a str),
}

impl<'de, E: Failure> Reader<'de, E> {
    fn new(text: &'de str, managed_fields: ManagedFields) -> Self {
        let (scratch, path) = (String::new(), String::new());
        Self { text, at: 0, depth: 0, scratch, metadata_next: false, managed_fields, path, failure: PhantomData }
    }

    fn whole<K: DeserializeOwned>(&mut self) -> Result<K, E> {
        let value = K::deserialize(&mut *self)?;
        if skip_whitespace(self.bytes(), self.at) == self.bytes().len() { Ok(value) } else { Err(Fault::Syntax.into()) }
    }

    fn bytes(&self) -> &'de [u8] {
        self.text.as_bytes()
    }

    /// The next byte that isn't whitespace, which stays.
    fn peek(&mut self) -> Result<u8, Fault> {
        self.at = skip_whitespace(self.bytes(), self.at);
        self.bytes().get(self.at).copied().ok_or(Fault::Syntax)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek()? != byte {
            return Err(Fault::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Fault::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    /// The text whose opening quote is next.
    fn text(&mut self) -> Result<Text<'de, '_>, Fault> {
        self.expect(b'"')?;
        let start = self.at;
        let stop = text::stop(self.bytes(), start)?;
        if self.bytes()[stop] == b'"' {
            self.at = stop + 1;
            return Ok(Text::Plain(&self.text[start..stop]));
        }
        self.at = text::resolve(self.text, start, &mut self.scratch)?;
        Ok(Text::Resolved(&self.scratch))
    }

    fn number(&mut self) -> Result<Number, Fault> {
        let (number, end) = number::read(self.text, self.at)?;
        self.at = end;
        Ok(number)
    }

    /// Passes over a value, however deep.
    fn skip(&mut self) -> Result<(), Fault> {
        self.peek()?;
        self.at = value_end(self.bytes(), self.at).ok_or(Fault::Syntax)?;
        Ok(())
    }

    /// Passes over managed fields, whose key begins at `start`.
    fn skip_managed_fields(&mut self, start: usize) -> Result<(), Fault> {
        self.expect(b':')?;
        match &self.managed_fields {
            ManagedFields::LeftOut(known) if known.start == start && known.end > self.at => {
                self.at = known.end;
                Ok(())
            }
            _ => self.skip(),
        }
    }

    /// Into an array or object, whose opening bracket is next.
    fn enter(&mut self) -> Result<(), Fault> {
        if self.depth == MAX_BUILT_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// On to the member whose key, which began at `start`, has just been read.
    fn trace_member(&mut self, start: usize) {
        if E::TRACED {
            let separator = if self.path.is_empty() { "" } else { "." };
            self.path.push_str(separator);
            self.path.push_str(&self.text[start + 1..self.at - 1]);
        }
    }

    fn trace_element(&mut self, index: usize) {
        if E::TRACED {
            // A String takes all that is written.
            let _ = write!(self.path, "[{index}]");
        }
    }

    /// Back to where the path had this length.
    fn retrace(&mut self, length: usize) {
        if E::TRACED {
            self.path.truncate(length);
        }
    }

    /// Out of it again; what the type hasn't taken is too much.
    fn leave(&mut self, closing: u8) -> Result<(), Fault> {
        self.depth -= 1;
        match self.peek()? {
            byte if byte == closing => self.at += 1,
            b',' => return Err(Fault::Shape),
            _ => return Err(Fault::Syntax),
        }
        Ok(())
    }
}

impl<'de, E: Failure> de::Deserializer<'de> for &mut Reader<'de, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        let in_metadata = std::mem::take(&mut self.metadata_next);
        match self.peek()? {
            b'"' => match self.text()? {
                Text::Plain(text) => visitor.visit_borrowed_str(text),
                Text::Resolved(text) => visitor.visit_str(text),
            },
            b'{' => {
                let members = Members::enter(self, in_metadata)?;
                members.visit(visitor)
            }
            b'[' => {
                let count = elements(&self.bytes()[self.at..]);
                self.enter()?;
                let value = visitor.visit_seq(Elements::new(self, count))?;
                self.leave(b']')?;
                Ok(value)
            }
            b't' => {
                self.literal("true")?;
                visitor.visit_bool(true)
            }
            b'f' => {
                self.literal("false")?;
                visitor.visit_bool(false)
            }
            b'n' => {
                self.literal("null")?;
                visitor.visit_unit()
            }
            _ => self.number()?.visit(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        if self.peek()? == b'n' {
            self.literal("null")?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    /// A unit variant is a text, any other an object with the variant as its one member.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        match self.peek()? {
            b'"' => match self.text()? {
                Text::Plain(text) => visitor.visit_enum(text.into_deserializer()),
                Text::Resolved(text) => visitor.visit_enum(text.into_deserializer()),
            },
            b'{' => {
                let way = self.path.len();
                self.enter()?;
                let value = visitor.visit_enum(access::Variant(self))?;
                self.retrace(way);
                self.leave(b'}')?;
                Ok(value)
            }
            // No enum: the visitor says so.
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.metadata_next = false;
        self.skip()?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

#[cfg(test)]
#[path = "json/tests.rs"]
mod tests;
