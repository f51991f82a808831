//! What makes a difference between two states, in a form that doesn't depend on names, nor on how late it is.
//!
//! In: the facts of each process and of the server. Out: 128 bits that are equal for states with the same future (and,
//! but for a collision, only for these). Never: keeps a state.
//!
//! The rules compare versions, and otherwise only use them as they are, so their order is enough. Instants count from
//! now, and those so long past that they decide nothing any more are one. Texts of times are only compared for equality.
//! Processes that are configured alike are interchangeable: they are put in an order of what they know.

use std::time::Duration;

use serde_json::Value;

use crate::clock::GateInstant;
use crate::record::{RELEASED_ANNOTATION, RELEASED_TRANSITIONS_ANNOTATION};

/// The number of whoever isn't a process of the world.
pub(crate) const FOREIGN: u8 = 9;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact {
    Plain(u64),
    /// A process by its number from 1; 0 is nobody.
    Name(u8),
    Version(u128),
    Stamp(u64),
    /// An instant of the process's own clock. One that is further back than this is as good as this.
    Local(GateInstant, Duration),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(pub(crate) Vec<Fact>);

impl Facts {
    pub(crate) fn push(&mut self, fact: Fact) {
        self.0.push(fact);
    }

    pub(crate) fn plain(&mut self, value: u64) {
        self.push(Fact::Plain(value));
    }

    /// An instant that matters only while it is to come.
    pub(crate) fn due(&mut self, at: GateInstant) {
        self.push(Fact::Local(at, Duration::ZERO));
    }

    pub(crate) fn uid(&mut self, uid: &str) {
        self.plain(uid.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0));
    }

    pub(crate) fn name(&mut self, identity: &str) {
        self.push(Fact::Name(number_of(identity)));
    }

    pub(crate) fn stamp(&mut self, text: &str) {
        self.push(Fact::Stamp(text.bytes().fold(7, |hash, byte| mix(hash, u64::from(byte))) as u64));
    }

    /// A Lease. Without its renewTime, which nobody reads, and which is never twice the same.
    pub(crate) fn record(&mut self, object: &Value) {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
        self.uid(metadata["uid"].as_str().unwrap_or_default());
        self.push(Fact::Version(text(&metadata["resourceVersion"]).parse().unwrap_or(0)));
        self.name(spec["holderIdentity"].as_str().unwrap_or_default());
        self.plain(spec["leaseDurationSeconds"].as_u64().unwrap_or(0));
        self.plain(spec["leaseTransitions"].as_u64().unwrap_or(0));
        self.stamp(spec["acquireTime"].as_str().unwrap_or_default());
        let annotations = &metadata["annotations"];
        let Some((identity, epoch)) = annotations[RELEASED_ANNOTATION].as_str().and_then(|text| text.rsplit_once(' '))
        else {
            return self.plain(0);
        };
        self.name(identity);
        self.push(Fact::Version(epoch.parse().unwrap_or(0)));
        self.stamp(annotations[RELEASED_TRANSITIONS_ANNOTATION].as_str().unwrap_or_default());
    }
}

/// The number of a process by its identity.
pub(crate) fn number_of(identity: &str) -> u8 {
    if identity.is_empty() {
        return 0;
    }
    identity.split('_').nth(1).and_then(|number| number.parse().ok()).unwrap_or(FOREIGN)
}

/// The facts of one process, and its clock.
pub(crate) struct Part<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) number: u8,
    pub(crate) now: GateInstant,
}

/// The mark of a state: `common` is the server's part.
pub(crate) fn mark(common: &Facts, parts: &[Part<'_>]) -> u128 {
    let mut versions: Vec<u128> = std::iter::once(common)
        .chain(parts.iter().map(|part| part.facts))
        .flat_map(|facts| facts.0.iter())
        .filter_map(|fact| if let Fact::Version(version) = fact { Some(*version) } else { None })
        .collect();
    versions.sort_unstable();
    versions.dedup();
    let rank = |version: u128| versions.binary_search(&version).unwrap_or(0) as u64;

    // An order of the processes that doesn't depend on their names.
    let mut order: Vec<(u128, usize)> = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let alike = part.facts.0.iter().fold(1, |hash, fact| {
            let word = match *fact {
                Fact::Plain(value) => value,
                Fact::Name(0) => 0,
                Fact::Name(FOREIGN) => 1,
                Fact::Name(number) => 2 + u64::from(number == part.number),
                Fact::Version(version) => rank(version),
                Fact::Stamp(_) => 0,
                Fact::Local(at, floor) => since(at, floor, part.now),
            };
            mix(hash, word)
        });
        order.push((alike, index));
    }
    order.sort_unstable();
    let mut names = [0_u8; 16];
    names[usize::from(FOREIGN)] = FOREIGN;
    for (place, (_, index)) in order.iter().enumerate() {
        names[usize::from(parts[*index].number)] = u8::try_from(place + 1).unwrap_or(FOREIGN);
    }

    let mut stamps: Vec<u64> = Vec::new();
    let mut hash = 3_u128;
    let whole = std::iter::once((common, GateInstant::from_nanos(0)))
        .chain(order.iter().map(|(_, index)| (parts[*index].facts, parts[*index].now)));
    for (facts, now) in whole {
        for fact in &facts.0 {
            let word = match *fact {
                Fact::Plain(value) => value,
                Fact::Name(number) => u64::from(names[usize::from(number)]),
                Fact::Version(version) => rank(version),
                Fact::Stamp(text) => {
                    let place = stamps.iter().position(|known| *known == text);
                    place.unwrap_or_else(|| {
                        stamps.push(text);
                        stamps.len() - 1
                    }) as u64
                }
                Fact::Local(at, floor) => since(at, floor, now),
            };
            hash = mix(hash, word);
        }
        hash = mix(hash, facts.0.len() as u64);
    }
    hash
}

/// The instant counted from `now`, in a range that has no sign.
fn since(at: GateInstant, floor: Duration, now: GateInstant) -> u64 {
    let floor = u64::try_from(floor.as_nanos()).unwrap_or(u64::MAX);
    (at.as_nanos() + floor).saturating_sub(now.as_nanos())
}

fn mix(hash: u128, word: u64) -> u128 {
    let mixed = (hash ^ u128::from(word)).wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645);
    mixed ^ (mixed >> 67)
}
