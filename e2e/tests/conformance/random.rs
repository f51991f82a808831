//! Goal: random scripts are answered by the embedded server as by a real one, and a difference is reported as the shortest
//! script that shows it. Method: scripts of `conformance::random` played against both (feature `e2e`); without a real
//! server, scripts played against the embedded one must hold the invariants of `invariants.rs`, and a difference planted in
//! its answers must be found and shrunk.
//!
//! `WATCHKEEPER_SCRIPTS` is how many scripts are played against both, `WATCHKEEPER_SEED` the first seed.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response};
use kube_client::Client;
use kube_client::client::Body;
use serde_json::Value;
use tower::ServiceExt as _;
use watchkeeper_apiserver::{ApiServer, Config};
use watchkeeper_e2e::conformance::random::script;
use watchkeeper_e2e::conformance::{Scenario, shrink};

use crate::{difference, invariants, transcript};

/// No two namespaces are alike.
static NAMESPACES: AtomicUsize = AtomicUsize::new(1_000_000);

/// Plays a script against a server. What a script could not do is in the transcript as `failed`.
async fn played(client: &Client, scenario: &Scenario) -> Value {
    transcript(client, scenario, NAMESPACES.fetch_add(1, Ordering::Relaxed)).await
}

/// A client of an embedded server of its own.
fn embedded() -> Client {
    Client::new(ApiServer::new(Config::default()).service("admin"), "default")
}

/// The first difference between the answers of two servers. A script that neither can play is no difference.
async fn compared(real: &Client, other: &Client, scenario: &Scenario) -> Option<String> {
    let (expected, seen) = tokio::join!(played(real, scenario), played(other, scenario));
    let lost = |transcript: &Value| {
        let steps = transcript.as_array().map_or(&[][..], Vec::as_slice);
        transcript.get("failed").is_some() || steps.iter().any(|step| step["marker"] == false)
    };
    let unplayable = lost(&expected) && lost(&seen);
    if unplayable { None } else { difference(&scenario.name, &expected, &seen) }
}

/// The shortest script that still shows a difference, as text with the difference.
#[cfg(feature = "e2e")]
async fn report(scenario: Scenario, differs: impl AsyncFn(&Scenario) -> Option<String>) -> String {
    let small = shrink(scenario, async |smaller| differs(smaller).await.is_some()).await;
    let what = differs(&small).await.unwrap_or_else(|| "no difference when played once more".to_owned());
    format!("{}, shrunk to\n{small}{what}\n", small.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_scripts_hold_the_invariants() {
    for seed in 0..200 {
        let scenario = script(seed);
        let transcript = played(&embedded(), &scenario).await;
        assert!(transcript.get("failed").is_none(), "{transcript}\n{scenario}");
        let broken = invariants::broken(&scenario, &transcript);
        assert!(broken.is_empty(), "seed {seed}: {}\n{scenario}", broken.join("\n"));
    }
}

/// A server that answers one kind of request wrongly: a delete of `c` that had nothing to delete succeeds.
fn planted() -> Client {
    let service = ApiServer::new(Config::default()).service("admin");
    let altered = tower::service_fn(move |request: Request<Body>| {
        let service = service.clone();
        let hit = request.method() == Method::DELETE && request.uri().path().ends_with("/configmaps/c");
        async move {
            let mut response = service.oneshot(request).await?;
            if hit && response.status() == 404 {
                *response.status_mut() = http::StatusCode::OK;
            }
            Ok::<Response<_>, tower::BoxError>(response)
        }
    });
    Client::new(altered, "default")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_difference_is_found_and_shrunk_to_its_step() {
    let differs = async |scenario: &Scenario| compared(&embedded(), &planted(), scenario).await;
    for seed in 0..1000 {
        let scenario = script(seed);
        if differs(&scenario).await.is_none() {
            continue;
        }
        let small = shrink(scenario, async |smaller| differs(smaller).await.is_some()).await;
        let text = small.to_string();
        assert_eq!(small.steps.len(), 1, "{text}");
        assert!(text.contains("DELETE") && text.contains("/configmaps/c"), "{text}");
        return;
    }
    panic!("no script in a thousand deletes a map that isn't there");
}

#[cfg(feature = "e2e")]
#[tokio::test(flavor = "multi_thread")]
async fn random_scripts_are_answered_alike() {
    use futures::StreamExt as _;
    use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig};
    use watchkeeper_e2e::folder::Folder;

    const AT_ONCE: usize = 8;
    /// So many are shrunk; more would say the same.
    const REPORTED: usize = 3;

    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let (first, scripts) = (number("WATCHKEEPER_SEED").unwrap_or(0), number("WATCHKEEPER_SCRIPTS").unwrap_or(100));
    let folder = Folder::new().expect("a folder");
    let control_plane = ControlPlane::start(&folder, ControlPlaneConfig::default()).await.expect("a control plane");
    let real = control_plane.client(0, ADMIN).await.expect("a client");
    let differing: Vec<(Scenario, String)> = futures::stream::iter(first..first + scripts)
        .map(|seed| {
            let real = real.clone();
            async move {
                let scenario = script(seed);
                let other = embedded();
                let (expected, seen) = tokio::join!(played(&real, &scenario), played(&other, &scenario));
                let failed = || expected.get("failed").map(Value::to_string);
                let broken = || Some(invariants::broken(&scenario, &expected).join("\n"));
                let what = difference(&scenario.name, &expected, &seen).or_else(failed).or_else(broken)?;
                (!what.is_empty()).then_some((scenario, what))
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    println!("{scripts} scripts from seed {first}, {} differ", differing.len());
    differing.iter().for_each(|(_, what)| println!("{what}"));
    let mut reports = Vec::new();
    for (scenario, _) in differing.iter().take(REPORTED) {
        let differs = async |scenario: &Scenario| compared(&real, &embedded(), scenario).await;
        if differs(scenario).await.is_some() {
            reports.push(report(scenario.clone(), differs).await);
        } else {
            reports.push(format!("{}: no difference when played once more\n{scenario}", scenario.name));
        }
    }
    assert!(differing.is_empty(), "{}", reports.join("\n"));
}
