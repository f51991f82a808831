//! The Pods of `store`, `readers` and `pipeline`: only the fields that are used are set, on all sides (`objects.go`).
//!
//! In: how many, and which. Out: a Pod of its number, generation and node. They lie in 100 namespaces, about 30 on each
//! node and 10 of each app; in the order of their numbers they are in the order of their keys, as a server lists them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The label of the app, by which they are indexed.
pub(crate) const APP: &str = "app";

const NAMESPACES: usize = 100;
/// Versions are as long as those of an old cluster, and all equally long.
const FIRST_VERSION: usize = 1_000_000_000;

/// How many there are, which decides where each is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objects {
    pub(crate) count: usize,
}

/// On which node an object is: where it was first, or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Moved,
}

impl Objects {
    pub(crate) fn namespaces(self) -> Vec<String> {
        let last = self.count.saturating_sub(1);
        (0..=self.namespace_of(last)).map(namespace).collect()
    }

    pub(crate) fn nodes(self) -> Vec<String> {
        (0..self.node_count()).map(node).collect()
    }

    /// Namespace and name of one.
    pub(crate) fn name_of(self, number: usize) -> (String, String) {
        (namespace(self.namespace_of(number)), exact(format!("deployment-7d4b9c6f5d-{number:012}")))
    }

    /// In which namespace it is, by the place of that.
    pub(crate) fn namespace_of(self, number: usize) -> usize {
        number * NAMESPACES.min(self.count) / self.count
    }

    /// The number at the end of a name.
    pub(crate) fn number_of(name: &str) -> Option<usize> {
        name.get(name.len().checked_sub(12)?..)?.parse().ok()
    }

    /// Of a later generation each object has a higher version than all of an earlier one.
    pub(crate) fn version(self, generation: usize, number: usize) -> usize {
        FIRST_VERSION + generation * self.count + number
    }

    pub(crate) fn pod(self, generation: usize, number: usize, place: Place) -> Pod {
        self.state(self.version(generation, number), number, place)
    }

    /// An object at a version.
    pub(crate) fn state(self, version: usize, number: usize, place: Place) -> Pod {
        let (namespace, name) = self.name_of(number);
        let place = number + usize::from(place == Place::Moved);
        let app = exact(format!("app-{:05}", number % (self.count / 10).max(1)));
        let metadata = ObjectMeta {
            namespace: Some(namespace),
            name: Some(name),
            uid: Some(exact(format!("00000000-0000-4000-8000-{number:012}"))),
            resource_version: Some(exact(version.to_string())),
            labels: Some(BTreeMap::from([(APP.to_owned(), app)])),
            ..ObjectMeta::default()
        };
        let spec = PodSpec { node_name: Some(node(place % self.node_count())), ..PodSpec::default() };
        Pod { metadata, spec: Some(spec), ..Pod::default() }
    }

    fn node_count(self) -> usize {
        (self.count / 30).max(1)
    }
}

fn namespace(place: usize) -> String {
    exact(format!("namespace-{place:04}"))
}

fn node(place: usize) -> String {
    exact(format!("node-{place:05}"))
}

/// A decoder wastes no capacity, nor does a clone.
fn exact(mut text: String) -> String {
    text.shrink_to_fit();
    text
}

/// A Pod's version, as a number.
pub(crate) fn version_of(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Looks at an object: how long its name is.
pub(crate) fn look(pod: &Pod) -> u64 {
    pod.metadata.name.as_ref().map_or(0, |name| name.len() as u64)
}

/// What comes of looking at each once.
pub(crate) fn look_all(objects: Objects) -> u64 {
    (0..objects.count).map(|number| objects.name_of(number).1.len() as u64).sum()
}

/// All numbers below `count`, shuffled, the same way in each run.
pub(crate) fn shuffled(count: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    let mut random = Random::new(1);
    for place in (1..count).rev() {
        numbers.swap(place, random.below(place + 1));
    }
    numbers
}

/// The generator SplitMix64; the peer in Go has the same.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from((u128::from(z) * limit as u128) >> 64).unwrap_or(0)
    }
}
