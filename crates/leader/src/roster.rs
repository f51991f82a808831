//! Who shares the work: the replicas that are there, as far as one of them can tell. Pure.
//!
//! In: lists of presence Leases, each with the gate clock at its receipt. Out: how this replica should stand for each bucket, and which
//! presence is so old that it can be cleared away. Never: compares a time written by another process; decides who acts (each bucket has
//! an election for that, so that a wrong roster costs time, not safety).

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bucket::{Buckets, fnv1a};
use crate::clock::GateInstant;
use crate::record::{Claim, Lease, held};
use crate::standpoint::Stance;

/// Label by which the presences of one group of replicas are found: a hash of the whole's name.
pub(crate) const MEMBERS_LABEL: &str = "watchkeeper.dev/members-of";

/// Annotation of a presence: how many buckets its replica divides the keys into.
const BUCKETS_ANNOTATION: &str = "watchkeeper.dev/buckets";

/// A presence that hasn't changed for so many lease durations is nobody's any more.
const CLEARED_AFTER: u32 = 10;

/// What is the same in all presences of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) namespace: String,
    /// The name that the Leases of the buckets begin with.
    pub(crate) whole: String,
    pub(crate) identity: String,
    pub(crate) buckets: Buckets,
    /// L.
    pub(crate) lease_duration: Duration,
}

/// The replicas seen.
pub(crate) struct Roster {
    group: Group,
    seen: HashMap<String, Seen>,
    /// A list has been seen.
    listed: bool,
}

struct Seen {
    presence: Lease,
    since: GateInstant,
}

/// How this replica should stand for the buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Nothing is known yet.
    Unknown,
    /// One stance a bucket.
    Stances(Vec<Stance>),
    /// Take only what nobody else takes: the others aren't seen, or don't see this one.
    Last,
    /// Keep aside: this older replica divides the keys into another number of buckets.
    Aside(String),
}

impl Group {
    /// The name of this replica's presence.
    pub(crate) fn presence_name(&self) -> String {
        format!("{}.member-{:016x}", self.whole, fnv1a(self.identity.bytes()))
    }

    /// The value of [`MEMBERS_LABEL`].
    pub(crate) fn label(&self) -> String {
        format!("{:016x}", fnv1a(self.whole.bytes()))
    }

    /// A new presence.
    pub(crate) fn presence(&self, claim: &Claim<'_>) -> Value {
        let mut object = held(&self.namespace, &self.presence_name(), claim);
        object["metadata"]["labels"] = json!({ MEMBERS_LABEL: self.label() });
        object["metadata"]["annotations"] = json!({ BUCKETS_ANNOTATION: self.buckets.count().to_string() });
        object
    }
}

impl Roster {
    pub(crate) fn new(group: Group) -> Self {
        Self { group, seen: HashMap::new(), listed: false }
    }

    /// A list of the presences was received.
    pub(crate) fn saw(&mut self, list: Vec<Lease>, received: GateInstant) {
        let mut now: HashMap<String, Seen> = HashMap::new();
        for presence in list {
            let known = self.seen.remove(presence.uid()).filter(|seen| seen.presence.version() == presence.version());
            let since = known.map_or(received, |seen| seen.since);
            now.insert(presence.uid().to_owned(), Seen { presence, since });
        }
        self.seen = now;
        self.listed = true;
    }

    /// How to stand at `now`.
    pub(crate) fn advise(&self, now: GateInstant) -> Advice {
        if !self.listed {
            return Advice::Unknown;
        }
        let me = self.group.identity.as_str();
        let mine = self.seen.values().find(|seen| seen.presence.holder() == me);
        let alive = |seen: &&Seen| !seen.presence.holder().is_empty() && !self.is_unchanged(seen, now, 1);
        let count = self.group.buckets.count();
        let elder = |seen: &&Seen| {
            let born = |seen: &Seen| (created(&seen.presence), seen.presence.uid().to_owned());
            // Without a presence of its own, this replica is the youngest.
            buckets_of(&seen.presence) != Some(count) && mine.is_none_or(|mine| born(seen) < born(mine))
        };
        let others = || self.seen.values().filter(|seen| seen.presence.holder() != me).filter(alive);
        if let Some(elder) = others().find(elder) {
            return Advice::Aside(elder.presence.holder().to_owned());
        }
        let mut members: Vec<&str> = others()
            .filter(|seen| buckets_of(&seen.presence) == Some(count))
            .map(|seen| seen.presence.holder())
            .collect();
        members.push(me);
        let shares = self.group.buckets.shares(&members);
        let mine = |share: Option<usize>| share.is_some_and(|member| members[member] == me);
        let stance = |share| if mine(share) { Stance::Prefer } else { Stance::Reserve };
        Advice::Stances(shares.into_iter().map(stance).collect())
    }

    /// How many replicas are there, this one included.
    pub(crate) fn alive(&self, now: GateInstant) -> usize {
        let me = self.group.identity.as_str();
        let others = self.seen.values().filter(|seen| seen.presence.holder() != me);
        1 + others.filter(|seen| !self.is_unchanged(seen, now, 1)).count()
    }

    /// A presence that can be cleared away.
    pub(crate) fn remains(&self, now: GateInstant) -> Option<&Lease> {
        self.seen
            .values()
            .filter(|seen| seen.presence.holder() != self.group.identity)
            .find(|seen| self.is_unchanged(seen, now, CLEARED_AFTER))
            .map(|seen| &seen.presence)
    }

    fn is_unchanged(&self, seen: &Seen, now: GateInstant, lease_durations: u32) -> bool {
        let duration = seen.presence.duration().unwrap_or(self.group.lease_duration);
        seen.since.until(now) >= duration.saturating_mul(lease_durations)
    }
}

/// `metadata.creationTimestamp`, by the server's clock: only to order replicas, of which all see the same.
fn created(presence: &Lease) -> String {
    presence.object()["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned()
}

fn buckets_of(presence: &Lease) -> Option<u32> {
    presence.object()["metadata"]["annotations"][BUCKETS_ANNOTATION].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn group(identity: &str, buckets: u32) -> Group {
        Group {
            namespace: "ns".to_owned(),
            whole: "thing".to_owned(),
            identity: identity.to_owned(),
            buckets: Buckets::new(buckets).unwrap(),
            lease_duration: 15 * SECOND,
        }
    }

    fn presence(identity: &str, buckets: u32, born: u32, version: u64) -> Lease {
        let mut object = group(identity, buckets).presence(&Claim {
            identity,
            duration: 15 * SECOND,
            wall: jiff::Timestamp::UNIX_EPOCH,
            labels: &crate::record::NO_LABELS,
        });
        object["metadata"]["uid"] = json!(format!("uid-{identity}"));
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{born:02}Z"));
        Lease::parse(object).unwrap()
    }

    fn at(seconds: u64) -> GateInstant {
        GateInstant::from_nanos(seconds * 1_000_000_000)
    }

    fn preferred(roster: &Roster, now: u64) -> usize {
        match roster.advise(at(now)) {
            Advice::Stances(stances) => stances.iter().filter(|stance| **stance == Stance::Prefer).count(),
            other => panic!("{other:?}"),
        }
    }

    /// Goal: replicas that see each other divide the buckets without overlap; one that is silent for a lease duration is out, and its
    /// remains are cleared after ten. Method: two rosters, lists with moving versions.
    #[test]
    fn the_living_share() {
        let (mut a, mut b) = (Roster::new(group("a", 10)), Roster::new(group("b", 10)));
        assert_eq!(a.advise(at(0)), Advice::Unknown);
        a.saw(Vec::new(), at(0));
        assert_eq!(preferred(&a, 0), 10, "alone");
        for round in 0..10 {
            let list = vec![presence("a", 10, 1, round), presence("b", 10, 2, 100 + round)];
            a.saw(list.clone(), at(round * 2));
            b.saw(list, at(round * 2));
        }
        let (Advice::Stances(of_a), Advice::Stances(of_b)) = (a.advise(at(18)), b.advise(at(18))) else { panic!() };
        assert!(of_a.iter().zip(&of_b).all(|(a, b)| a != b), "{of_a:?} {of_b:?}");
        assert_eq!((preferred(&a, 18), preferred(&b, 18)), (5, 5));
        // B is silent from here on.
        for round in 10..20 {
            a.saw(vec![presence("a", 10, 1, round), presence("b", 10, 2, 109)], at(round * 2));
        }
        assert_eq!((preferred(&a, 32), a.alive(at(32))), (5, 2));
        assert_eq!((preferred(&a, 33), a.alive(at(33))), (10, 1));
        assert_eq!(a.remains(at(160)), None);
        assert_eq!(a.remains(at(168)).unwrap().holder(), "b");
    }

    /// Goal: replicas that divide the keys otherwise never work beside each other: the younger keeps aside until the elder is gone, and
    /// not the other way round. Method: ten buckets, then five.
    #[test]
    fn the_younger_keeps_aside_from_another_division() {
        let (mut old, mut new) = (Roster::new(group("old", 10)), Roster::new(group("new", 5)));
        let list = || vec![presence("old", 10, 1, 1), presence("new", 5, 2, 2)];
        old.saw(list(), at(0));
        new.saw(list(), at(0));
        assert_eq!(preferred(&old, 1), 10);
        assert_eq!(new.advise(at(1)), Advice::Aside("old".to_owned()));
        // Also before its own presence is shown.
        let mut unseen = Roster::new(group("new", 5));
        unseen.saw(vec![presence("old", 10, 1, 1)], at(0));
        assert_eq!(unseen.advise(at(1)), Advice::Aside("old".to_owned()));
        new.saw(vec![presence("new", 5, 2, 3)], at(2));
        assert_eq!(preferred(&new, 2), 5);
    }

    /// Goal: whatever stands in a presence is survived. Method: presences without anything.
    #[test]
    fn absurd_presences() {
        let empty = |uid: &str| {
            Lease::parse(json!({"metadata": {"uid": uid, "resourceVersion": "1", "annotations": 7}, "spec": null}))
                .unwrap()
        };
        let mut roster = Roster::new(group("me", 3));
        roster.saw(vec![empty("x"), empty("y")], at(0));
        // Nobody's.
        assert_eq!(preferred(&roster, 0), 3);
        assert!(roster.remains(at(10_000)).is_some());
    }
}
