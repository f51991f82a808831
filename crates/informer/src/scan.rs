//! Where a JSON value ends, and where the members of an object stand.
//!
//! In: bytes, in pieces of any size. Out: positions. It counts brackets outside of strings, 64 bytes at a time, and never
//! builds a tree: nothing here recurses, allocates or copies. Whether a value is well formed inside, even whether a bracket
//! is closed by its own kind, is left to the decoder.

use std::ops::Range;

use wide::u8x64;

/// Deepest nesting that is followed at all, as upstream's decoder has it.
pub(crate) const MAX_DEPTH: u32 = 10_000;

/// Why a value's end can't be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanError {
    /// A value begins with what none can begin with.
    NotJson,
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Finds the end of one value across pieces.
#[derive(Debug, Default, Clone)]
pub(crate) struct ValueScan {
    kind: Kind,
    /// Brackets that are open.
    depth: u32,
    in_string: bool,
    /// The next byte is escaped.
    escaped: bool,
}

/// What the value's first byte says that it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Unknown,
    /// An object or an array.
    Nested,
    Text,
    /// A number, a truth value or null.
    Scalar,
}

impl ValueScan {
    /// Reads on; `Some(n)`: the value ends before byte `n` of this piece, `None`: it takes more. The first piece
    /// starts at the first byte of the value.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ScanError> {
        let mut at = 0;
        if self.kind == Kind::Unknown {
            self.kind = match bytes.first() {
                None => return Ok(None),
                Some(b'{' | b'[') => Kind::Nested,
                Some(b'"') => Kind::Text,
                Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Kind::Scalar,
                Some(_) => return Err(ScanError::NotJson),
            };
            at = usize::from(self.kind == Kind::Text);
        }
        match self.kind {
            Kind::Nested => self.nested(bytes),
            Kind::Text => Ok(self.text(bytes, at)),
            Kind::Unknown | Kind::Scalar => Ok(bytes.iter().position(|byte| {
                matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')
            })),
        }
    }

    /// From inside a string to behind its closing quote.
    fn text(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        at += usize::from(std::mem::take(&mut self.escaped));
        while at < bytes.len() {
            let found = at + memchr::memchr2(b'"', b'\\', &bytes[at..])?;
            if bytes[found] == b'"' {
                return Some(found + 1);
            }
            at = found + 2;
        }
        self.escaped = at > bytes.len();
        None
    }

    /// To behind the bracket that closes the first one. Most blocks close fewer brackets than are open: they can only be
    /// counted.
    fn nested(&mut self, bytes: &[u8]) -> Result<Option<usize>, ScanError> {
        let mut at = 0;
        while at < bytes.len() {
            let (marks, length) = Marks::of(&bytes[at..]);
            let escaped = self.escaped(marks.backslashes, length);
            let inside = self.inside(marks.quotes & !escaped);
            let (opens, closes) = (marks.opens & !inside, marks.closes & !inside);
            let (up, down) = (opens.count_ones(), closes.count_ones());
            if down < self.depth && self.depth + up <= MAX_DEPTH {
                self.depth = self.depth + up - down;
            } else if let Some(end) = self.bracket_by_bracket(opens, closes)? {
                return Ok(Some(at + end));
            }
            at += length;
        }
        Ok(None)
    }

    /// Which bytes of a block are escaped: those behind a backslash that isn't escaped itself.
    fn escaped(&mut self, backslashes: u64, length: usize) -> u64 {
        let mut escaped = u64::from(std::mem::take(&mut self.escaped));
        let mut left = backslashes & !escaped;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            self.escaped = at + 1 == length;
            let pair = 0b11 << at;
            escaped |= pair & !(1 << at);
            left &= !pair;
        }
        escaped
    }

    /// Which bytes of a block are in a string, opening quotes included and closing ones not.
    fn inside(&mut self, quotes: u64) -> u64 {
        let mut inside = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        if self.in_string {
            inside = !inside;
        }
        self.in_string = inside >> 63 == 1;
        inside
    }

    fn bracket_by_bracket(&mut self, opens: u64, closes: u64) -> Result<Option<usize>, ScanError> {
        let mut left = opens | closes;
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            if opens >> at & 1 == 1 {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(ScanError::TooDeep);
                }
            } else {
                self.depth -= 1;
                if self.depth == 0 {
                    return Ok(Some(at as usize + 1));
                }
            }
        }
        Ok(None)
    }
}

/// What is where in 64 bytes: a bit a byte, the first is the lowest.
struct Marks {
    quotes: u64,
    backslashes: u64,
    opens: u64,
    closes: u64,
}

impl Marks {
    /// Of the next 64 bytes, or as many as there are.
    fn of(bytes: &[u8]) -> (Self, usize) {
        if let Some(block) = bytes.first_chunk::<64>() {
            return (Self::of_block(*block), 64);
        }
        let mut block = [b' '; 64];
        block[..bytes.len()].copy_from_slice(bytes);
        (Self::of_block(block), bytes.len())
    }

    fn of_block(block: [u8; 64]) -> Self {
        let bytes = u8x64::from(block);
        let places = |of: u8x64, byte| of.simd_eq(u8x64::splat(byte)).to_bitmask();
        // Braces and brackets differ in this bit alone, and nothing else is like them but for it.
        let folded = bytes | u8x64::splat(b'{' ^ b'[');
        Self {
            quotes: places(bytes, b'"'),
            backslashes: places(bytes, b'\\'),
            opens: places(folded, b'{'),
            closes: places(folded, b'}'),
        }
    }
}

/// One `"key": value` of an object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// The key between its quotes, escapes as they stand (Kubernetes writes none in the keys that matter here).
    pub(crate) key: &'a [u8],
    /// Where the member begins: its key's opening quote.
    pub(crate) start: usize,
    /// Where the value stands in the object's bytes.
    pub(crate) value: Range<usize>,
}

/// The members of a complete object, first level only; ends early where the text is not an object.
pub(crate) struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Iterates over the members of the object that `bytes` holds.
pub(crate) fn members(bytes: &[u8]) -> Members<'_> {
    let start = skip_whitespace(bytes, 0);
    let at = if bytes.get(start) == Some(&b'{') { start + 1 } else { bytes.len() };
    Members { bytes, at }
}

/// The value of the member `key`, if the object has it.
pub(crate) fn member<'a>(bytes: &'a [u8], key: &str) -> Option<&'a [u8]> {
    members(bytes).find(|member| member.key == key.as_bytes()).map(|member| &bytes[member.value])
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let bytes = self.bytes;
        let mut start = skip_whitespace(bytes, self.at);
        if bytes.get(start) == Some(&b',') {
            start = skip_whitespace(bytes, start + 1);
        }
        self.at = bytes.len();
        if bytes.get(start) != Some(&b'"') {
            return None;
        }
        let key_end = value_end(bytes, start)?;
        let colon = skip_whitespace(bytes, key_end);
        if bytes.get(colon) != Some(&b':') {
            return None;
        }
        let value = skip_whitespace(bytes, colon + 1);
        let end = value_end(bytes, value)?;
        self.at = end;
        Some(Member { key: &bytes[start + 1..key_end - 1], start, value: value..end })
    }
}

fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    let end = ValueScan::default().advance(bytes.get(start..)?).ok()??;
    Some(start + end)
}

/// The first position at or after `at` that isn't whitespace.
pub(crate) fn skip_whitespace(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: brackets and quotes inside strings count for nothing, escaped quotes end nothing.
    #[test]
    fn strings_hide_structure() {
        let text = br#"{"a":"}]\"{","b":["\\"]} tail"#;
        let mut scan = ValueScan::default();
        assert_eq!(scan.advance(text), Ok(Some(text.len() - 5)));
    }

    /// Goal: the end is the same wherever the pieces are cut, escapes included.
    #[test]
    fn any_cut() {
        let text = br#"{"a":"\\\"}","b":[1,{"c":"\u0022"}]},"#;
        for cut in 0..text.len() {
            let mut scan = ValueScan::default();
            let first = scan.advance(&text[..cut]).unwrap();
            let end = first.or_else(|| scan.advance(&text[cut..]).unwrap().map(|n| n + cut));
            assert_eq!(end, Some(text.len() - 1), "cut at {cut}");
        }
    }

    /// Goal: what is no value is refused, and so is endless nesting.
    #[test]
    fn what_is_no_value_is_refused() {
        assert_eq!(ValueScan::default().advance(b"]"), Err(ScanError::NotJson));
        assert_eq!(ValueScan::default().advance(b"garbage"), Err(ScanError::NotJson));
        assert_eq!(ValueScan::default().advance(&vec![b'['; 20_000]), Err(ScanError::TooDeep));
    }

    /// Goal: members of the first level only, with their places.
    #[test]
    fn first_level_members() {
        let text = br#" { "a" : {"b":1} , "b":[2], "c":null }"#;
        let found: Vec<_> = members(text).map(|m| (m.key, &text[m.value])).collect();
        assert_eq!(found, [(&b"a"[..], &b"{\"b\":1}"[..]), (b"b", b"[2]"), (b"c", b"null")]);
        assert_eq!(member(text, "b"), Some(&b"[2]"[..]));
        assert_eq!(members(b"[1]").count(), 0);
    }
}
