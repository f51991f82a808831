//! Faults in the events of a watch.
//!
//! Comes in: one event at a time. Goes out: that event, or what a rule makes of it. A stage is a small machine without time
//! or I/O: waiting and failing are things it says, and the stream does them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::action::{Action, Illegal};
use super::answer::{GARBAGE, UNKNOWN_TYPE, stranger};
use super::error::TransportError;
use super::rule::Rule;

/// What a body is made of once faults may be in it.
pub(super) enum Part {
    Data(Bytes),
    Wait(Duration),
    /// Silence, without end.
    Silence,
    Break(TransportError),
    End,
    /// The rule takes effect here.
    Fire(Arc<Rule>),
}

/// One rule over the events of one watch.
pub(super) struct EventStage {
    rule: Arc<Rule>,
    seen: u64,
    done: bool,
    held: Option<Bytes>,
}

impl EventStage {
    /// `None`: the action is no business of events.
    pub(super) fn new(rule: &Arc<Rule>) -> Option<Self> {
        let of_events = matches!(
            rule.action,
            Action::Garbage { .. }
                | Action::UnknownEventType { .. }
                | Action::OtherKind { .. }
                | Action::MissingVersion { .. }
                | Action::ErrorEvent { .. }
                | Action::SlowEvents { .. }
                | Action::Stall { .. }
                | Action::End { .. }
                | Action::DropBookmarks
                | Action::HoldInitialEnd { .. }
                | Action::BareInitialEnd
                | Action::Illegal(_)
        );
        of_events.then(|| Self { rule: rule.clone(), seen: 0, done: false, held: None })
    }

    /// Before the first event.
    pub(super) fn open(&mut self, out: &mut Vec<Part>) {
        self.inject(out);
    }

    pub(super) fn take(&mut self, part: Part, out: &mut Vec<Part>) {
        match part {
            Part::Data(event) => {
                self.event(event, out);
                self.seen += 1;
                self.inject(out);
            }
            Part::End => {
                out.extend(self.held.take().map(Part::Data));
                out.push(Part::End);
            }
            other => out.push(other),
        }
    }

    /// What comes of its own, once `after_events` have passed.
    fn inject(&mut self, out: &mut Vec<Part>) {
        let (after, parts): (u64, Vec<Part>) = match &self.rule.action {
            Action::Garbage { after_events } => (*after_events, vec![Part::Data(Bytes::from_static(GARBAGE))]),
            Action::UnknownEventType { after_events } => {
                (*after_events, vec![Part::Data(Bytes::from_static(UNKNOWN_TYPE))])
            }
            Action::OtherKind { after_events } => {
                let event = serde_json::json!({ "type": "ADDED", "object": stranger() });
                (*after_events, vec![Part::Data(Bytes::from(format!("{event}\n")))])
            }
            Action::ErrorEvent { after_events, status } => (*after_events, vec![Part::Data(status.event()), Part::End]),
            Action::Stall { after_events } => (*after_events, vec![Part::Silence]),
            Action::End { after_events } => (*after_events, vec![Part::End]),
            _ => return,
        };
        if !self.done && self.seen == after {
            self.done = true;
            out.push(Part::Fire(self.rule.clone()));
            out.extend(parts);
        }
    }

    fn event(&mut self, event: Bytes, out: &mut Vec<Part>) {
        let rule = self.rule.clone();
        match &rule.action {
            Action::DropBookmarks if is_bookmark(&event) && !is_initial_end(&event) => out.push(Part::Fire(rule)),
            Action::HoldInitialEnd { by } if is_initial_end(&event) => {
                out.push(Part::Fire(rule.clone()));
                if let Some(by) = by {
                    out.extend([Part::Wait(*by), Part::Data(event)]);
                }
            }
            Action::BareInitialEnd if is_initial_end(&event) => {
                out.push(Part::Fire(rule));
                out.push(Part::Data(changed(&event, without_annotations)));
            }
            Action::MissingVersion { after_events } if self.is_it(*after_events, &event) => {
                out.push(Part::Fire(rule));
                out.push(Part::Data(changed(&event, |event| set_version(event, None))));
            }
            Action::SlowEvents { by } => {
                if !std::mem::replace(&mut self.done, true) {
                    out.push(Part::Fire(rule.clone()));
                }
                out.extend([Part::Wait(*by), Part::Data(event)]);
            }
            Action::Illegal(illegal) => self.illegal(illegal, event, out),
            _ => out.push(Part::Data(event)),
        }
    }

    fn illegal(&mut self, illegal: &Illegal, event: Bytes, out: &mut Vec<Part>) {
        if let Some(held) = self.held.take() {
            out.extend([Part::Fire(self.rule.clone()), Part::Data(event), Part::Data(held)]);
            return;
        }
        let (Illegal::Duplicate { after_events }
        | Illegal::Drop { after_events }
        | Illegal::Reorder { after_events }
        | Illegal::StaleVersion { after_events }
        | Illegal::WrongType { after_events }) = illegal;
        if !self.is_it(*after_events, &event) {
            out.push(Part::Data(event));
            return;
        }
        // A reordering takes effect only when there is something to come before.
        if !matches!(illegal, Illegal::Reorder { .. }) {
            out.push(Part::Fire(self.rule.clone()));
        }
        match illegal {
            Illegal::Duplicate { .. } => out.extend([Part::Data(event.clone()), Part::Data(event)]),
            Illegal::Drop { .. } => {}
            Illegal::Reorder { .. } => self.held = Some(event),
            Illegal::StaleVersion { .. } => {
                out.push(Part::Data(changed(&event, |event| set_version(event, Some("1")))));
            }
            Illegal::WrongType { .. } => {
                out.push(Part::Data(changed(&event, |event| event["type"] = "MODIFIED".into())));
            }
        }
    }

    /// Whether this is the one event the rule is for.
    fn is_it(&mut self, after: u64, event: &[u8]) -> bool {
        let it = !self.done && self.seen >= after && !is_bookmark(event);
        self.done |= it;
        it
    }
}

/// By the bytes this server writes: it encodes the type first.
fn is_bookmark(event: &[u8]) -> bool {
    event.starts_with(br#"{"type":"BOOKMARK""#)
}

fn is_initial_end(event: &[u8]) -> bool {
    let mark = b"\"k8s.io/initial-events-end\"";
    is_bookmark(event) && event.windows(mark.len()).any(|window| window == mark)
}

/// The event with something else in it. The type stays in front, for the stages that come after.
fn changed(event: &Bytes, change: impl FnOnce(&mut Value)) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(event) else { return event.clone() };
    change(&mut value);
    Bytes::from(format!("{{\"type\":{},\"object\":{}}}\n", value["type"], value["object"]))
}

fn without_annotations(event: &mut Value) {
    event.pointer_mut("/object/metadata").and_then(Value::as_object_mut).map(|metadata| metadata.remove("annotations"));
}

/// Another version of the event's object, or none.
fn set_version(event: &mut Value, version: Option<&str>) {
    let Some(metadata) = event.pointer_mut("/object/metadata").and_then(Value::as_object_mut) else { return };
    match version {
        Some(version) => metadata.insert("resourceVersion".to_owned(), version.into()),
        None => metadata.remove("resourceVersion"),
    };
}
