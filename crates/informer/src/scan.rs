//! Where a JSON value ends, and where the members of an object stand.
//!
//! In: bytes, in pieces of any size. Out: positions. It keeps a depth, never a tree: nothing here recurses, allocates
//! or copies, and whether a value is well formed inside is left to the decoder.

use std::ops::Range;

/// Deepest nesting that is followed at all, as upstream's decoder has it.
pub(crate) const MAX_DEPTH: u32 = 10_000;

/// Levels whose brackets are matched by kind; deeper ones are only counted (the decoder refuses them anyway).
const MATCHED_DEPTH: u32 = 128;

/// Why a value's end can't be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanError {
    /// A bracket closes what another kind opened, or a value begins with what none can begin with.
    NotJson,
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Finds the end of one value across pieces.
#[derive(Debug, Default, Clone)]
pub(crate) struct ValueScan {
    /// Bit n: the bracket at depth n is a brace.
    braces: u128,
    depth: u32,
    in_string: bool,
    escaped: bool,
    in_scalar: bool,
}

impl ValueScan {
    /// Reads on; `Some(n)`: the value ends before byte `n` of this piece, `None`: it takes more. The first piece
    /// starts at the first byte of the value.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ScanError> {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string {
                match self.skip_string(bytes, at) {
                    Some(end) => at = end,
                    None => return Ok(None),
                }
                if self.depth == 0 {
                    return Ok(Some(at));
                }
                continue;
            }
            if self.in_scalar {
                if matches!(bytes[at], b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n') {
                    return Ok(Some(at));
                }
                at += 1;
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                b'{' => self.open(true)?,
                b'[' => self.open(false)?,
                b'}' => self.close(true)?,
                b']' => self.close(false)?,
                b'-' | b'0'..=b'9' | b't' | b'f' | b'n' if self.depth == 0 => self.in_scalar = true,
                _ if self.depth == 0 => return Err(ScanError::NotJson),
                _ => {}
            }
            at += 1;
            if self.depth == 0 && !self.in_string && !self.in_scalar {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// From inside a string to behind its closing quote.
    fn skip_string(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        if self.escaped {
            self.escaped = false;
            at += 1;
        }
        while at < bytes.len() {
            let found = at + memchr::memchr2(b'"', b'\\', &bytes[at..])?;
            if bytes[found] == b'"' {
                self.in_string = false;
                return Some(found + 1);
            }
            at = found + 2;
        }
        self.escaped = at > bytes.len();
        None
    }

    fn open(&mut self, brace: bool) -> Result<(), ScanError> {
        if self.depth >= MAX_DEPTH {
            return Err(ScanError::TooDeep);
        }
        if self.depth < MATCHED_DEPTH {
            let bit = 1u128 << self.depth;
            self.braces = if brace { self.braces | bit } else { self.braces & !bit };
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, brace: bool) -> Result<(), ScanError> {
        let depth = self.depth.checked_sub(1).ok_or(ScanError::NotJson)?;
        if depth < MATCHED_DEPTH && (self.braces >> depth & 1 == 1) != brace {
            return Err(ScanError::NotJson);
        }
        self.depth = depth;
        Ok(())
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

    /// Goal: what closes must have opened; endless nesting is refused, not followed.
    #[test]
    fn broken_nesting_is_found() {
        assert_eq!(ValueScan::default().advance(b"{\"a\":[}"), Err(ScanError::NotJson));
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
