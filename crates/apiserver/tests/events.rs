//! Goal: the Events of the two groups are one thing. Method: what is done through one is looked at through the other; what
//! each answers to the letter is compared with a real server's elsewhere.
#![allow(clippy::disallowed_methods)]

mod common;

use common::{Watch, get, names, send, server, version};
use serde_json::{Value, json};

const CORE: &str = "/api/v1/namespaces/default/events";
const NEW: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn core(name: &str) -> Value {
    json!({
        "metadata": { "name": name }, "involvedObject": { "namespace": "default", "name": "p" }, "message": "told",
        "source": { "component": "kubelet" }, "count": 3,
    })
}

fn new(name: &str) -> Value {
    json!({
        "metadata": { "name": name }, "regarding": { "namespace": "default", "name": "q" }, "note": "noted",
        "reportingController": "example.com/c", "reportingInstance": "c-1", "action": "Stop", "reason": "Stopped",
        "type": "Normal", "eventTime": "2026-01-02T03:04:05.000006Z",
    })
}

#[tokio::test(start_paused = true)]
async fn each_group_sees_what_the_other_writes_under_its_own_names() {
    let server = server();
    let before = server.version();
    let (_, old) = send(&server, "POST", CORE, core("old")).await;
    let (_, young) = send(&server, "POST", NEW, new("young")).await;
    assert_eq!(server.version(), before + 2, "one write each");
    let (_, seen) = get(&server, &format!("{NEW}/old")).await;
    assert_eq!(seen["metadata"], old["metadata"]);
    assert_eq!((&seen["note"], &seen["deprecatedCount"]), (&json!("told"), &json!(3)));
    assert_eq!((&seen["regarding"]["name"], seen.get("message")), (&json!("p"), None));
    let (_, seen) = get(&server, &format!("{CORE}/young")).await;
    assert_eq!(seen["metadata"], young["metadata"]);
    assert_eq!((&seen["message"], &seen["reportingComponent"]), (&json!("noted"), &json!("example.com/c")));
    for (group, selector, found) in [
        (CORE, "involvedObject.name%3Dq", vec!["young"]),
        (NEW, "regarding.name%3Dp", vec!["old"]),
        (CORE, "source%3Dexample.com/c", vec!["young"]),
        (NEW, "metadata.name!%3Dold", vec!["young"]),
    ] {
        assert_eq!(names(&get(&server, &format!("{group}?fieldSelector={selector}")).await.1), found, "{selector}");
    }
    // Back and forth nothing is lost.
    let (_, shown) = get(&server, &format!("{NEW}/old")).await;
    let (code, put) = send(&server, "PUT", &format!("{NEW}/old"), shown.clone()).await;
    assert_eq!((code, &put), (200, &shown), "an update that changes nothing writes nothing");
    assert_eq!(get(&server, &format!("{CORE}/old")).await.1, old);
}

#[tokio::test(start_paused = true)]
async fn watchers_of_both_groups_see_every_change_once() {
    let server = server();
    let begin = server.version();
    let path = |group: &str| format!("{group}?watch=1&resourceVersion={begin}&timeoutSeconds=1000");
    let mut all = Watch::start(&server, &path(CORE)).await;
    let mut shown = Watch::start(&server, &path(NEW)).await;
    let mut selected = Watch::start(&server, &format!("{}&fieldSelector=regarding.name%3Dq", path(NEW))).await;
    send(&server, "POST", NEW, new("young")).await;
    send(&server, "POST", CORE, core("old")).await;
    let moved = json!({ "involvedObject": { "name": "q" } });
    assert_eq!(send(&server, "PATCH", &format!("{CORE}/old"), moved).await.0, 200);
    let refused = send(&server, "PATCH", &format!("{NEW}/old"), json!({ "regarding": { "name": "p" } })).await.1;
    assert_eq!(refused["details"]["causes"][0]["field"], "involvedObject");
    assert_eq!(send(&server, "DELETE", &format!("{NEW}/old"), Value::Null).await.0, 200);
    assert_eq!(names(&send(&server, "DELETE", CORE, Value::Null).await.1), ["young"]);
    let at = |offset: u64| begin + offset;
    let expected = [
        format!("ADDED young {}", at(1)),
        format!("ADDED old {}", at(2)),
        format!("MODIFIED old {}", at(3)),
        format!("DELETED old {}", at(4)),
        format!("DELETED young {}", at(5)),
    ];
    assert_eq!(all.take(5).await, expected);
    for line in &expected {
        let event = shown.next().await.expect("goes on");
        let object = &event["object"];
        assert_eq!(object["apiVersion"], "events.k8s.io/v1");
        assert!(object["note"].is_string() && object.get("message").is_none(), "{object}");
        let (kind, name) =
            (event["type"].as_str().expect("a type"), object["metadata"]["name"].as_str().expect("a name"));
        assert_eq!(format!("{kind} {name} {}", version(object)), *line);
    }
    let entered = [&expected[0], &format!("ADDED old {}", at(3)), &expected[3], &expected[4]].map(String::clone);
    assert_eq!(selected.take(4).await, entered);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_a_namespace_and_a_compaction_are_of_both() {
    let server = server();
    send(&server, "POST", NEW, new("young")).await;
    let snapshot = server.snapshot();
    send(&server, "DELETE", &format!("{CORE}/young"), Value::Null).await;
    server.restore(&snapshot);
    assert_eq!(get(&server, &format!("{CORE}/young")).await.0, 200);
    send(&server, "POST", "/api/v1/namespaces", json!({ "metadata": { "name": "gone" } })).await;
    let mut object = new("a");
    object["regarding"]["namespace"] = json!("gone");
    let path = NEW.replace("default", "gone");
    assert_eq!(send(&server, "POST", &path, object).await.0, 201);
    send(&server, "DELETE", "/api/v1/namespaces/gone", Value::Null).await;
    assert_eq!(get(&server, "/api/v1/namespaces/gone").await.0, 404);
    assert!(names(&get(&server, &path).await.1).is_empty());
    let old = server.version();
    send(&server, "POST", CORE, core("b")).await;
    server.compact(server.version());
    for group in [CORE, NEW] {
        let (code, _) = get(&server, &format!("{group}?resourceVersion={old}&resourceVersionMatch=Exact")).await;
        assert_eq!(code, 410, "{group}");
    }
}

/// A member that only the other group has is unknown, as in upstream's types: it doesn't come out as what it isn't.
#[tokio::test(start_paused = true)]
async fn members_of_the_other_group_do_not_cross() {
    let server = server();
    let mut object = core("a");
    object["note"] = json!("no note");
    send(&server, "POST", CORE, object).await;
    let (_, shown) = get(&server, &format!("{NEW}/a")).await;
    assert_eq!(shown["note"], "told");
}
