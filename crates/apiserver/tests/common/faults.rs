//! What the tests of faults share: a server with one rule, requests of an identity, outcomes in short.
#![allow(dead_code, clippy::disallowed_methods, reason = "each test program uses a part")]

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube_client::core::ObjectMeta;
use kube_client::{Api, Client};
use serde_json::{Value, json};
use tower::ServiceExt;
use watchkeeper_apiserver::fault::{Action, Matcher, Rule, Verb};
use watchkeeper_apiserver::{ApiServer, Body};

use crate::common::request;

pub(crate) const RULE: &str = "the rule";

pub(crate) fn rule(action: Action) -> Rule {
    Rule::new(RULE, action)
}

/// A rule for some verbs.
pub(crate) fn on(verbs: &[Verb], action: Action) -> Rule {
    Rule { matcher: Matcher { verbs: verbs.to_vec(), ..Matcher::default() }, ..rule(action) }
}

pub(crate) fn add(server: &ApiServer, rule: Rule) {
    server.faults().add(rule).expect("a rule that makes sense");
}

/// How often the one rule took effect; its kind of action is counted alike.
pub(crate) fn fired(server: &ApiServer) -> u64 {
    let fired = server.faults().fired();
    assert_eq!(fired.rule(RULE), fired.total(), "{fired:?}");
    fired.total()
}

pub(crate) fn leases(server: &ApiServer, identity: &str) -> Api<Lease> {
    Api::default_namespaced(Client::new(server.service(identity), "default"))
}

pub(crate) fn lease(name: &str) -> Lease {
    Lease { metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }, ..Lease::default() }
}

pub(crate) fn named(name: &str) -> Value {
    json!({ "metadata": { "name": name } })
}

/// What a client sees of one request: `200`, `connection refused`, `no answer` (after an hour), or a code and how the body
/// broke.
pub(crate) async fn outcome(server: &ApiServer, identity: &str, method: &str, uri: &str, body: Value) -> String {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let call = server.service(identity).oneshot(request(method, uri, body));
    let hour = Duration::from_secs(3600);
    match tokio::time::timeout(hour, call).await {
        Err(_) => "no answer".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(answer)) => {
            let code = answer.status().as_str().to_owned();
            match tokio::time::timeout(hour, answer.into_body().collect()).await {
                Err(_) => format!("{code}, then silence"),
                Ok(Err(error)) => format!("{code}, then {error}"),
                Ok(Ok(_)) => code,
            }
        }
    }
}

/// The pieces of a body, and the error it ended with.
pub(crate) async fn pieces(mut body: Body) -> (Vec<Bytes>, Option<String>) {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => all.push(frame.into_data().expect("no trailers")),
            Err(error) => return (all, Some(error.to_string())),
        }
    }
    (all, None)
}
