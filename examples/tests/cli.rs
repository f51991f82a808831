//! Goal: the program as people meet it: what it prints, how it ends, what it says about bad input. Method: real
//! processes against loopback, each bounded by a generous deadline; a small made-up server for answers that a
//! well-behaved one would never give.
#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

mod cli {
    pub(crate) mod process;
    pub(crate) mod server;
}

use std::time::Duration;

use cli::process::{Monitor, kubeconfig, monitor};
use cli::server::{Answers, forbidden};

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let ended = monitor(&["--nonsense"]).end();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--nonsense"), "{}", ended.stderr);
}

#[test]
fn bad_durations_timings_and_identities_are_explained() {
    for (arguments, code, parts) in [
        (&["--for", "30"][..], 2, &["lacks a unit"][..]),
        (&["--embedded", "--identity", ""], 1, &["--identity", "empty"]),
        (&["--embedded", "--leader-elect-renew-deadline", "14s"], 1, &["14s", "4s", "renew deadline"]),
        (&["--embedded", "--clock-rate-error", "NaN"], 1, &["clock rate"]),
        (&["--embedded", "--for", "1s", "--trace-file", "/nowhere/at/all"], 1, &["/nowhere/at/all"]),
    ] {
        let ended = monitor(arguments).end();
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        for part in parts {
            assert!(ended.stderr.contains(part), "{arguments:?} should name {part:?}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn an_unusable_kubeconfig_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "{: not yaml").expect("writes");
    for path in ["/nowhere/kubeconfig", broken.to_str().expect("utf-8")] {
        for command in [&["list"][..], &["run"], &["simulate"]] {
            let ended = monitor(&[command, &["--kubeconfig", path]].concat()).end();
            assert_eq!(ended.code, Some(1), "{command:?}");
            assert!(ended.stderr.contains(path), "{command:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_context_is_chosen_by_name_and_a_wrong_one_is_refused_with_the_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    let text = r#"{"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1", "proxy-url": "http://first"}},
            {"name": "d", "cluster": {"server": "http://127.0.0.1:1", "proxy-url": "http://second:3128"}}],
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}},
            {"name": "two", "context": {"cluster": "d", "user": "u"}}],
        "users": [], "current-context": "one"}"#;
    std::fs::write(&path, text).expect("writes");
    let path = path.to_str().expect("utf-8");
    // What is said of a proxy shows which cluster was chosen.
    for (context, part) in [
        (&[][..], r#"the proxy "first" (its port is missing)"#),
        (&["--context", "two"], "the proxy second:3128, which"),
        (&["--context", "three"], r#"no context "three"; it has one, two"#),
    ] {
        for command in ["list", "run", "simulate"] {
            let ended = monitor(&[&[command, "--kubeconfig", path], context].concat()).end();
            assert_eq!(ended.code, Some(1), "{command} {context:?}");
            assert!(ended.stderr.contains(part), "{command} {context:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn list_gives_up_on_an_unreachable_server_and_run_keeps_trying() {
    let folder = tempfile::tempdir().expect("a folder");
    // Bound and dropped: nobody listens there.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let config = kubeconfig(folder.path(), port);
    let ended = monitor(&["list", "--kubeconfig", &config]).end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot list leases.coordination.k8s.io"), "{}", ended.stderr);

    let running = monitor(&["run", "--kubeconfig", &config, "--table-every", "1s"]);
    running.wait_for("cannot watch leases.coordination.k8s.io");
    running.signal_terminate();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let complaints = ended.stdout.matches("cannot watch leases").count();
    assert_eq!(complaints, 1, "one line per change, not per try: {}", ended.stdout);
}

#[test]
fn a_missing_permission_says_what_to_grant() {
    let server = Answers::serve(|path| if path.contains("leases") { forbidden("leases") } else { forbidden("nodes") });
    let folder = tempfile::tempdir().expect("a folder");
    let config = kubeconfig(folder.path(), server.port);
    let ended = monitor(&["list", "--kubeconfig", &config]).end();
    assert_eq!(ended.code, Some(1));
    for part in ["not allowed to list leases.coordination.k8s.io", "(403)", r#"resources: ["leases"]"#] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    let running = monitor(&["run", "--kubeconfig", &config]);
    running.wait_for("not allowed to list and watch leases.coordination.k8s.io");
    running.signal_terminate();
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn absurd_leases_are_findings_not_failures() {
    let lease = |name: &str, duration: &str| {
        format!(
            r#"{{"metadata":{{"namespace":"ns","name":"{name}","uid":"{name}","resourceVersion":"5"}},
                "spec":{{"holderIdentity":"{name}","renewTime":"2020-01-01T00:00:00.000000Z"{duration}}}}}"#
        )
    };
    let items = [
        lease("negative", r#","leaseDurationSeconds":-2147483648"#),
        lease("zero", r#","leaseDurationSeconds":0"#),
        lease("absurd", r#","leaseDurationSeconds":2147483647"#),
        lease("none", ""),
        lease("good", r#","leaseDurationSeconds":40"#),
    ]
    .join(",");
    let server = Answers::serve(move |path| {
        let items = if path.contains("leases") { items.as_str() } else { "" };
        let kind = if path.contains("leases") { "coordination.k8s.io/v1" } else { "v1" };
        let list = if path.contains("leases") { "LeaseList" } else { "NodeList" };
        (
            200,
            format!(
                r#"{{"apiVersion":"{kind}","kind":"{list}","metadata":{{"resourceVersion":"5"}},"items":[{items}]}}"#
            ),
        )
    });
    let folder = tempfile::tempdir().expect("a folder");
    let config = kubeconfig(folder.path(), server.port);
    let ended = monitor(&["list", "--kubeconfig", &config]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for part in ["-2147483648s is not positive", "0s is not positive", "2147483647s is more than a day", "none set"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert!(ended.stdout.contains("~stale") && ended.stdout.contains("estimated"), "{}", ended.stdout);

    let ended = monitor(&["list", "-o", "json", "--kubeconfig", &config]).end();
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).expect("one JSON document");
    assert_eq!(document["leases"].as_array().map(Vec::len), Some(5));
    assert_eq!(document["findings"], 4);
}

#[test]
fn the_embedded_run_shows_every_state_and_one_acting_replica() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let trace = trace.to_str().expect("utf-8");
    let ended = monitor(&["--embedded", "--for", "16s", "--table-every", "1s", "--trace-file", trace]).end();
    let out = &ended.stdout;
    assert_eq!(ended.code, Some(0), "{out}\n{}", ended.stderr);
    for word in [" fresh ", " late ", " stale ", " vacant ", "event: LeaseStale", "event: LeaseVacant", "ended cleanly"]
    {
        assert!(out.contains(word), "{word:?} is missing:\n{out}");
    }
    let mut acting = 0;
    for line in out.lines().filter(|line| line.starts_with("term: ")) {
        acting += if line.contains(" acts, epoch ") { 1 } else { -1 };
        assert!((0..=1).contains(&acting), "{out}");
    }
    assert_eq!(acting, 0, "the last term has ended:\n{out}");
    let standbys = out.lines().filter(|line| line.starts_with("standby: ") && line.ends_with(" leads")).count();
    let terms = out.lines().filter(|line| line.contains(" acts, epoch ")).count();
    assert!((2..=2 * terms).contains(&standbys), "each of the others says once a term who leads:\n{out}");
    let events: Vec<&str> = out.lines().filter(|line| line.starts_with("event: ")).collect();
    assert!(events.len() > 3, "{out}");
    let lines = std::fs::read_to_string(trace).expect("a trace");
    let whats: std::collections::BTreeSet<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a JSON line"))
        .map(|line| line["what"].as_str().unwrap_or_default().to_owned())
        .collect();
    for what in
        ["term-begin", "gate-open", "gate", "write-begin", "write-end", "worker-start", "worker-end", "gate-close"]
    {
        assert!(whats.contains(what), "{what} is missing in {whats:?}");
    }
}

#[test]
fn json_is_one_document_a_line_and_a_signal_ends_it_cleanly() {
    let running: Monitor = monitor(&["--embedded", "-o", "json", "--table-every", "500ms", "--replicas", "1"]);
    running.wait_for("\"acting\":{");
    running.signal_terminate();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in ended.stdout.lines() {
        let document: serde_json::Value = serde_json::from_str(line).expect("a JSON document");
        assert!(document["leases"].is_array() && document["changesPerSecond"].is_number(), "{line}");
    }
    assert!(Duration::from_secs(60) > ended.took, "it was asked to end long ago");
}
