//! Goal: every row of the list table (resourceVersion, resourceVersionMatch, limit, continue) is answered as documented
//! upstream. Method: requests by hand against the service, paused time.
#![allow(clippy::disallowed_methods)]

mod common;

use common::{ALL_LEASES, LEASES, create, get, names, send, server, server_with, version};
use serde_json::{Value, json};

/// Five leases, a to e; the versions of their creation.
async fn five(server: &watchkeeper_apiserver::ApiServer) -> Vec<u64> {
    let mut versions = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        versions.push(create(server, name, json!({ "half": if name < "c" { "first" } else { "second" } })).await);
    }
    versions
}

#[tokio::test(start_paused = true)]
async fn reads_are_answered_at_the_version_they_ask_for() {
    let server = server();
    let versions = five(&server).await;
    let present = server.version();
    send(&server, "DELETE", &format!("{LEASES}/a"), Value::Null).await;
    let newest = server.version();
    assert_eq!(newest, present + 1);
    let now = ["b", "c", "d", "e"].as_slice();
    let third = versions[2];
    let rows: [(String, &[&str], u64); 9] = [
        (String::new(), now, newest),
        ("?resourceVersion=0".into(), now, newest),
        ("?resourceVersion=0&resourceVersionMatch=NotOlderThan".into(), now, newest),
        // "Any age" ignores the limit.
        ("?resourceVersion=0&limit=2".into(), now, newest),
        (format!("?resourceVersion={third}"), now, newest),
        (format!("?resourceVersion={third}&resourceVersionMatch=NotOlderThan"), now, newest),
        (format!("?resourceVersion={third}&resourceVersionMatch=Exact"), &["a", "b", "c"], third),
        // A version with a limit and no match is exact, for old clients.
        (format!("?resourceVersion={third}&limit=10"), &["a", "b", "c"], third),
        (format!("?resourceVersion={present}&resourceVersionMatch=Exact"), &["a", "b", "c", "d", "e"], present),
    ];
    for (query, expected, at) in rows {
        for collection in [LEASES, ALL_LEASES] {
            let (code, list) = get(&server, &format!("{collection}{query}")).await;
            assert_eq!((code, names(&list).as_slice(), version(&list)), (200, expected, at), "{query}");
            assert_eq!(
                (list["kind"].as_str(), list["apiVersion"].as_str()),
                (Some("LeaseList"), Some("coordination.k8s.io/v1"))
            );
            assert!(list["items"].as_array().expect("items").iter().all(|item| item.get("kind").is_none()));
            assert!(list["metadata"].get("continue").is_none());
        }
    }
    let (_, empty) = get(&server, "/api/v1/pods").await;
    assert_eq!((names(&empty).len(), version(&empty)), (0, newest));
}

#[tokio::test(start_paused = true)]
async fn illegal_combinations_are_refused_with_their_causes() {
    let server = server();
    five(&server).await;
    let (_, page) = get(&server, &format!("{LEASES}?limit=1")).await;
    let token = page["metadata"]["continue"].as_str().expect("a token").to_owned();
    let rows: [(String, u16, &str); 15] = [
        ("resourceVersion=0&resourceVersionMatch=Exact".into(), 422, "is forbidden for resourceVersion \"0\""),
        ("resourceVersionMatch=Exact".into(), 422, "is forbidden unless resourceVersion is provided"),
        ("resourceVersionMatch=NotOlderThan".into(), 422, "is forbidden unless resourceVersion is provided"),
        (
            format!("resourceVersion=0&resourceVersionMatch=NotOlderThan&continue={token}"),
            422,
            "forbidden when continue is provided",
        ),
        (format!("resourceVersion=1&continue={token}"), 400, "not allowed when using continue"),
        (
            "resourceVersion=1&resourceVersionMatch=Newest".into(),
            422,
            "supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
        ("sendInitialEvents=true".into(), 422, "sendInitialEvents is forbidden for list"),
        ("resourceVersion=abc".into(), 400, "invalid resource version"),
        ("resourceVersion=-1".into(), 400, "invalid resource version"),
        ("limit=many".into(), 400, "strconv.ParseInt: parsing \"many\": invalid syntax"),
        ("continue=%25%25".into(), 400, "invalid continue token"),
        ("continue=e30".into(), 400, "invalid continue token"),
        ("labelSelector=a%20in".into(), 400, "unable to parse requirement"),
        ("fieldSelector=spec.holderIdentity%3Dx".into(), 400, "is not a known field selector"),
        ("fieldSelector=nonsense".into(), 400, "invalid selector"),
    ];
    for (query, code, text) in rows {
        let (answered, status) = get(&server, &format!("{LEASES}?{query}")).await;
        assert_eq!((answered, status["code"].as_u64()), (code, Some(u64::from(code))), "{query}: {status}");
        assert!(status["message"].as_str().expect("a message").contains(text), "{query}: {status}");
        assert_eq!(status["reason"], if code == 422 { "Invalid" } else { "BadRequest" });
        if code == 422 {
            assert_eq!(status["details"]["group"], "meta.k8s.io");
            assert!(!status["details"]["causes"].as_array().expect("causes").is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_to_come_is_waited_for_and_then_refused() {
    let server = server();
    let asked = server.version() + 1;
    let rows = [
        (format!("{LEASES}?resourceVersion={asked}"), 3),
        (format!("{LEASES}?resourceVersion={asked}&resourceVersionMatch=NotOlderThan"), 3),
        (format!("{LEASES}?resourceVersion={asked}&resourceVersionMatch=Exact"), 0),
        (format!("/api/v1/namespaces/default?resourceVersion={asked}"), 3),
    ];
    for (uri, seconds) in rows {
        let before = tokio::time::Instant::now();
        let (code, status) = get(&server, &uri).await;
        assert_eq!(code, 504, "{status}");
        assert_eq!(status["reason"], "Timeout");
        assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
        assert_eq!(status["details"]["causes"][0]["message"], "Too large resource version");
        assert_eq!(status["details"]["retryAfterSeconds"], 1);
        // Virtual time: three seconds where the answer may still come, none where storage answers.
        assert_eq!(before.elapsed().as_secs(), seconds);
    }
    // A write within the three seconds answers the waiting read.
    let uri = format!("{LEASES}?resourceVersion={}", server.version() + 1);
    let (read, _) = tokio::join!(get(&server, &uri), create(&server, "late", Value::Null));
    assert_eq!((read.0, names(&read.1)), (200, vec!["late"]));
}

#[tokio::test(start_paused = true)]
async fn pages_together_are_the_list_at_the_first_pages_version() {
    let server = server();
    five(&server).await;
    let at = server.version();
    let mut seen: Vec<String> = Vec::new();
    let mut uri = format!("{ALL_LEASES}?limit=2");
    let mut remaining = Vec::new();
    loop {
        let (code, page) = get(&server, &uri).await;
        assert_eq!((code, version(&page)), (200, at));
        seen.extend(names(&page).into_iter().map(str::to_owned));
        remaining.push(page["metadata"].get("remainingItemCount").and_then(Value::as_u64));
        // Between the pages the world goes on.
        send(&server, "DELETE", &format!("{LEASES}/d"), Value::Null).await;
        create(&server, &format!("between-{}", remaining.len()), Value::Null).await;
        let Some(token) = page["metadata"]["continue"].as_str() else { break };
        uri = format!("{ALL_LEASES}?limit=2&continue={token}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    assert_eq!(remaining, [Some(3), Some(1), None]);
    // With a selector nothing is counted, and a last page may be empty.
    let (_, page) = get(&server, &format!("{LEASES}?limit=2&labelSelector=half%3Dfirst")).await;
    assert_eq!((names(&page), page["metadata"].get("remainingItemCount")), (vec!["a", "b"], None));
    let token = page["metadata"]["continue"].as_str().expect("there are more keys");
    let (_, page) = get(&server, &format!("{LEASES}?limit=2&labelSelector=half%3Dfirst&continue={token}")).await;
    assert!(names(&page).is_empty());
}

#[tokio::test(start_paused = true)]
async fn compacted_versions_are_expired_and_a_token_can_be_exchanged() {
    let server = server();
    let versions = five(&server).await;
    let (_, page) = get(&server, &format!("{LEASES}?limit=2")).await;
    let token = page["metadata"]["continue"].as_str().expect("a token").to_owned();
    create(&server, "f", Value::Null).await;
    server.compact(server.version());
    let (code, status) =
        get(&server, &format!("{LEASES}?resourceVersion={}&resourceVersionMatch=Exact", versions[2])).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    let (code, status) = get(&server, &format!("{LEASES}?limit=2&continue={token}")).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    let fresh = status["metadata"]["continue"].as_str().expect("a new token");
    let (code, rest) = get(&server, &format!("{LEASES}?continue={fresh}")).await;
    assert_eq!((code, names(&rest), version(&rest)), (200, vec!["c", "d", "e", "f"], server.version()));
}

#[tokio::test(start_paused = true)]
async fn history_is_bounded() {
    let server = server_with(|config| config.history = 3);
    let versions = five(&server).await;
    let (code, _) = get(&server, &format!("{LEASES}?resourceVersion={}&resourceVersionMatch=Exact", versions[0])).await;
    assert_eq!(code, 410);
    let (code, list) =
        get(&server, &format!("{LEASES}?resourceVersion={}&resourceVersionMatch=Exact", versions[2])).await;
    assert_eq!((code, names(&list)), (200, vec!["a", "b", "c"]));
}

#[tokio::test(start_paused = true)]
async fn selectors_choose() {
    let server = server();
    five(&server).await;
    create(&server, "plain", Value::Null).await;
    let rows = [
        ("labelSelector=half%3Dfirst", vec!["a", "b"]),
        ("labelSelector=half!%3Dfirst", vec!["c", "d", "e", "plain"]),
        ("labelSelector=half+in+(first,second)", vec!["a", "b", "c", "d", "e"]),
        ("labelSelector=!half", vec!["plain"]),
        ("fieldSelector=metadata.name%3Dc", vec!["c"]),
        ("fieldSelector=metadata.name!%3Dc,metadata.namespace%3Ddefault", vec!["a", "b", "d", "e", "plain"]),
        ("fieldSelector=metadata.namespace%3Dother", vec![]),
        ("labelSelector=half&fieldSelector=metadata.name%3Dplain", vec![]),
    ];
    for (query, expected) in rows {
        assert_eq!(names(&get(&server, &format!("{ALL_LEASES}?{query}")).await.1), expected, "{query}");
    }
    for (name, node) in [("one", "n1"), ("two", "n2")] {
        let pod = json!({ "metadata": { "name": name }, "spec": { "nodeName": node } });
        assert_eq!(send(&server, "POST", "/api/v1/namespaces/default/pods", pod).await.0, 201);
    }
    let (_, pods) = get(&server, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2,status.phase%3DPending").await;
    assert_eq!(names(&pods), ["two"]);
    let (code, status) = get(&server, "/api/v1/pods?fieldSelector=spec.color%3Dred").await;
    assert_eq!((code, status["message"].as_str()), (400, Some("field label not supported: spec.color")));
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_complete_json() {
    let server = server();
    for number in 0..1000 {
        create(&server, &format!("lease-{number:04}"), json!({ "padding": "x".repeat(60) })).await;
    }
    let (code, list) = get(&server, LEASES).await;
    assert_eq!((code, names(&list).len(), names(&list)[999]), (200, 1000, "lease-0999"));
}

/// Goal: what is older than the age asked for can't be read any more, and what is younger can.
#[tokio::test(start_paused = true)]
async fn versions_are_compacted_by_age() {
    let server = server_with(|config| config.compact_after = Some(std::time::Duration::from_secs(300)));
    let old = create(&server, "a", Value::Null).await;
    tokio::time::sleep(std::time::Duration::from_secs(200)).await;
    let young = create(&server, "b", Value::Null).await;
    let exact = |version: u64| format!("{LEASES}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(get(&server, &exact(old)).await.0, 200);
    tokio::time::sleep(std::time::Duration::from_secs(150)).await;
    create(&server, "c", Value::Null).await;
    assert_eq!((get(&server, &exact(old - 1)).await.0, get(&server, &exact(young)).await.0), (410, 200));
}
