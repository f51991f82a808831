//! Texts: where they end, and what their escapes mean.
//!
//! In: the position behind an opening quote. Out: the position of the first byte that isn't plain text; or the text with its
//! escapes resolved.

use wide::u8x16;

use super::Fault;

/// Where plain text stops: at the closing quote, or at the first backslash.
pub(super) fn stop(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let block = u8x16::from(*block);
        // The largest control character, or the smaller of both: control characters are those that this leaves as they are.
        let control = block.min(u8x16::splat(0x1f)).simd_eq(block);
        let special = block.simd_eq(u8x16::splat(b'"')) | block.simd_eq(u8x16::splat(b'\\')) | control;
        let places = special.to_bitmask();
        if places != 0 {
            return found(bytes, at + places.trailing_zeros() as usize);
        }
        at += 16;
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    let length = bytes.get(at..).and_then(|rest| rest.iter().position(special)).ok_or(Fault::Syntax)?;
    found(bytes, at + length)
}

/// Control characters must be escaped.
fn found(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    if bytes[at] < 0x20 { Err(Fault::Syntax) } else { Ok(at) }
}

/// The text that begins at `at`, escapes resolved, in `resolved`; returns where the text is over, behind its closing quote.
pub(super) fn resolve(text: &str, mut at: usize, resolved: &mut String) -> Result<usize, Fault> {
    let bytes = text.as_bytes();
    resolved.clear();
    loop {
        let stop = stop(bytes, at)?;
        resolved.push_str(&text[at..stop]);
        if bytes[stop] == b'"' {
            return Ok(stop + 1);
        }
        let (character, end) = escape(bytes, stop + 1)?;
        resolved.push(character);
        at = end;
    }
}

/// The character that an escape stands for, and where it ends; `at` is behind the backslash.
fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let character = match bytes.get(at).ok_or(Fault::Syntax)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(bytes, at + 1),
        _ => return Err(Fault::Syntax),
    };
    Ok((character, at + 1))
}

/// Four hexadecimal digits, or twice that for a character beyond the first plane. Half of such a pair is no character.
fn unicode(bytes: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let first = hex(bytes, at)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Ok((char::from_u32(first).ok_or(Fault::Syntax)?, at + 4));
    }
    if bytes.get(at + 4..at + 6) != Some(br"\u") {
        return Err(Fault::Syntax);
    }
    let second = hex(bytes, at + 6)?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err(Fault::Syntax);
    }
    let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Ok((char::from_u32(code).ok_or(Fault::Syntax)?, at + 10))
}

fn hex(bytes: &[u8], at: usize) -> Result<u32, Fault> {
    let digits = bytes.get(at..at + 4).ok_or(Fault::Syntax)?;
    let digit = |sum: u32, byte: &u8| Some(sum * 16 + char::from(*byte).to_digit(16)?);
    digits.iter().try_fold(0, digit).ok_or(Fault::Syntax)
}
