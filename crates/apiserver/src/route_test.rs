//! Goal: every path form leads to its target, everything else nowhere; parameters are read as upstream reads them.
//! Method: tables.

use super::*;
use crate::kinds::kind;

fn shown(path: &str) -> Option<String> {
    let target = target(path)?;
    let below = target.subresource.map(|subresource| format!(" {}", subresource.name())).unwrap_or_default();
    let name = target.name.as_deref().unwrap_or("*");
    Some(format!("{} {}/{name}{below}", kind(target.kind).plural, target.namespace))
}

#[test]
fn paths_lead_to_targets() {
    let rows = [
        ("/api/v1/pods", Some("pods /*")),
        ("/api/v1/namespaces/a/pods", Some("pods a/*")),
        ("/api/v1/namespaces/a/pods/", Some("pods a/*")),
        ("/api/v1/namespaces/a/pods/b", Some("pods a/b")),
        ("/api/v1/namespaces/a/pods/b/status", Some("pods a/b status")),
        ("/api/v1/namespaces", Some("namespaces /*")),
        ("/api/v1/namespaces/a", Some("namespaces /a")),
        ("/api/v1/namespaces/a/status", Some("namespaces /a status")),
        ("/api/v1/namespaces/a/finalize", Some("namespaces /a finalize")),
        ("/api/v1/namespaces/a/pods/b/binding", Some("pods a/b binding")),
        ("/api/v1/nodes/a/finalize", None),
        ("/apis/coordination.k8s.io/v1beta1/leasecandidates", Some("leasecandidates /*")),
        ("/apis/coordination.k8s.io/v1beta1/leases", None),
        ("/api/v1/nodes/n%2D1", Some("nodes /n-1")),
        ("/apis/coordination.k8s.io/v1/namespaces/a/leases/b", Some("leases a/b")),
        ("/apis/events.k8s.io/v1/events", Some("events /*")),
        ("/api/v1/pods/b", None),
        ("/api/v1/namespaces/a/nodes", None),
        ("/api/v1/namespaces/a/pods/b/log", None),
        ("/api/v1/namespaces/a/pods/b/status/c", None),
        ("/api/v2/pods", None),
        ("/api/v1/leases", None),
        ("/api", None),
        ("/", None),
        ("/api/v1/nodes/%ff", None),
    ];
    for (path, expected) in rows {
        assert_eq!(shown(path).as_deref(), expected, "{path}");
    }
}

#[test]
fn go_durations_are_read_as_go_does() {
    let rows = [
        ("0", Some(0)),
        ("1500ms", Some(1500)),
        ("2s", Some(2000)),
        ("1m30s", Some(90_000)),
        ("1.5h", Some(5_400_000)),
        ("+1s", Some(1000)),
        (".5s", Some(500)),
        ("1000000us", Some(1000)),
        ("5", None),
        ("-1s", None),
        ("", None),
        ("s", None),
        ("1x", None),
        ("1e400s", None),
        ("99999999999999999999h", None),
    ];
    for (text, millis) in rows {
        assert_eq!(go_duration(text).ok(), millis.map(Duration::from_millis), "{text:?}");
    }
}

#[test]
fn flags_are_true_unless_they_say_no() {
    let query = Query::parse(Some("a=true&b=1&c=0&d=False&e=&f=x%20y+z"));
    let flags: Vec<Option<bool>> = ["a", "b", "c", "d", "e", "g"].iter().map(|name| query.flag(name)).collect();
    assert_eq!(flags, [Some(true), Some(true), Some(false), Some(false), Some(true), None]);
    assert_eq!(query.text("f"), "x y z");
}
