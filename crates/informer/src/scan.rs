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
    /// Bytes of the pieces before this one.
    before: usize,
    /// How many arrays and objects are directly in the value, and where the last of them stands.
    inner: (usize, Range<usize>),
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
            Kind::Unknown | Kind::Scalar => {
                Ok(bytes.iter().position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')))
            }
        }
    }

    /// Where the one array or object directly in this value stands, if it has exactly one. To be asked at the value's end.
    pub(crate) fn only_inner(&self) -> Option<Range<usize>> {
        let (count, place) = &self.inner;
        (*count == 1).then(|| place.clone())
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

    /// To behind the bracket that closes the first one. Most blocks close so much less than is open that their brackets need
    /// only be counted.
    fn nested(&mut self, bytes: &[u8]) -> Result<Option<usize>, ScanError> {
        let mut at = 0;
        while at < bytes.len() {
            let (block, length) = Block::of(&bytes[at..]);
            let outside = self.outside(&block, length);
            let (opens, closes) = (block.opens() & outside, block.closes() & outside);
            let (up, down) = (opens.count_ones(), closes.count_ones());
            if down + 1 < self.depth && self.depth + up <= MAX_DEPTH {
                self.depth = self.depth + up - down;
            } else if let Some(end) = self.bracket_by_bracket(opens, closes, at)? {
                return Ok(Some(end));
            }
            at += length;
        }
        self.before += bytes.len();
        Ok(None)
    }

    /// Which bytes of a block are in no string.
    fn outside(&mut self, block: &Block, length: usize) -> u64 {
        let escaped = self.escaped(block.backslashes(), length);
        !self.inside(block.quotes() & !escaped)
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

    /// The same for a block that begins at `start`; returns where the value ends in the piece.
    fn bracket_by_bracket(&mut self, opens: u64, closes: u64, start: usize) -> Result<Option<usize>, ScanError> {
        let mut left = opens | closes;
        while left != 0 {
            let place = left.trailing_zeros();
            let end = start + place as usize + 1;
            left &= left - 1;
            if opens >> place & 1 == 1 {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(ScanError::TooDeep);
                }
                if self.depth == 2 {
                    self.inner.1.start = self.before + end - 1;
                }
                continue;
            }
            self.depth -= 1;
            match self.depth {
                0 => return Ok(Some(end)),
                1 => self.inner = (self.inner.0 + 1, self.inner.1.start..self.before + end),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// 64 bytes. What is where in them is said in a bit a byte, the first is the lowest.
struct Block(u8x64);

impl Block {
    /// The next 64 bytes, or as many as there are and spaces.
    fn of(bytes: &[u8]) -> (Self, usize) {
        if let Some(block) = bytes.first_chunk::<64>() {
            return (Self(u8x64::from(*block)), 64);
        }
        let mut block = [b' '; 64];
        block[..bytes.len()].copy_from_slice(bytes);
        (Self(u8x64::from(block)), bytes.len())
    }

    fn quotes(&self) -> u64 {
        places(self.0, b'"')
    }

    fn backslashes(&self) -> u64 {
        places(self.0, b'\\')
    }

    fn commas(&self) -> u64 {
        places(self.0, b',')
    }

    fn opens(&self) -> u64 {
        places(self.folded(), b'{')
    }

    fn closes(&self) -> u64 {
        places(self.folded(), b'}')
    }

    /// Braces and brackets differ in this bit alone, and nothing else is like them but for it.
    fn folded(&self) -> u8x64 {
        self.0 | u8x64::splat(b'{' ^ b'[')
    }
}

fn places(bytes: u8x64, byte: u8) -> u64 {
    bytes.simd_eq(u8x64::splat(byte)).to_bitmask()
}

/// How many elements the array has that `bytes` begin with; of what isn't well formed, about so many.
pub(crate) fn elements(bytes: &[u8]) -> usize {
    if bytes.get(skip_whitespace(bytes, 1)) == Some(&b']') {
        return 0;
    }
    let (mut scan, mut at, mut depth, mut count) = (ValueScan::default(), 0, 0_u32, 1);
    while at < bytes.len() {
        let (block, length) = Block::of(&bytes[at..]);
        let outside = scan.outside(&block, length);
        let (opens, commas) = (block.opens() & outside, block.commas() & outside);
        let mut left = opens | commas | (block.closes() & outside);
        while left != 0 {
            let place = left & left.wrapping_neg();
            left ^= place;
            if opens & place != 0 {
                depth += 1;
            } else if commas & place != 0 {
                count += usize::from(depth == 1);
            } else if depth <= 1 {
                return count;
            } else {
                depth -= 1;
            }
        }
        at += length;
    }
    count
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
    members_at(bytes, 0)
}

/// Iterates over the members of the object that is the value of the member `key`, without a look at what is behind it.
pub(crate) fn members_of<'a>(bytes: &'a [u8], key: &str) -> Option<Members<'a>> {
    let mut outer = members(bytes);
    loop {
        let (found, value) = outer.head()?;
        if bytes[found.start + 1..found.end - 1] == *key.as_bytes() {
            return Some(members_at(bytes, value));
        }
        outer.at = value_end(bytes, value)?;
    }
}

/// The value of the member `key`, if the object has it.
pub(crate) fn member<'a>(bytes: &'a [u8], key: &str) -> Option<&'a [u8]> {
    members(bytes).find(|member| member.key == key.as_bytes()).map(|member| &bytes[member.value])
}

/// Iterates over the members that are left of an object, from where [`Members::at`] said.
pub(crate) fn members_from(bytes: &[u8], at: usize) -> Members<'_> {
    Members { bytes, at }
}

fn members_at(bytes: &[u8], at: usize) -> Members<'_> {
    let start = skip_whitespace(bytes, at);
    let at = if bytes.get(start) == Some(&b'{') { start + 1 } else { bytes.len() };
    Members { bytes, at }
}

impl Members<'_> {
    /// The next key, with its quotes, and where its value begins. Whoever asks says with [`Members::go_on_at`] where it ends.
    pub(crate) fn head(&mut self) -> Option<(Range<usize>, usize)> {
        let bytes = self.bytes;
        let mut start = skip_whitespace(bytes, self.at);
        if bytes.get(start) == Some(&b',') {
            start = skip_whitespace(bytes, start + 1);
        }
        self.at = bytes.len();
        if bytes.get(start) != Some(&b'"') {
            return None;
        }
        let end = value_end(bytes, start)?;
        let colon = skip_whitespace(bytes, end);
        let value = skip_whitespace(bytes, colon + 1);
        (bytes.get(colon) == Some(&b':') && value < bytes.len()).then_some((start..end, value))
    }

    /// Where the iteration stands: behind a value.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn go_on_at(&mut self, end: usize) {
        self.at = end;
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let (key, value) = self.head()?;
        self.at = value_end(self.bytes, value)?;
        Some(Member { key: &self.bytes[key.start + 1..key.end - 1], start: key.start, value: value..self.at })
    }
}

/// Where the value ends that begins at `start` and is complete.
pub(crate) fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut scan = ValueScan::default();
    match scan.advance(bytes.get(start..)?).ok()? {
        Some(end) => Some(start + end),
        // Nothing tells that a number is over but what follows it.
        None => (scan.kind == Kind::Scalar).then_some(bytes.len()),
    }
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

    /// Goal: the end is the same wherever the pieces are cut, escapes included, and so is that of the one inner value.
    #[test]
    fn any_cut() {
        let text = br#"{"a":"\\\"}","b":[1,{"c":"\u0022"}]},"#;
        for cut in 0..text.len() {
            let mut scan = ValueScan::default();
            let first = scan.advance(&text[..cut]).unwrap();
            let end = first.or_else(|| scan.advance(&text[cut..]).unwrap().map(|n| n + cut));
            assert_eq!(end, Some(text.len() - 1), "cut at {cut}");
            assert_eq!(scan.only_inner(), Some(17..text.len() - 2), "cut at {cut}");
        }
    }

    /// Goal: where there are none or several inner values, none is the only one.
    #[test]
    fn only_one_is_the_only_one() {
        for (text, place) in
            [("{}", None), ("[1,{}]", Some(3..5)), ("[{},{}]", None), (r#"{"a":[[]]  ,"b":"]"}"#, Some(5..9))]
        {
            let mut scan = ValueScan::default();
            scan.advance(text.as_bytes()).unwrap();
            assert_eq!(scan.only_inner(), place, "{text}");
        }
        let many = format!("[{}]", "[1],".repeat(100) + "[2]");
        let mut scan = ValueScan::default();
        scan.advance(many.as_bytes()).unwrap();
        assert_eq!(scan.inner.0, 101);
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
