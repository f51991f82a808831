//! What chance makes of a request: bytes changed, texts nested, values replaced.

use serde_json::{Map, Value, json};

use super::{Ending, Fuzz, MEDIA, NAMES, Raw};

const METHODS: &[&str] = &["OPTIONS", "HEAD", "CONNECT", "TRACE", "BREW", "get", "POST", "PUT", "DELETE", "PATCH"];
const NUMBERS: &[&str] = &["0", "-0", "-1", "1e400", "-1e308", "9223372036854775808", "1.5", "1E-999", "00", "+1"];

impl Fuzz {
    /// What chance makes of a request.
    pub(crate) fn mutate(&mut self, raw: &mut Raw) {
        match self.random.u32(..14) {
            0 => raw.method = self.pick(METHODS).into(),
            1 => self.bytes(&mut raw.path),
            2 => self.bytes(&mut raw.query),
            3 => {
                let name = self.pick(&["accept", "content-type", "x", "content-length", "authorization"]);
                let mut value = self.pick(MEDIA).as_bytes().to_vec();
                self.bytes(&mut value);
                raw.headers.push((name.into(), value));
            }
            4 => raw.headers[0].1 = self.pick(MEDIA).into(),
            5 | 6 => self.bytes(&mut raw.body),
            7 => raw.body = self.deep(),
            8 => {
                let times = self.random.usize(1..2000);
                raw.body = raw.body.repeat(times.min(400_000 / raw.body.len().max(1) + 1));
            }
            9 => raw.ending = [Ending::Silence, Ending::Broken, Ending::Endless][self.random.usize(..3)],
            10 => {
                let at = self.random.usize(..=raw.path.len());
                let piece =
                    self.pick(&["/", "//", "%2F", "%2f..%2f", "/..", "%00", "%", "%zz", "%ff", "/status", "+", ":"]);
                raw.path.splice(at..at, piece.bytes());
            }
            _ => {
                if let Ok(mut value) = serde_json::from_slice(&raw.body) {
                    self.node(&mut value);
                    raw.body = value.to_string().into_bytes();
                }
            }
        }
    }

    /// Changes some bytes.
    pub(super) fn bytes(&mut self, bytes: &mut Vec<u8>) {
        let at = self.random.usize(..=bytes.len());
        let end = self.random.usize(at..=bytes.len()).min(at + 40);
        match self.random.u32(..7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].repeat(self.random.usize(1..50));
                bytes.splice(at..at, piece);
            }
            3 => {
                let odd: [&[u8]; 6] =
                    [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\0", b"\\ud800", "\u{202e}\u{1f600}".as_bytes()];
                bytes.splice(at..at, odd[self.random.usize(..odd.len())].iter().copied());
            }
            4 => drop(bytes.splice(at..end, self.pick(NUMBERS).bytes())),
            _ if at < bytes.len() => bytes[at] ^= 1 << self.random.u32(..8),
            _ => bytes.push(self.random.u8(..)),
        }
    }

    /// Nested deeply, closed again or not.
    fn deep(&mut self) -> Vec<u8> {
        let levels = [10, 120, 126, 127, 128, 129, 1000, 20_000][self.random.usize(..8)];
        let (open, close) = if self.one_in(2) { ("[", "]") } else { ("{\"a\":", "}") };
        let close = if self.one_in(4) { "" } else { close };
        let (open, close) = (open.repeat(levels), close.repeat(levels));
        format!(r#"{{"metadata":{{"name":"a"}},"data":{open}1{close}}}"#).into_bytes()
    }

    /// Replaces one value somewhere in a document.
    fn node(&mut self, value: &mut Value) {
        let inner = match value {
            _ if self.one_in(4) => None,
            Value::Object(members) if !members.is_empty() => {
                let at = self.random.usize(..members.len());
                members.values_mut().nth(at)
            }
            Value::Array(items) if !items.is_empty() => {
                let at = self.random.usize(..items.len());
                items.get_mut(at)
            }
            _ => None,
        };
        match inner {
            Some(inner) => self.node(inner),
            None => *value = self.odd(),
        }
    }

    fn odd(&mut self) -> Value {
        match self.random.u32(..12) {
            0 => Value::Null,
            1 => json!([]),
            2 => json!({}),
            3 => json!([null, 1, "a", {}]),
            4 => json!(self.random.bool()),
            5 => json!(i64::MIN),
            6 => json!(u64::MAX),
            7 => json!(1e300),
            8 => json!("x".repeat(self.random.usize(..100_000))),
            9 => Value::Object(Map::from_iter([("\0\u{fffd}".to_owned(), json!("y"))])),
            10 => json!(self.value()),
            _ => json!(self.pick(NAMES)),
        }
    }
}
