//! An edge as people read it: the Kubernetes Event about one change of state of one Lease.
//!
//! In: an edge and the Lease it is about. Out: a [`Story`] with a name that every replica derives equally, so that a
//! second telling is a conflict on the server; and the `events.k8s.io/v1` object itself. Pure; it posts nothing.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use watchkeeper::informer::ObjectKey;

use crate::duration::brief;
use crate::judge::{Edge, Observation, State};
use crate::threshold::duration;

/// Who reports, in each Event.
pub(crate) const CONTROLLER: &str = "watchkeeper.dev/lease-monitor";

/// One edge of one Lease, ready to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Story {
    /// The Event's name: Lease uid, state entered, version.
    pub(crate) name: String,
    /// The Lease's namespace, and the Event's.
    pub(crate) namespace: String,
    /// The Lease's name.
    pub(crate) lease: String,
    /// The Lease's uid.
    pub(crate) uid: String,
    /// The state entered.
    pub(crate) to: State,
    /// Whether the Lease is still in that state.
    pub(crate) stands: bool,
    /// A word for machines.
    pub(crate) reason: &'static str,
    /// A sentence for people.
    pub(crate) note: String,
}

impl Story {
    /// The story of `edge`.
    pub(crate) fn of(key: &ObjectKey, seen: &Observation, edge: &Edge, stands: bool) -> Story {
        Story {
            name: format!("lease-monitor.{}.{}.{}", seen.uid, edge.to.word(), edge.version).to_lowercase(),
            namespace: key.namespace().to_owned(),
            lease: key.name().to_owned(),
            uid: seen.uid.clone(),
            to: edge.to,
            stands,
            reason: reason(edge),
            note: note(seen, edge),
        }
    }

    /// The Event to create, told by `instance` at `now`. Its `regarding` carries no resource version: the Lease moves on.
    pub(crate) fn event(&self, instance: &str, now: Timestamp) -> Event {
        let trouble = matches!(self.to, State::Late | State::Stale);
        Event {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(micro(now)),
            type_: Some(if trouble { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(self.reason.to_owned()),
            action: Some("Judged".to_owned()),
            note: Some(self.note.clone()),
            regarding: Some(ObjectReference {
                api_version: Some("coordination.k8s.io/v1".to_owned()),
                kind: Some("Lease".to_owned()),
                namespace: Some(self.namespace.clone()),
                name: Some(self.lease.clone()),
                uid: Some(self.uid.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(instance.to_owned()),
            ..Event::default()
        }
    }
}

/// `event` told once more at `now`: its series counts one up. All other fields of an Event are immutable.
pub(crate) fn again(mut event: Event, now: Timestamp) -> Event {
    let count = event.series.as_ref().map_or(1, |series| series.count).saturating_add(1).max(2);
    event.series = Some(EventSeries { count, last_observed_time: micro(now) });
    event
}

/// Microseconds are what the server keeps; an update must not differ in what was cut off.
fn micro(now: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
}

fn reason(edge: &Edge) -> &'static str {
    match (edge.from, edge.to) {
        (_, State::Late) => "LeaseLate",
        (_, State::Stale) => "LeaseStale",
        (_, State::Vacant) => "LeaseVacant",
        (State::Vacant, _) => "LeaseTaken",
        _ if edge.holders.0 != edge.holders.1 => "LeaderChanged",
        _ => "LeaseRecovered",
    }
}

fn note(seen: &Observation, edge: &Edge) -> String {
    let name = |holder: &Option<String>| shorten(holder.as_deref().unwrap_or("nobody"));
    let (before, after) = (name(&edge.holders.0), name(&edge.holders.1));
    let whole = duration(seen.record.seconds).map_or_else(|| "none".to_owned(), brief);
    match reason(edge) {
        "LeaseLate" => format!("{after} has missed renewals (lease duration {whole})"),
        "LeaseStale" => format!("{after} has let the lease expire (lease duration {whole})"),
        "LeaseVacant" if edge.holders.0.is_some() => format!("{before} has released the lease"),
        "LeaseVacant" => "nobody holds the lease".to_owned(),
        "LeaseTaken" => format!("{after} holds the lease, which was vacant"),
        "LeaderChanged" => format!("{after} took over from {before}, after the lease was {}", edge.from),
        _ => format!("{after} renews again, after the lease was {}", edge.from),
    }
}

/// Identities may be long; a note has 1024 bytes at most.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;
    use crate::judge::Watch;
    use crate::moment::Moment;
    use crate::record::Record;
    use std::time::Duration;

    fn record(holder: &str, renewal: i64) -> Record {
        Record {
            holder: Some(holder.to_owned()),
            renewed: Timestamp::from_second(renewal).ok(),
            acquired: None,
            transitions: None,
            seconds: Some(4),
            class: Class::Election,
        }
    }

    fn told() -> Vec<Story> {
        let at = |seconds| Watch { now: Moment(Duration::from_secs(seconds)), unbroken_since: Moment::default() };
        let mut seen = Observation::first("U1", "7", record("a", 0), (Moment::default(), true));
        seen.seen("9", record("b", 1), at(30));
        let key = ObjectKey::new("ns", "lock");
        seen.edges().map(|edge| Story::of(&key, &seen, edge, false)).collect()
    }

    #[test]
    fn names_come_from_uid_state_and_version() {
        let names: Vec<_> = told().into_iter().map(|story| (story.name, story.reason)).collect();
        let expected = [
            ("lease-monitor.u1.late.7", "LeaseLate"),
            ("lease-monitor.u1.stale.7", "LeaseStale"),
            ("lease-monitor.u1.fresh.7", "LeaderChanged"),
        ];
        assert_eq!(names, expected.map(|(name, reason)| (name.to_owned(), reason)));
    }

    #[test]
    fn the_event_has_what_the_server_asks_for() {
        let now = Timestamp::from_nanosecond(1_700_000_000_123_456_789).expect("in range");
        let event = told()[1].event("pod_1_x", now);
        let json = serde_json::to_value(&event).expect("serialises");
        assert_eq!(json["eventTime"], "2023-11-14T22:13:20.123456Z");
        assert_eq!(json["type"], "Warning");
        assert_eq!(json["metadata"]["namespace"], json["regarding"]["namespace"]);
        assert_eq!(json["reportingInstance"], "pod_1_x");
        assert!(json["note"].as_str().is_some_and(|note| note.contains('a') && note.len() < 1024));
        let twice = again(event, now);
        assert_eq!(twice.series.as_ref().map(|series| series.count), Some(2));
        assert_eq!(again(twice, now).series.map(|series| series.count), Some(3));
    }
}
