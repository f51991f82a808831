//! Goal: the embedded API server says what a real one says. Method: every scenario of `conformance::scenarios` is played
//! against the embedded server and compared with the golden transcripts, which are those of a real server; the same
//! scenarios against a real server (feature `e2e`) keep the golden ones true. What differs is listed with its reason, and
//! must differ.
//!
//! `WATCHKEEPER_GOLDEN=write` with the feature writes the golden files anew.
#![allow(clippy::disallowed_methods)]

mod explained;
mod invariants;
mod random;

use std::collections::BTreeMap;
use std::path::PathBuf;

use kube_client::Client;
use serde_json::{Value, json};
use watchkeeper_apiserver::{ApiServer, Config};
use watchkeeper_e2e::conformance::{Scenario, play, scenarios};
use watchkeeper_e2e::kubeconfig::create;

use explained::EXPLAINED;

fn golden_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/kubernetes-1.36.json")
}

type Transcripts = BTreeMap<String, Value>;

fn golden() -> Transcripts {
    let text = std::fs::read_to_string(golden_file()).expect("the golden file");
    serde_json::from_str(&text).expect("transcripts by name")
}

/// Plays a scenario in a namespace of its own.
async fn transcript(client: &Client, scenario: &Scenario, number: usize) -> Value {
    let namespace = format!("conformance-{number}-{}", std::process::id());
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    create(client, "/api/v1/namespaces", &object).await.expect("a namespace");
    play(scenario, client, &namespace).await.unwrap_or_else(|error| json!({ "failed": error.to_string() }))
}

/// The first difference, with what stands before it.
fn difference(name: &str, expected: &Value, seen: &Value) -> Option<String> {
    if expected == seen {
        return None;
    }
    let (Value::Array(expected), Value::Array(seen)) = (expected, seen) else {
        return Some(format!("{name}:\n  real:     {expected}\n  embedded: {seen}"));
    };
    let place =
        expected.iter().zip(seen).position(|(one, other)| one != other).unwrap_or(expected.len().min(seen.len()));
    let none = Value::Null;
    let (one, other) = (expected.get(place).unwrap_or(&none), seen.get(place).unwrap_or(&none));
    Some(format!("{name}, step {place}:\n  real:     {one}\n  embedded: {other}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_server_says_what_a_real_one_says() {
    let golden = golden();
    let scenarios = scenarios::all();
    assert!(scenarios.len() >= 100, "{}", scenarios.len());
    let client = Client::new(ApiServer::new(Config::default()).service("admin"), "default");
    let mut playing = tokio::task::JoinSet::new();
    for (number, scenario) in scenarios.into_iter().enumerate() {
        let client = client.clone();
        playing.spawn(async move { (transcript(&client, &scenario, number).await, scenario.name) });
    }
    let seen: Transcripts = playing.join_all().await.into_iter().map(|(value, name)| (name, value)).collect();
    let missing: Vec<&String> = seen.keys().filter(|name| !golden.contains_key(*name)).collect();
    assert!(missing.is_empty(), "without a golden transcript: {missing:?}");
    let explained: BTreeMap<&str, &str> = EXPLAINED.iter().copied().collect();
    let (mut differences, mut needless) = (Vec::new(), Vec::new());
    for (name, seen) in &seen {
        match (difference(name, &golden[name], seen), explained.get(name.as_str())) {
            (Some(what), None) => differences.push(what),
            (None, Some(_)) => needless.push(name),
            _ => {}
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
    assert!(needless.is_empty(), "explained, but no longer different: {needless:?}");
    let unknown: Vec<_> = explained.keys().filter(|name| !seen.contains_key(**name)).collect();
    assert!(unknown.is_empty(), "explained, but no scenario: {unknown:?}");
    println!("{} scenarios, {} of them differ for a reason", seen.len(), explained.len());
}

#[cfg(feature = "e2e")]
#[tokio::test]
async fn the_golden_transcripts_are_those_of_a_real_server() {
    use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig};
    use watchkeeper_e2e::folder::Folder;

    let folder = Folder::new().expect("a folder");
    let control_plane = ControlPlane::start(&folder, ControlPlaneConfig::default()).await.expect("a control plane");
    let client = control_plane.client(0, ADMIN).await.expect("a client");
    let mut seen = Transcripts::new();
    for (number, scenario) in scenarios::all().into_iter().enumerate() {
        seen.insert(scenario.name.clone(), transcript(&client, &scenario, number).await);
    }
    if std::env::var("WATCHKEEPER_GOLDEN").is_ok_and(|wish| wish == "write") {
        let text = serde_json::to_string_pretty(&seen).expect("JSON") + "\n";
        std::fs::write(golden_file(), text).expect("a writable folder");
        return;
    }
    let golden = golden();
    let differences: Vec<String> = seen
        .iter()
        .filter_map(|(name, seen)| difference(name, golden.get(name).unwrap_or(&Value::Null), seen))
        .collect();
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}
