//! The inside of arrays, objects and enums, one element at a time.
//!
//! In: a reader behind the opening bracket. Out: what serde asks for. It leaves `metadata.managedFields` out where they
//! aren't wanted, as if they weren't there.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Visitor};

use super::{ManagedFields, Reader, Text};
use crate::decode::DecodeFault;

pub(super) struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// How many are left.
    left: usize,
    first: bool,
}

impl<'a, 'de> Elements<'a, 'de> {
    pub(super) fn new(reader: &'a mut Reader<'de>, count: usize) -> Self {
        Self { reader, left: count, first: true }
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeFault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeFault> {
        if self.reader.peek()? == b']' {
            return Ok(None);
        }
        if !std::mem::take(&mut self.first) {
            self.reader.expect(b',')?;
        }
        self.left = self.left.saturating_sub(1);
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The members of an object.
pub(super) struct Members<'a, 'de> {
    reader: &'a mut Reader<'de>,
    place: Place,
    first: bool,
}

/// Which object this is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outermost,
    Metadata,
    Inside,
}

impl<'a, 'de> Members<'a, 'de> {
    pub(super) fn enter(reader: &'a mut Reader<'de>, in_metadata: bool) -> Result<Self, DecodeFault> {
        let place = match reader.depth {
            _ if matches!(reader.managed_fields, ManagedFields::Kept) => Place::Inside,
            0 => Place::Outermost,
            _ if in_metadata => Place::Metadata,
            _ => Place::Inside,
        };
        reader.enter()?;
        Ok(Self { reader, place, first: true })
    }

    pub(super) fn visit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeFault> {
        let value = visitor.visit_map(&mut self)?;
        self.reader.leave(b'}')?;
        Ok(value)
    }

    /// To the next key; `false`: there is none.
    fn advance(&mut self) -> Result<bool, DecodeFault> {
        if self.reader.peek()? == b'}' {
            return Ok(false);
        }
        if !std::mem::take(&mut self.first) {
            self.reader.expect(b',')?;
        }
        Ok(true)
    }
}

impl<'de> de::MapAccess<'de> for &mut Members<'_, 'de> {
    type Error = DecodeFault;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeFault> {
        while self.advance()? {
            self.reader.peek()?;
            let start = self.reader.at;
            match self.reader.text()? {
                Text::Resolved(key) => return seed.deserialize(StrDeserializer::new(key)).map(Some),
                Text::Plain("managedFields") if self.place == Place::Metadata => {
                    self.reader.skip_managed_fields(start)?;
                }
                Text::Plain(key) => {
                    self.reader.metadata_next = self.place == Place::Outermost && key == "metadata";
                    return seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeFault> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// An enum's variant and what it holds, as the one member of an object.
pub(super) struct Variant<'a, 'de>(pub(super) &'a mut Reader<'de>);

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeFault;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), DecodeFault> {
        let variant = match self.0.text()? {
            Text::Plain(name) => seed.deserialize(BorrowedStrDeserializer::new(name))?,
            Text::Resolved(name) => seed.deserialize(StrDeserializer::new(name))?,
        };
        self.0.expect(b':')?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeFault;

    fn unit_variant(self) -> Result<(), DecodeFault> {
        de::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeFault> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeFault> {
        de::Deserializer::deserialize_any(self.0, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, DecodeFault> {
        de::Deserializer::deserialize_any(self.0, visitor)
    }
}
