//! Ring: the newest steps, of all keys that are wanted.
//!
//! In: notes, from any stage and thread. Out: the steps of one key. It keeps a fixed number, takes no other lock while it holds its
//! own, and an [`Explainer`] that is off does nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{ExplainConfig, ExplainKeys, Step, UID_LENGTH, What};
use crate::key::{ObjectKey, with_text};
use crate::object::Cached;
use crate::sight::now;
use crate::version::ResourceVersion;

/// Where a stage leaves its notes, or nowhere.
#[derive(Clone, Default)]
pub(crate) struct Explainer(Option<Arc<Ring>>);

struct Ring {
    keys: ExplainKeys,
    length: usize,
    /// The oldest first.
    steps: Mutex<VecDeque<Step>>,
}

impl Explainer {
    pub(crate) fn new(config: Option<&ExplainConfig>) -> Self {
        let ring = |config: &ExplainConfig| {
            let (keys, length) = (config.keys.clone(), config.steps.max(1));
            Arc::new(Ring { keys, length, steps: Mutex::default() })
        };
        Self(config.map(ring))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Something happened to one object: at namespace and name, in the life of this uid, at this version.
    pub(crate) fn note(&self, (namespace, name): (&str, &str), uid: &str, version: &str, what: impl FnOnce() -> What) {
        if let Some(ring) = &self.0
            && ring.keys.hold(namespace, name)
        {
            let uid = uid.chars().take(UID_LENGTH).collect();
            let version = (!version.is_empty()).then(|| ResourceVersion::new(version));
            ring.push(Some(ObjectKey::new(namespace, name)), uid, version, what());
        }
    }

    pub(crate) fn note_object<K: Cached>(&self, object: &K, what: impl FnOnce() -> What) {
        // An object is cold: it isn't looked at where nobody wants to know.
        if self.is_on() {
            self.note((object.namespace(), object.name()), object.uid(), object.version(), what);
        }
    }

    /// Something happened to all.
    pub(crate) fn note_all(&self, version: &ResourceVersion, what: impl FnOnce() -> What) {
        if let Some(ring) = &self.0 {
            ring.push(None, Box::default(), Some(version.clone()), what());
        }
    }

    /// The steps of this key and those of all, the oldest first.
    pub(crate) fn of(&self, key: &ObjectKey) -> Vec<Step> {
        let is_of = |step: &&Step| step.key.as_ref().is_none_or(|own| own == key);
        let of = |ring: &Arc<Ring>| ring.steps.lock().iter().filter(is_of).cloned().collect();
        self.0.as_ref().map(of).unwrap_or_default()
    }
}

impl Ring {
    fn push(&self, key: Option<ObjectKey>, uid: Box<str>, version: Option<ResourceVersion>, what: What) {
        let mut steps = self.steps.lock();
        while steps.len() >= self.length {
            steps.pop_front();
        }
        // Under the lock, so that the order of the steps is that of their times.
        steps.push_back(Step { at: now(), key, uid, version, what });
    }
}

impl ExplainKeys {
    fn hold(&self, namespace: &str, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(own) => own == namespace,
            Self::These(keys) => with_text(namespace, name, |text| keys.contains(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(explainer: &Explainer, key: (&str, &str), version: &str) {
        explainer.note(key, "u", version, || What::Pushed);
    }

    fn versions(explainer: &Explainer, namespace: &str, name: &str) -> Vec<String> {
        let steps = explainer.of(&ObjectKey::new(namespace, name));
        steps.iter().filter_map(|step| step.version.as_ref()).map(ToString::to_string).collect()
    }

    /// Goal: it never holds more than it was told to, the newest stay, and what is of all is in every story.
    #[test]
    fn it_is_bounded() {
        for (steps, kept) in [(0, 1), (1, 1), (5, 5)] {
            let explainer = Explainer::new(Some(&ExplainConfig { steps, ..ExplainConfig::default() }));
            (0..100).for_each(|version| note(&explainer, ("n", "a"), &version.to_string()));
            let newest: Vec<_> = (100 - kept..100).map(|version| version.to_string()).collect();
            assert_eq!(versions(&explainer, "n", "a"), newest);
            explainer.note_all(&ResourceVersion::new("100"), || What::Replaced(0));
            assert_eq!(versions(&explainer, "n", "b"), ["100"]);
            assert_eq!(versions(&explainer, "n", "a").len(), kept);
        }
    }

    /// Goal: only what is wanted takes room.
    #[test]
    fn keys_are_chosen() {
        let wanted = [
            (ExplainKeys::All, [1, 1, 1]),
            (ExplainKeys::Namespace("n".to_owned()), [1, 1, 0]),
            (ExplainKeys::These([ObjectKey::new("n", "b"), ObjectKey::new("", "a")].into()), [0, 1, 1]),
        ];
        for (keys, expected) in wanted {
            let explainer = Explainer::new(Some(&ExplainConfig { keys, ..ExplainConfig::default() }));
            let all = [("n", "a"), ("n", "b"), ("", "a")];
            all.iter().for_each(|key| note(&explainer, *key, "1"));
            assert_eq!(all.map(|(namespace, name)| versions(&explainer, namespace, name).len()), expected);
        }
    }

    /// Goal: an odd uid takes no more room than a usual one, and one that is off makes nothing.
    #[test]
    fn uids_are_cut_and_off_is_off() {
        let explainer = Explainer::new(Some(&ExplainConfig::default()));
        explainer.note(("n", "a"), &"é".repeat(500), "1", || What::Pushed);
        assert_eq!(explainer.of(&ObjectKey::new("n", "a"))[0].uid.chars().count(), UID_LENGTH);
        let off = Explainer::default();
        off.note(("n", "a"), "u", "1", || unreachable!("nobody wants to know"));
        assert!(!off.is_on() && off.of(&ObjectKey::new("n", "a")).is_empty());
    }
}
