//! Goal: the whole grammar of selectors is understood, and nothing else. Method: tables against one object.

use serde_json::{Map, json};

use super::*;
use crate::kinds::{KINDS, find, kind};
use crate::object::EventType;

fn object(kind: &Kind) -> Stored {
    let value = json!({
        "metadata": { "labels": { "app": "web", "example.com/tier": "front", "size": "12", "empty": "" } },
        "spec": { "nodeName": "n1", "hostNetwork": true },
    });
    let mut value: Map<_, _> = value.as_object().expect("an object").clone();
    Stored::new(kind, "space/name".into(), EventType::Added, 1, &mut value)
}

#[test]
fn label_selectors_match_as_upstream_documents() {
    let pod = kind(find("", "v1", "pods").expect("a row"));
    let object = object(pod);
    let rows = [
        ("", true),
        (" ", true),
        ("app", true),
        ("!app", false),
        ("! gone", true),
        ("app=web", true),
        ("app == web", true),
        ("app!=web", false),
        ("gone!=web", true),
        ("gone=web", false),
        ("empty=", true),
        ("empty", true),
        ("app in (db, web)", true),
        ("app in (db,)", false),
        ("app notin (db,cache)", true),
        ("gone notin (db)", true),
        ("gone in ()", false),
        ("size>11", true),
        ("size > 12", false),
        ("size<13,app", true),
        ("app>1", false),
        ("gone<1", false),
        ("example.com/tier=front,app=web", true),
        ("app=web,app=db", false),
    ];
    for (text, expected) in rows {
        let selector = Selector::parse(pod, text, "").unwrap_or_else(|failure| panic!("{text:?}: {failure:?}"));
        assert_eq!(selector.matches(&object), expected, "{text:?}");
    }
}

#[test]
fn what_is_no_label_selector_is_a_bad_request() {
    let long = "x".repeat(64);
    let rows = [
        "=", ",", "a=b=c", "a in", "a in (", "a in (b", "a in b", "a b", "!", "a>b", "(a)", "a,,b", "a,", "-a", "/a",
        "a=b c", "a=)", &long, "a!",
    ];
    for text in rows {
        let failure = Selector::parse(&KINDS[0], text, "").expect_err(text);
        assert_eq!((failure.code, failure.reason), (400, "BadRequest"), "{text:?}");
    }
}

#[test]
fn field_selectors_match_the_rows_of_the_table() {
    let pod = kind(find("", "v1", "pods").expect("a row"));
    let object = object(pod);
    let rows = [
        ("", true),
        ("metadata.name=name", true),
        ("metadata.name==name", true),
        ("metadata.name!=name", false),
        ("metadata.namespace=space,spec.nodeName=n1", true),
        ("spec.nodeName!=", true),
        ("spec.hostNetwork=true", true),
        ("spec.restartPolicy=Always", true),
        ("status.phase=", true),
        (r"spec.nodeName=a\,b", false),
        (r"spec.nodeName!=a\=b", true),
    ];
    for (text, expected) in rows {
        let selector = Selector::parse(pod, "", text).unwrap_or_else(|failure| panic!("{text:?}: {failure:?}"));
        assert_eq!(selector.matches(&object), expected, "{text:?}");
    }
    for text in ["a", "spec.color=red", "metadata.name=a=b", r"metadata.name=\x", "=x"] {
        assert_eq!(Selector::parse(pod, "", text).expect_err(text).code, 400, "{text:?}");
    }
}
