//! What the Lease has said, version by version, by the server's own log.

use std::path::Path;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use watchkeeper_e2e::clock::boot_nanos;

use crate::{AHEAD, LEASE};

/// One version of the Lease.
#[derive(Debug)]
struct Version {
    number: u128,
    /// When the server received the request for it, in nanoseconds since boot: no earlier than it was sent.
    received: u64,
    object: Value,
}

impl Version {
    fn holder(&self) -> &str {
        self.object["spec"]["holderIdentity"].as_str().unwrap_or_default()
    }

    fn transitions(&self) -> i64 {
        self.object["spec"]["leaseTransitions"].as_i64().unwrap_or(0)
    }
}

/// All versions, in the order of the server.
pub(crate) struct History {
    versions: Vec<Version>,
    /// Of each write on it, stored or not: when it was received, and how long it took.
    writes: Vec<(u64, Duration)>,
}

impl History {
    /// Reads the audit log up to its last whole line.
    pub(crate) fn read(audit: &Path) -> Self {
        let text = std::fs::read_to_string(audit).expect("the server's log");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let boot = boot_time();
        let events = whole.lines().map(|line| serde_json::from_str(line).expect("an audit event"));
        let events: Vec<Value> = events.filter(|event: &Value| event["objectRef"]["resource"] == "leases").collect();
        let mut versions: Vec<_> = events.iter().filter_map(|event| version(event, boot)).collect();
        versions.sort_by_key(|version| version.number);
        let writes = events.iter().filter(|event| event["objectRef"]["name"] == LEASE);
        Self { versions, writes: writes.filter_map(|event| Some((received(event, boot)?, took(event)?))).collect() }
    }

    /// The longest that the server took for a write received since then, whether it stored it or not.
    pub(crate) fn slowest_since(&self, began: u64) -> Duration {
        let since = self.writes.iter().filter(|(received, _)| *received >= began);
        since.map(|(_, took)| *took).max().unwrap_or_default()
    }

    /// Who holds it.
    pub(crate) fn holder(&self) -> String {
        self.versions.last().map(|version| version.holder().to_owned()).unwrap_or_default()
    }

    /// When the last write came that named a holder whose identity begins so; an empty name is nobody.
    pub(crate) fn last_of(&self, name: &str) -> u64 {
        let named = |version: &&Version| match name {
            "" => version.holder().is_empty(),
            _ => is(version.holder(), name),
        };
        let last = self.versions.iter().rev().find(named);
        last.unwrap_or_else(|| panic!("{name:?} never held the Lease: {:#?}", self.versions)).received
    }

    /// Checks each version against the one before; returns how often a holder came.
    pub(crate) fn judge(&self) -> usize {
        let mut changes = 0;
        for pair in self.versions.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let came = !after.holder().is_empty() && after.holder() != before.holder();
            changes += usize::from(came);
            let counted = after.transitions() - before.transitions();
            assert_eq!(counted, i64::from(came), "leaseTransitions: {before:#?}, then {after:#?}");
            let metadata = &after.object["metadata"];
            assert_eq!(metadata["labels"]["team"], "night", "{after:#?}");
            assert_eq!(metadata["annotations"]["note"], "keep me", "{after:#?}");
            if after.holder().starts_with("ours-") {
                assert!(is_ahead(after), "our wall clock should be wrong: {after:#?}");
            }
        }
        changes
    }
}

/// An identity of client-go's is the name; ours has a random part behind it.
fn is(identity: &str, name: &str) -> bool {
    identity == name || identity.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'))
}

/// Whether the times written into it are as wrong as the writer's clock.
fn is_ahead(version: &Version) -> bool {
    let written: Option<Timestamp> = version.object["spec"]["renewTime"].as_str().and_then(|time| time.parse().ok());
    let written = written.map_or(0, |time| time.as_second());
    let received = boot_time() + Duration::from_nanos(version.received);
    (written - received.as_secs() as i64 - AHEAD).abs() < 30
}

/// When the machine was booted, since 1970; no earlier, so that nothing is taken for received later than it was.
fn boot_time() -> Duration {
    let before = Duration::from_nanos(boot_nanos());
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970") - before
}

fn version(event: &Value, boot: Duration) -> Option<Version> {
    let stored = event["responseStatus"]["code"].as_u64().is_some_and(|code| (200..300).contains(&code));
    if !stored || event["responseObject"]["metadata"]["name"] != LEASE {
        return None;
    }
    let object = event["responseObject"].clone();
    let number = object["metadata"]["resourceVersion"].as_str()?.parse().ok()?;
    Some(Version { number, received: received(event, boot)?, object })
}

/// When the server received it, in nanoseconds since boot.
fn received(event: &Value, boot: Duration) -> Option<u64> {
    let since_epoch = time(event, "requestReceivedTimestamp")?.duration_since(Timestamp::UNIX_EPOCH);
    u64::try_from((Duration::try_from(since_epoch).ok()? - boot).as_nanos()).ok()
}

/// How long the server took for it.
fn took(event: &Value) -> Option<Duration> {
    let took = time(event, "stageTimestamp")?.duration_since(time(event, "requestReceivedTimestamp")?);
    took.try_into().ok()
}

fn time(event: &Value, field: &str) -> Option<Timestamp> {
    event[field].as_str()?.parse().ok()
}
