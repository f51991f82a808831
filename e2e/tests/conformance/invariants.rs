//! What must hold in the transcript of any random script, whichever server answered.
//!
//! In: a script and its transcript. Out: what doesn't hold, in words.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use watchkeeper_e2e::conformance::Scenario;
use watchkeeper_e2e::conformance::random::WHOLE;

const COLLECTIONS: [&str; 2] = ["/configmaps", "/leases"];

/// All invariants.
pub(crate) fn broken(scenario: &Scenario, transcript: &Value) -> Vec<String> {
    let said = transcript.as_array().map_or(&[][..], Vec::as_slice);
    let mut broken = Vec::new();
    if said.is_empty() {
        broken.push(format!("{} has no transcript", scenario.name));
    }
    for (kind, collection) in COLLECTIONS.into_iter().enumerate() {
        fold(said, WHOLE[kind], collection, &mut broken);
    }
    order(said, &mut broken);
    content(said, &mut broken);
    broken
}

/// The last list is what the changes from the first version on add up to.
fn fold(said: &[Value], watch: &str, collection: &str, broken: &mut Vec<String>) {
    let mut state: BTreeMap<String, Value> = BTreeMap::new();
    // The watch begins after the first object of all, which the first answer shows.
    if let Some(first) = said.first().filter(|first| first["ask"].as_str().is_some_and(|ask| ask.ends_with(collection)))
    {
        state.insert(name(&first["body"]), bare(&first["body"]));
    }
    for event in events(said, |entry| entry["watch"] == watch) {
        let object = &event["object"];
        match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => _ = state.insert(name(object), bare(object)),
            Some("DELETED") if state.remove(&name(object)).is_some() => {}
            _ => broken.push(format!("{watch}: unexpected {event}")),
        }
    }
    let is_list =
        |entry: &&Value| entry["ask"].as_str().is_some_and(|ask| ask.starts_with("GET") && ask.ends_with(collection));
    let Some(list) = said.iter().rev().find(is_list) else {
        broken.push(format!("no list of {collection}"));
        return;
    };
    let listed: Vec<Value> = items(&list["body"]).map(bare).collect();
    if listed != state.into_values().collect::<Vec<_>>() {
        broken.push(format!("{watch} doesn't add up to {}", list["body"]));
    }
}

/// Each watch of everything brings rising versions, each once.
fn order(said: &[Value], broken: &mut Vec<String>) {
    for watch in WHOLE {
        let mut last = 0;
        for event in events(said, |entry| entry["watch"] == watch) {
            let version = version(&event["object"]).unwrap_or(0);
            if version <= last {
                broken.push(format!("{watch}: version {version} after {last}"));
            }
            last = version;
        }
    }
}

/// A version of an object is the same wherever it is read.
fn content(said: &[Value], broken: &mut Vec<String>) {
    let mut known: HashMap<(String, u64), Value> = HashMap::new();
    let read = said.iter().filter(|entry| entry["ask"].as_str().is_some_and(|ask| ask.starts_with("GET")));
    let single = read.clone().map(|entry| &entry["body"]);
    let listed = read.flat_map(|entry| items(&entry["body"]));
    // What is deleted for a watch, or for its selector, is the last state with a version of the change.
    let seen = events(said, |_| true).filter(|event| event["type"] != "DELETED").map(|event| &event["object"]);
    for object in single.chain(listed).chain(seen) {
        let (Some(uid), Some(version)) = (object.pointer("/metadata/uid").and_then(Value::as_str), version(object))
        else {
            continue;
        };
        let object = bare(object);
        let before = known.entry((uid.to_owned(), version)).or_insert_with(|| object.clone());
        if *before != object {
            broken.push(format!("one version, two contents: {before} and {object}"));
        }
    }
}

fn events(said: &[Value], wanted: impl Fn(&Value) -> bool) -> impl Iterator<Item = &Value> {
    let entries = said.iter().filter(move |entry| wanted(entry));
    entries.flat_map(|entry| entry["events"].as_array().into_iter().flatten())
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// The items of lists don't say what they are.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("kind");
        members.remove("apiVersion");
    }
    object
}

/// The rank of an object's version, as transcripts have it.
fn version(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.strip_prefix("version ")?.parse().ok()
}
