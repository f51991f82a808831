//! Numbers, by JSON's grammar: no plus, no leading zero, digits on both sides of a point.
//!
//! In: the position of the first character. Out: a number as narrow as it can be, and where it ends. Integers beyond 64 bits
//! become real numbers; what is beyond those is refused.

use serde::de;

use super::Fault;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Natural(u64),
    Negative(i64),
    Real(f64),
}

impl Number {
    pub(super) fn visit<'de, V: de::Visitor<'de>, E: de::Error>(self, visitor: V) -> Result<V::Value, E> {
        match self {
            Self::Natural(number) => visitor.visit_u64(number),
            Self::Negative(number) => visitor.visit_i64(number),
            Self::Real(number) => visitor.visit_f64(number),
        }
    }
}

pub(super) fn read(text: &str, start: usize) -> Result<(Number, usize), Fault> {
    let bytes = text.as_bytes();
    let negative = bytes.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let whole = digits(bytes, first)?;
    if bytes[first] == b'0' && whole - first > 1 {
        return Err(Fault::Syntax);
    }
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') {
        end = digits(bytes, end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(bytes, end + 1 + usize::from(signed))?;
    }
    let integer = if end == whole { integer(&bytes[first..whole], negative) } else { None };
    match integer {
        Some(number) => Ok((number, end)),
        None => {
            let real: f64 = text[start..end].parse().map_err(|_| Fault::Syntax)?;
            if real.is_finite() { Ok((Number::Real(real), end)) } else { Err(Fault::Syntax) }
        }
    }
}

/// The end of at least one digit.
fn digits(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let rest = bytes.get(start..).unwrap_or_default();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { Err(Fault::Syntax) } else { Ok(start + count) }
}

/// None: it needs more than 64 bits; or it is minus zero, which no integer is.
fn integer(digits: &[u8], negative: bool) -> Option<Number> {
    let natural =
        digits.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    match negative {
        false => Some(Number::Natural(natural)),
        true if natural == 0 => None,
        true => 0_i64.checked_sub_unsigned(natural).map(Number::Negative),
    }
}
