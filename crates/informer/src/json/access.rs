//! The inside of arrays, objects and enums, one element at a time.
//!
//! In: a reader behind the opening bracket. Out: what serde asks for. It leaves `metadata.managedFields` out where they
//! aren't wanted, as if they weren't there.

use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::number;
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
                    seed.deserialize(Key::new(Text::Plain(key)))
                }
                key @ Text::Resolved(_) => seed.deserialize(Key::new(key)),
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

/// A key: a text, or what is written in it where the type wants a number or a boolean.
struct Key<'de, 'a, E> {
    text: Text<'de, 'a>,
    failure: PhantomData<fn() -> E>,
}

impl<'de, 'a, E> Key<'de, 'a, E> {
    fn new(text: Text<'de, 'a>) -> Self {
        Self { text, failure: PhantomData }
    }

    fn as_str(&self) -> &str {
        match self.text {
            Text::Plain(text) | Text::Resolved(text) => text,
        }
    }
}

/// These are read as numbers.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
            match number::read(self.as_str(), 0) {
                Ok((number, end)) if end == self.as_str().len() => number.visit(visitor),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de, E: Failure> de::Deserializer<'de> for Key<'de, '_, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self.text {
            Text::Plain(text) => visitor.visit_borrowed_str(text),
            Text::Resolved(text) => visitor.visit_str(text),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_enum(self.as_str().into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// An enum's variant and what it holds, as the one member of an object.
pub(super) struct Variant<'a, 'de, E>(pub(super) &'a mut Reader<'de, E>);

impl<'de, E: Failure> de::EnumAccess<'de> for Variant<'_, 'de, E> {
    type Error = E;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), E> {
        self.0.peek()?;
        let start = self.0.at;
        let variant = match self.0.text()? {
            Text::Plain(name) => seed.deserialize(BorrowedStrDeserializer::<E>::new(name))?,
            Text::Resolved(name) => seed.deserialize(StrDeserializer::<E>::new(name))?,
        };
        self.0.trace_member(start);
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
