//! The inside of arrays, objects and enums, one element at a time.
//!
//! In: a reader behind the opening bracket. Out: what serde asks for. It leaves `metadata.managedFields` out where they
//! aren't wanted, as if they weren't there.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Visitor};

use super::{Failure, Fault, ManagedFields, Reader, Text};

pub(super) struct Elements<'a, 'de, E> {
    reader: &'a mut Reader<'de, E>,
    /// How many are left.
    left: usize,
    /// Of the next one.
    index: usize,
}

impl<'a, 'de, E> Elements<'a, 'de, E> {
    pub(super) fn new(reader: &'a mut Reader<'de, E>, count: usize) -> Self {
        Self { reader, left: count, index: 0 }
    }
}

impl<'de, E: Failure> de::SeqAccess<'de> for Elements<'_, 'de, E> {
    type Error = E;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, E> {
        if self.reader.peek()? == b']' {
            return Ok(None);
        }
        if self.index > 0 {
            self.reader.expect(b',')?;
        }
        let way = self.reader.path.len();
        self.reader.trace_element(self.index);
        self.index += 1;
        self.left = self.left.saturating_sub(1);
        let element = seed.deserialize(&mut *self.reader)?;
        self.reader.retrace(way);
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The members of an object.
pub(super) struct Members<'a, 'de, E> {
    reader: &'a mut Reader<'de, E>,
    place: Place,
    first: bool,
    /// How long the path to it is.
    way: usize,
}

/// Which object this is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outermost,
    Metadata,
    Inside,
}

impl<'a, 'de, E: Failure> Members<'a, 'de, E> {
    pub(super) fn enter(reader: &'a mut Reader<'de, E>, in_metadata: bool) -> Result<Self, Fault> {
        let place = match reader.depth {
            _ if matches!(reader.managed_fields, ManagedFields::Kept) => Place::Inside,
            0 => Place::Outermost,
            _ if in_metadata => Place::Metadata,
            _ => Place::Inside,
        };
        reader.enter()?;
        let way = reader.path.len();
        Ok(Self { reader, place, first: true, way })
    }

    pub(super) fn visit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, E> {
        let value = visitor.visit_map(&mut self)?;
        self.reader.leave(b'}')?;
        Ok(value)
    }

    /// To the next key; `false`: there is none.
    fn advance(&mut self) -> Result<bool, Fault> {
        if self.reader.peek()? == b'}' {
            return Ok(false);
        }
        if !std::mem::take(&mut self.first) {
            self.reader.expect(b',')?;
        }
        Ok(true)
    }
}

impl<'de, E: Failure> de::MapAccess<'de> for &mut Members<'_, 'de, E> {
    type Error = E;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, E> {
        while self.advance()? {
            self.reader.peek()?;
            let start = self.reader.at;
            let key = match self.reader.text()? {
                Text::Plain("managedFields") if self.place == Place::Metadata => {
                    self.reader.skip_managed_fields(start)?;
                    continue;
                }
                Text::Plain(key) => {
                    self.reader.metadata_next = self.place == Place::Outermost && key == "metadata";
                    seed.deserialize(BorrowedStrDeserializer::new(key))
                }
                Text::Resolved(key) => seed.deserialize(StrDeserializer::new(key)),
            };
            self.reader.trace_member(start);
            return key.map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, E> {
        self.reader.expect(b':')?;
        let value = seed.deserialize(&mut *self.reader)?;
        self.reader.retrace(self.way);
        Ok(value)
    }
}

/// An enum's variant and what it holds, as the one member of an object.
pub(super) struct Variant<'a, 'de, E>(pub(super) &'a mut Reader<'de, E>);

impl<'de, E: Failure> de::EnumAccess<'de> for Variant<'_, 'de, E> {
    type Error = E;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), E> {
        let variant = match self.0.text()? {
            Text::Plain(name) => seed.deserialize(BorrowedStrDeserializer::new(name))?,
            Text::Resolved(name) => seed.deserialize(StrDeserializer::new(name))?,
        };
        self.0.expect(b':')?;
        Ok((variant, self))
    }
}

impl<'de, E: Failure> de::VariantAccess<'de> for Variant<'_, 'de, E> {
    type Error = E;

    fn unit_variant(self) -> Result<(), E> {
        de::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, E> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, E> {
        de::Deserializer::deserialize_any(self.0, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, E> {
        de::Deserializer::deserialize_any(self.0, visitor)
    }
}
