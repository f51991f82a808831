//! Goal: who may do what, in upstream's words. Method: rules in a table, kube-client and requests by hand.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/faults.rs"]
mod faults;

use common::{ALL_LEASES, LEASES, create, get, send, server};
use faults::{lease, leases, outcome};
use kube_client::api::{ListParams, PostParams};
use serde_json::{Value, json};
use watchkeeper_apiserver::fault::Verb;
use watchkeeper_apiserver::{AccessRule, Effect};

#[tokio::test(start_paused = true)]
async fn a_denied_list_is_forbidden_in_upstream_words_and_then_restored() {
    let server = server();
    let rule = AccessRule {
        verbs: vec![Verb::List],
        resource: Some("leases".into()),
        namespace: Some("default".into()),
        ..AccessRule::new(Effect::Deny, "alice")
    };
    let id = server.access().add(rule).expect("added");
    let api = leases(&server, "alice");
    let failed = api.list(&ListParams::default()).await.expect_err("forbidden");
    let kube_client::Error::Api(status) = failed else { panic!("not a Status: {failed}") };
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        status.message,
        "leases.coordination.k8s.io is forbidden: User \"alice\" cannot list resource \"leases\" in API group \
         \"coordination.k8s.io\" in the namespace \"default\""
    );
    // All else, everyone else and everywhere else is open.
    api.create(&PostParams::default(), &lease("x")).await.expect("created");
    leases(&server, "bob").list(&ListParams::default()).await.expect("listed");
    assert_eq!(outcome(&server, "alice", "GET", ALL_LEASES, Value::Null).await, "200");
    assert!(server.access().remove(id) && !server.access().remove(id));
    api.list(&ListParams::default()).await.expect("restored");
}

#[tokio::test(start_paused = true)]
async fn the_text_names_what_was_asked_for() {
    let server = server();
    server.access().add(AccessRule::new(Effect::Deny, "tester")).expect("added");
    let (all, one) = ("at the cluster scope", "in the namespace \"default\"");
    let rows = [
        ("GET", ALL_LEASES.to_owned(), "", "list", all),
        ("GET", format!("{ALL_LEASES}?watch=1"), "", "watch", all),
        ("GET", format!("{ALL_LEASES}?fieldSelector=metadata.name%3Da"), " \"a\"", "list", all),
        ("GET", format!("{LEASES}/a"), " \"a\"", "get", one),
        ("POST", LEASES.to_owned(), "", "create", one),
        ("DELETE", LEASES.to_owned(), "", "deletecollection", one),
    ];
    for (method, uri, name, verb, place) in rows {
        let (code, status) = send(&server, method, &uri, Value::Null).await;
        let expected = format!(
            "leases.coordination.k8s.io{name} is forbidden: User \"tester\" cannot {verb} resource \"leases\" in API group \
             \"coordination.k8s.io\" {place}"
        );
        assert_eq!((code, status["message"].as_str()), (403, Some(expected.as_str())));
    }
    let (_, status) = send(&server, "PATCH", "/api/v1/nodes/n/status", Value::Null).await;
    assert_eq!(
        status["message"],
        "nodes \"n\" is forbidden: User \"tester\" cannot patch resource \"nodes/status\" in API group \"\" at the cluster \
         scope"
    );
    let (_, status) = get(&server, &format!("{LEASES}/a")).await;
    assert_eq!(status["details"], json!({ "name": "a", "group": "coordination.k8s.io", "kind": "leases" }));
    // Refused writes are in the record of writes, as upstream audits them.
    let refused: Vec<(u16, &str)> = server.writes().iter().map(|write| (write.code, write.verb)).collect();
    assert_eq!(refused, [(403, "create"), (403, "deletecollection"), (403, "patch")]);
    // Health and discovery are no resources.
    assert_eq!(get(&server, "/readyz").await.0, 200);
    assert!(server.faults().log()[0].ends_with("-> 403"));
}

#[tokio::test(start_paused = true)]
async fn who_is_allowed_something_is_allowed_nothing_else() {
    let server = server();
    create(&server, "a", Value::Null).await;
    let allow = AccessRule { verbs: vec![Verb::Get, Verb::List], ..AccessRule::new(Effect::Allow, "alice") };
    server.access().add(AccessRule { namespace: Some("default".into()), ..allow }).expect("added");
    server
        .access()
        .add(AccessRule { verbs: vec![Verb::List], ..AccessRule::new(Effect::Deny, "alice") })
        .expect("added");
    let one = format!("{LEASES}/a");
    let rows = [
        ("alice", "GET", one.as_str(), "200"),
        ("alice", "GET", LEASES, "403"),
        ("alice", "GET", ALL_LEASES, "403"),
        ("alice", "DELETE", one.as_str(), "403"),
        ("bob", "GET", ALL_LEASES, "200"),
        ("bob", "DELETE", one.as_str(), "200"),
    ];
    for (identity, method, uri, expected) in rows {
        assert_eq!(outcome(&server, identity, method, uri, Value::Null).await, expected, "{identity} {method} {uri}");
    }
    server.access().clear();
    assert_eq!(outcome(&server, "alice", "GET", ALL_LEASES, Value::Null).await, "200");
}
