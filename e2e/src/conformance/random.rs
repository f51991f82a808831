//! Random scripts: what nobody thought of writing down.
//!
//! In: a seed. Out: a scenario of 10 to 40 random requests, always the same for one seed, whose answers are certain whatever
//! else happens at the server outside its namespace. It works on ConfigMaps and Leases of five names, so that requests meet
//! each other's objects, and never waits for silence: each watch is read up to a marker, a change made to be seen by it.
//!
//! What makes the answers certain:
//! * A read that may be answered from the past comes after a list of the newest state, for which a server waits until its
//!   cache has caught up.
//! * The versions of lists are used for reads only: another namespace may have moved them on.
//! * A value that an answer may lack has a fallback, so a refused request doesn't end the script.
//!
//! Left out, because it is known to differ or can't be certain:
//! * bodies that are no JSON or of a wrong type, and media types other than JSON: see the list of explained scenarios
//! * the propagation policies Foreground and Orphan and their finalizers: nobody collects garbage in the real control plane
//!   of these tests, while the embedded server does it at once
//! * versions not reached yet: each costs three seconds, and the named scenarios have them
//! * a dry run of a PUT with a version that would create a Lease: the real server's answer shows the version that was sent
//! * a dry run of a PUT with a uid: if that is wrong, the text has storage's key without its prefix
//! * bookmarks but the one after the initial events: they come when a server likes
//! * watches that end by a timeout: the named scenarios have these too

mod reads;
mod writes;

use fastrand::Rng;
use serde_json::{Value, json};

use super::step::{Scenario, Step};

const VERSION: &str = "/metadata/resourceVersion";
/// The kinds; scripts speak of them by their index.
const COLLECTIONS: [&str; 2] =
    ["/api/v1/namespaces/{ns}/configmaps", "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"];
const TYPES: [(&str, &str); 2] = [("v1", "ConfigMap"), ("coordination.k8s.io/v1", "Lease")];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// The object that is changed to be seen by a watch, unless the watch sees one name only.
const MARKER: &str = "m";
/// The watches from the beginning, of all there is of each kind.
pub const WHOLE: [&str; 2] = ["whole-0", "whole-1"];

/// The script of a seed.
pub fn script(seed: u64) -> Scenario {
    let mut script = Script {
        random: Rng::with_seed(seed),
        steps: Scenario::new(format!("seed-{seed}")),
        versions: 0,
        states: 0,
        tokens: 0,
        markers: 0,
        settled: [false; 2],
        watches: Vec::new(),
    };
    script.begin();
    for _ in 0..script.random.usize(10..=40) {
        script.one();
    }
    script.end()
}

/// A script that is being written.
struct Script {
    random: Rng,
    steps: Scenario,
    /// Versions of objects, saved as v0, v1 and so on.
    versions: usize,
    /// Versions of lists, saved as s0, s1 and so on.
    states: usize,
    /// Continue tokens, saved as t0, t1 and so on.
    tokens: usize,
    markers: usize,
    /// By kind: nothing was written since the newest state was read.
    settled: [bool; 2],
    watches: Vec<Opened>,
}

/// A watch, and a change that it sees.
#[derive(Clone)]
struct Opened {
    name: String,
    kind: usize,
    marked: &'static str,
    labels: Value,
}

impl Script {
    /// An object, the first version, and a watch of each kind from there.
    fn begin(&mut self) {
        let object = self.object(0, MARKER);
        self.write("POST", COLLECTIONS[0], &[], &object);
        self.save("v0", VERSION, None);
        self.versions = 1;
        for (kind, name) in WHOLE.into_iter().enumerate() {
            let path = format!("{}?watch=1&resourceVersion={{v0}}", COLLECTIONS[kind]);
            self.steps.steps.push(Step::Watch { name: name.to_owned(), path, headers: Vec::new() });
            self.watches.push(Opened { name: name.to_owned(), kind, marked: MARKER, labels: json!({}) });
        }
    }

    /// One random request, with what belongs to it.
    fn one(&mut self) {
        type Write = fn(&mut Script);
        const WEIGHTS: [(u32, Write); 11] = [
            (18, Script::create),
            (12, Script::put),
            (12, Script::merge_patch),
            (8, Script::json_patch),
            (6, Script::release),
            (10, Script::delete),
            (3, Script::delete_collection),
            (8, Script::get),
            (14, Script::list),
            (6, Script::open),
            (3, Script::drain_one),
        ];
        let all: u32 = WEIGHTS.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.random.u32(..all);
        for (weight, write) in WEIGHTS {
            if drawn < weight {
                return write(self);
            }
            drawn -= weight;
        }
    }

    /// Reads all watches to a marker, those of everything last, and then what there is.
    fn end(mut self) -> Scenario {
        let watches = std::mem::take(&mut self.watches);
        watches.iter().rev().for_each(|watch| self.drain(watch));
        COLLECTIONS.iter().for_each(|collection| self.read(*collection));
        self.steps
    }

    fn ask(&mut self, method: &'static str, path: String, headers: &[(&'static str, &str)], body: String) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.steps.steps.push(Step::Ask { method, path, headers, body });
    }

    fn read(&mut self, path: impl Into<String>) {
        self.ask("GET", path.into(), &[], String::new());
    }

    fn write(&mut self, method: &'static str, path: impl Into<String>, headers: &[(&'static str, &str)], body: &Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path.into(), headers, body);
        self.settled = [false; 2];
    }

    fn save(&mut self, name: impl Into<String>, pointer: &'static str, fallback: Option<&str>) {
        self.steps.steps.push(Step::Save { name: name.into(), pointer, fallback: fallback.map(str::to_owned) });
    }

    fn kind(&mut self) -> usize {
        usize::from(self.random.u8(..3) == 0)
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.random.usize(..choices.len())].clone()
    }

    /// True so many times in a hundred.
    fn percent(&mut self, chance: u8) -> bool {
        self.random.u8(..100) < chance
    }

    /// A version of an object seen before.
    fn version(&mut self) -> String {
        format!("{{v{}}}", self.random.usize(..self.versions))
    }
}

/// Path of an object.
fn one(kind: usize, name: &str) -> String {
    format!("{}/{name}", COLLECTIONS[kind])
}

#[cfg(test)]
mod tests {
    //! Goal: a seed names a script, and scripts are of the size and the mix promised. Method: counts over 300 seeds.

    use super::*;

    #[test]
    fn a_seed_names_a_script_and_all_kinds_of_steps_come() {
        let mut texts = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let text = script(seed).to_string();
            assert_eq!(text, script(seed).to_string());
            assert!(text.lines().count() >= 20, "{text}");
            texts.insert(text);
        }
        assert_eq!(texts.len(), 300);
        let all = texts.into_iter().collect::<String>();
        for part in [
            "POST",
            "PUT",
            "json-patch+json",
            "\"finalizers\":null",
            "DELETE",
            "preconditions",
            "dryRun=All",
            "limit=",
            "continue={t",
            "resourceVersionMatch=Exact",
            "resourceVersion=0",
            "sendInitialEvents=true",
            "labelSelector=",
            "fieldSelector=",
            "allowWatchBookmarks",
        ] {
            assert!(all.matches(part).count() >= 30, "{part}: {}", all.matches(part).count());
        }
    }
}
