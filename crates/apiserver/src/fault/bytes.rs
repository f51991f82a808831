//! Faults in the bytes of a body, whatever they mean.
//!
//! Comes in: pieces. Goes out: pieces, waits and breaks. Never looks for an event; of a list it knows where an item ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::action::Action;
use super::error::TransportError;
use super::event::Part;
use super::rule::Rule;

/// A thin line sends pieces this many times a second.
const PIECES_A_SECOND: u64 = 10;

/// One rule over one body.
pub(super) struct ByteStage {
    rule: Arc<Rule>,
    passed: u64,
    fired: bool,
    items: ItemScanner,
}

impl ByteStage {
    /// `None`: the action is no business of bytes.
    pub(super) fn new(rule: &Arc<Rule>) -> Option<Self> {
        let of_bytes = matches!(
            rule.action,
            Action::HangAfterHeaders
                | Action::Bandwidth { .. }
                | Action::Truncate { .. }
                | Action::SplitBytes
                | Action::PartialPage { .. }
        );
        of_bytes.then(|| Self { rule: rule.clone(), passed: 0, fired: false, items: ItemScanner::default() })
    }

    /// Before the first byte.
    pub(super) fn open(&mut self, out: &mut Vec<Part>) {
        match self.rule.action {
            Action::HangAfterHeaders => {
                self.fire(out);
                out.push(Part::Silence);
            }
            Action::Truncate { after_bytes: 0 } | Action::PartialPage { after_items: 0 } => self.cut(out),
            _ => {}
        }
    }

    pub(super) fn take(&mut self, part: Part, out: &mut Vec<Part>) {
        let Part::Data(piece) = part else {
            out.push(part);
            return;
        };
        match self.rule.action {
            // What was already under way behind the cut.
            Action::Truncate { .. } | Action::PartialPage { .. } if self.fired => {}
            Action::Truncate { after_bytes } => {
                let left = usize::try_from(after_bytes - self.passed).unwrap_or(usize::MAX);
                self.passed += piece.len() as u64;
                if piece.len() < left {
                    out.push(Part::Data(piece));
                } else {
                    out.push(Part::Data(piece.slice(..left)));
                    self.cut(out);
                }
            }
            Action::PartialPage { after_items } => match self.items.end_of(&piece, after_items) {
                None => out.push(Part::Data(piece)),
                Some(end) => {
                    out.push(Part::Data(piece.slice(..end)));
                    self.cut(out);
                }
            },
            Action::SplitBytes => {
                self.fire(out);
                out.extend((0..piece.len()).map(|at| Part::Data(piece.slice(at..=at))));
            }
            Action::Bandwidth { bytes_per_second } => {
                self.fire(out);
                thin(&piece, bytes_per_second, out);
            }
            _ => out.push(Part::Data(piece)),
        }
    }

    fn cut(&mut self, out: &mut Vec<Part>) {
        self.fire(out);
        out.push(Part::Break(TransportError::Truncated));
    }

    /// Once a body.
    fn fire(&mut self, out: &mut Vec<Part>) {
        if !std::mem::replace(&mut self.fired, true) {
            out.push(Part::Fire(self.rule.clone()));
        }
    }
}

fn thin(piece: &Bytes, rate: u64, out: &mut Vec<Part>) {
    let size = usize::try_from((rate / PIECES_A_SECOND).max(1)).unwrap_or(usize::MAX);
    let mut start = 0;
    while start < piece.len() {
        let end = start.saturating_add(size).min(piece.len());
        let nanos = (end - start) as u64 * 1_000_000_000 / rate;
        out.extend([Part::Wait(Duration::from_nanos(nanos)), Part::Data(piece.slice(start..end))]);
        start = end;
    }
}

/// Finds where the items of a list end: objects in the third place, after the list's own and its metadata.
#[derive(Default)]
struct ItemScanner {
    depth: u32,
    in_text: bool,
    escaped: bool,
    items: u64,
}

impl ItemScanner {
    /// Where in this piece the item of this number ends.
    fn end_of(&mut self, piece: &[u8], wanted: u64) -> Option<usize> {
        for (at, byte) in piece.iter().enumerate() {
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 2 {
                        self.items += 1;
                        if self.items == wanted {
                            return Some(at + 1);
                        }
                    }
                }
                _ => {}
            }
        }
        None
    }
}
