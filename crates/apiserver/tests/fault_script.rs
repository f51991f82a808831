//! Goal: every action can be written in a script, a script says what is wrong with it and where, and the program serves by
//! one or ends with code 2. Method: tables of texts, every action there and back, the program itself.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use watchkeeper_apiserver::fault::{Action, Illegal, Refusal, Script};

const PROGRAM: &str = env!("CARGO_BIN_EXE_watchkeeper-apiserver");

fn every_action() -> Vec<Action> {
    let (by, jitter) = (Duration::from_millis(1500), Duration::from_micros(5));
    vec![
        Action::Refuse,
        Action::ResetBeforeHeaders,
        Action::HangBeforeHeaders,
        Action::HangAfterHeaders,
        Action::Delay { by, jitter },
        Action::DelayAnswer { by, jitter },
        Action::Bandwidth { bytes_per_second: 1 },
        Action::Truncate { after_bytes: 1 },
        Action::SplitBytes,
        Action::Merge { within: by },
        Action::Garbage { after_events: 1 },
        Action::UnknownEventType { after_events: 1 },
        Action::OtherKind { after_events: 1 },
        Action::MissingVersion { after_events: 1 },
        Action::Html { code: 502 },
        Action::EmptyBody,
        Action::ContentType { value: "text/html".into() },
        Action::CloseConnection,
        Action::Answer(Refusal { retry_after_seconds: Some(1), text: true, ..Refusal::of(429) }),
        Action::ErrorEvent { after_events: 1, status: Refusal { reason: Some("Gone".into()), ..Refusal::of(410) } },
        Action::SlowEvents { by },
        Action::Stall { after_events: 1 },
        Action::End { after_events: 1 },
        Action::DropBookmarks,
        Action::HoldInitialEnd { by: Some(by) },
        Action::HoldInitialEnd { by: None },
        Action::BareInitialEnd,
        Action::IgnoreInitialEvents,
        Action::RejectInitialEvents,
        Action::Illegal(Illegal::Duplicate { after_events: 1 }),
        Action::Illegal(Illegal::Drop { after_events: 1 }),
        Action::Illegal(Illegal::Reorder { after_events: 1 }),
        Action::Illegal(Illegal::StaleVersion { after_events: 1 }),
        Action::Illegal(Illegal::WrongType { after_events: 1 }),
        Action::ExpireContinue { with_token: true },
        Action::VersionTooLarge,
        Action::IgnoreLimit,
        Action::EmptyLastPage,
        Action::PartialPage { after_items: 1 },
        Action::Conflict,
        Action::LoseAnswer { code: 504 },
        Action::ResetAfterCommit,
        Action::ResetBeforeCommit,
        Action::Deny { code: 403, message: "no".into() },
        Action::DelayBeforeCommit { by, jitter },
        Action::Straggle { by, jitter },
        Action::Compact,
        Action::CloseWatches,
        Action::RequestsLost,
        Action::ResponsesLost,
    ]
}

/// How a script begins to say it.
fn tag(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Object(members) => {
            let (word, inner) = members.iter().next().expect("one member");
            if word == "illegal" { format!("illegal.{}", tag(inner)) } else { word.clone() }
        }
        other => unreachable!("not an action: {other}"),
    }
}

#[test]
fn every_action_goes_through_a_script_under_its_own_name() {
    let mut names = BTreeSet::new();
    for action in every_action() {
        let value = serde_json::to_value(&action).expect("encodes");
        assert_eq!(tag(&value), action.kind());
        assert_eq!(action.is_illegal(), action.kind().starts_with("illegal."));
        names.insert(action.kind().split('.').next().expect("a word").to_owned());
        let script = json!({ "rules": [{ "name": "x", "action": value }] }).to_string();
        let parsed = Script::parse(&script).expect(&script);
        assert_eq!(serde_json::to_value(parsed).expect("encodes")["rules"][0]["action"], value);
    }
    let error = serde_json::from_value::<Action>(json!("explode")).expect_err("unknown").to_string();
    let known: BTreeSet<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert_eq!(names, known, "this test knows every action there is");
}

#[test]
fn a_script_says_what_is_wrong_and_where() {
    let rows = [
        ("", "a script is an object"),
        ("[]", "a script is an object"),
        (
            r#"{"rules":[{"name":"x","action":"refuse","match":{"resource":"ConfigMap"}}]}"#,
            "rules[0]: rule \"x\": no kind here has the plural \"ConfigMap\"",
        ),
        (
            r#"{"rules":[{"name":"x","action":"refuse","match":{"group":"app"}}]}"#,
            "no kind here is of the group \"app\"",
        ),
        ("{ \"rule\": [] }", "unknown field `rule`, expected `rules` or `access` at line 1"),
        ("{\n\"rules\": [\n{ \"action\": \"refuse\" } ] }", "missing field `name` at line 3"),
        (r#"{"rules":[{"name":"x","action":"refuse","budget":{"counts":1}}]}"#, "expected `count` or `duration`"),
        (r#"{"rules":[{"name":"x","action":"refuse","match":{"verbs":["read"]}}]}"#, "expected one of `get`, `list`"),
        (
            r#"{"rules":[{"name":"x","action":"refuse","match":{"probability":2}}]}"#,
            "rules[0]: rule \"x\": probability",
        ),
        (r#"{"rules":[{"name":"x","action":"refuse","match":{"from":"soon"}}]}"#, "\"soon\" is not a duration: write"),
        (
            r#"{"rules":[{"name":"x","action":"refuse","match":{"from":5}}]}"#,
            "invalid type: integer `5`, expected a string",
        ),
        (r#"{"rules":[{"name":"x","action":"refuse","match":{"from":"9000h"}}]}"#, "longer than a year"),
        (r#"{"rules":[{"name":"x","action":{"delay":{"by":"9000h"}}}]}"#, "longer than a year"),
        (r#"{"rules":[{"name":"x","action":{"delay":{"after":"1s"}}}]}"#, "expected `by` or `jitter`"),
        (r#"{"rules":[{"name":"x","action":{"answer":{"code":99}}}]}"#, "code 99 of answer must be from 400 to 599"),
        (r#"{"rules":[{"name":"x","action":{"illegal":"lie"}}]}"#, "expected one of `duplicate`, `drop`"),
        (r#"{"rules":[{"name":"x","action":"delay"}]}"#, "column 39: this action has parameters, as in {"),
        (r#"{"rules":[{"name":"x","action":"answer"}]}"#, "this action has parameters, as in {"),
        (r#"{"rules":[{"name":"x","action":{"refuse":{}}}]}"#, "this action has no parameters: write the word alone"),
        (r#"{"access":[{"identity":"x"}]}"#, "missing field `effect`"),
        (r#"{"access":[{"effect":"forbid"}]}"#, "expected `allow` or `deny`"),
    ];
    for (text, expected) in rows {
        let error = Script::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let many = json!({ "rules": vec![json!({ "name": "x", "action": "refuse" }); 1025] });
    assert!(Script::parse(&many.to_string()).expect_err("many").to_string().contains("more than the 1024 allowed"));
}

#[test]
fn the_program_refuses_a_bad_script_with_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faults.json");
    let path = file.to_str().expect("a path");
    let rows: [(Option<Vec<u8>>, &str); 4] = [
        (None, "can't read the faults"),
        (
            Some(b"{\n \"rules\": 1 }".to_vec()),
            "expected a sequence at line 2 column 11; mend the file and start again",
        ),
        (Some(b"\xff".to_vec()), "can't read the faults"),
        (Some(vec![b' '; 1024 * 1024 + 1]), "have more than 1048576 bytes: write less"),
    ];
    for (content, expected) in rows {
        if let Some(content) = content {
            fs::write(&file, content).expect("written");
        }
        let output = Command::new(PROGRAM).args(["--faults", path]).output().expect("the program runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(expected) && errors.contains(path) && errors.lines().count() == 1, "{errors}");
        assert!(output.stdout.is_empty(), "never ready");
    }
}

/// Killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_program_serves_by_its_script() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faults.json");
    let path = "/api/v1/nodes";
    let busy = json!({ "rules": [{ "name": "busy", "match": { "verbs": ["list"] },
                                   "action": { "answer": { "code": 503, "text": true } }, "budget": { "count": 1 } }] });
    let closed = json!({ "access": [{ "effect": "deny", "identity": "bob", "resource": "nodes" }] });
    let list = "bob list /api/v1/nodes";
    let busy_log = format!("#1 {list} ! \"busy\" answer\n#1 {list} -> 503\n#2 {list} -> 200\n");
    let closed_log = format!("#1 {list} -> 403\n#2 {list} -> 403\n");
    let rows = [(busy, ["503", "200"], busy_log), (closed, ["403", "403"], closed_log)];
    for (script, codes, expected) in rows {
        fs::write(&file, script.to_string()).expect("written");
        let mut command = Command::new(PROGRAM);
        let log = folder.path().join("events");
        command.arg("--faults").arg(&file).arg("--event-log").arg(&log).stdout(Stdio::piped());
        let mut child = Running(command.spawn().expect("starts"));
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit('/').next().expect("an address").to_owned();
        for code in codes {
            let mut stream = TcpStream::connect(&address).expect("connects");
            write!(stream, "GET /as/bob{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sends");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
        }
        let lines = fs::read_to_string(&log).expect("written");
        let untimed: String =
            lines.lines().map(|line| format!("{}\n", &line[line.find('#').expect("a number")..])).collect();
        assert_eq!(untimed, expected);
        fs::remove_file(&log).expect("removed");
    }
}
