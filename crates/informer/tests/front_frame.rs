//! The splitters against serde_json on the whole body, with chunk boundaries anywhere.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};
use watchkeeper_informer::frame::{FrameError, FrameLimits, ListEnd, ListSplitter, WatchSplitter};

fn split_list(body: &[u8], cuts: &[usize], limits: FrameLimits) -> Result<(Vec<Vec<u8>>, ListEnd), FrameError> {
    let mut splitter = ListSplitter::new(limits);
    let mut items = Vec::new();
    for chunk in pieces(body, cuts) {
        splitter.push(chunk, |item| {
            items.push(item.to_vec());
            Ok::<(), FrameError>(())
        })?;
    }
    Ok((items, splitter.finish()?))
}

fn split_watch(body: &[u8], cuts: &[usize]) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut splitter = WatchSplitter::new(FrameLimits::default());
    let mut events = Vec::new();
    for chunk in pieces(body, cuts) {
        splitter.push(chunk, |event| {
            events.push(event.bytes().to_vec());
            Ok::<(), FrameError>(())
        })?;
    }
    splitter.finish()?;
    Ok(events)
}

/// Cuts `body` at the given places (taken modulo its length).
fn pieces<'a>(body: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).chain([0, body.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("}]{[,:\"\\".to_owned()),
        Just("\\\\\"\u{1F980}\n\u{7}".to_owned()),
        proptest::collection::vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((text(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    proptest::collection::vec((text(), value()), 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// A list body with its members in the given order, compact or pretty.
fn list_body(members: &[(&str, String)], pretty: bool) -> String {
    let (open, colon, comma) = if pretty { ("{\n  ", " : ", " ,\n  ") } else { ("{", ":", ",") };
    let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\"{colon}{value}")).collect();
    format!("{open}{}}}\n", members.join(comma))
}

fn print(value: &Value, pretty: bool) -> String {
    if pretty { serde_json::to_string_pretty(value).unwrap() } else { value.to_string() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Goal: whatever the items, the chunks and the order of the members, the items and the metadata are those of the
    /// whole body. Method: serde_json on the whole as the model.
    #[test]
    fn lists(
        items in proptest::collection::vec(object(), 0..6),
        extra in value(),
        token in proptest::option::of("[a-z]{1,9}"),
        order in 0usize..24,
        pretty in any::<bool>(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let metadata = json!({"resourceVersion": "42", "continue": token, "managedFields": extra});
        let mut left = vec![
            ("kind", "\"LeaseList\"".to_owned()),
            ("items", print(&Value::from(items.clone()), pretty)),
            ("metadata", print(&metadata, pretty)),
            ("items2", print(&extra, pretty)),
        ];
        let mut order = order;
        let mut members = Vec::new();
        while !left.is_empty() {
            let at = order % left.len();
            order /= left.len();
            members.push(left.remove(at));
        }
        let body = list_body(&members, pretty);
        let (found, end) = split_list(body.as_bytes(), &cuts, FrameLimits::default()).unwrap();
        let found: Vec<Value> = found.iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
        prop_assert_eq!(end.items, items.len() as u64);
        prop_assert_eq!(found, items);
        prop_assert_eq!(end.version.as_str(), "42");
        prop_assert_eq!(end.continue_token, token);
    }

    /// Goal: the same for watch bodies, newlines or not.
    #[test]
    fn watches(
        events in proptest::collection::vec(object(), 0..6),
        newline in any::<bool>(),
        pretty in any::<bool>(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let body: String = events.iter().map(|event| print(event, pretty) + if newline { "\n" } else { "" }).collect();
        let found = split_watch(body.as_bytes(), &cuts).unwrap();
        let found: Vec<Value> = found.iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
        prop_assert_eq!(found, events);
    }

    /// Goal: no bytes at all make a splitter panic.
    #[test]
    fn noise(body in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'"'), Just(b'\\'), Just(b']'), Just(b','), Just(b':'), any::<u8>()], 0..64),
             cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        let _ = split_watch(&body, &cuts);
        let _ = split_list(&body, &cuts, FrameLimits::default());
    }
}

const LIST: &str = r#"{"kind":"LeaseList","items":[{"a":"}\"\\"},{"b":[{}]}],"metadata":{"resourceVersion":"7"}}"#;

/// Goal: every single cut gives the same items, and every truncation is noticed: a cut-off list is never taken whole.
#[test]
fn every_cut_and_every_truncation() {
    let whole = split_list(LIST.as_bytes(), &[], FrameLimits::default()).unwrap();
    assert_eq!(whole.0, [br#"{"a":"}\"\\"}"#.to_vec(), br#"{"b":[{}]}"#.to_vec()]);
    for cut in 0..LIST.len() {
        assert_eq!(split_list(LIST.as_bytes(), &[cut], FrameLimits::default()).unwrap(), whole, "cut at {cut}");
        let short = split_list(&LIST.as_bytes()[..cut], &[], FrameLimits::default());
        assert_eq!(short.unwrap_err(), FrameError::Truncated("a list"), "ended at {cut}");
    }
    let every: Vec<usize> = (0..LIST.len()).collect();
    assert_eq!(split_list(LIST.as_bytes(), &every, FrameLimits::default()).unwrap(), whole, "byte by byte");
}

/// Goal: what isn't a list says so, each case by its name.
#[test]
fn not_a_list() {
    let refused = |body: &str| split_list(body.as_bytes(), &[], FrameLimits::default()).unwrap_err().to_string();
    assert_eq!(
        refused(r#"{"kind":"Table","metadata":{"resourceVersion":"1"},"rows":[]}"#),
        "the body is not a list: it has no items"
    );
    assert_eq!(refused(r#"{"items":[],"metadata":{}}"#), "the body is not a list: it has no metadata.resourceVersion");
    assert_eq!(
        refused(r#"{"items":[],"metadata":{"resourceVersion":5}}"#),
        "the body is not a list: it has no readable metadata"
    );
    assert_eq!(
        refused(r#"{"items":[],"items":[],"metadata":{}}"#),
        "the body is not a list: it has no single member `items`"
    );
    assert_eq!(refused(r#"{"items":[1]}"#), "not what Kubernetes sends: expected an object in the items at byte 10");
    // Brackets are counted, not matched: the item is over a byte too early.
    assert_eq!(
        refused(r#"{"items":[{"a":[}]}"#),
        "not what Kubernetes sends: expected a comma or the end of the items at byte 18"
    );
    assert_eq!(refused("<html>"), "not what Kubernetes sends: expected the list object at byte 0");
    assert_eq!(
        refused(&format!("{LIST} x")),
        format!("not what Kubernetes sends: expected nothing more at byte {}", LIST.len() + 1)
    );
}

/// Goal: `items: null` is an empty list.
#[test]
fn null_items() {
    let (items, end) =
        split_list(br#"{"metadata":{"resourceVersion":"3"},"items":null}"#, &[], FrameLimits::default()).unwrap();
    assert!(items.is_empty());
    assert_eq!(end.version.as_str(), "3");
}

/// Goal: sizes are bounded exactly, also when the bytes come one by one and never end.
#[test]
fn size_limits() {
    let item = r#"{"a":"0123456789"}"#;
    let body = format!(r#"{{"items":[{item}],"metadata":{{"resourceVersion":"7"}}}}"#);
    let every: Vec<usize> = (0..body.len()).collect();
    for cuts in [&[][..], &every] {
        let limits = |item| FrameLimits { item, ..FrameLimits::default() };
        assert!(split_list(body.as_bytes(), cuts, limits(item.len())).is_ok());
        let error = split_list(body.as_bytes(), cuts, limits(item.len() - 1)).unwrap_err();
        assert_eq!(error, FrameError::TooLarge { what: "a list item", limit: item.len() - 1 });
        let small = FrameLimits { list_metadata: 10, ..FrameLimits::default() };
        let error = split_list(body.as_bytes(), cuts, small).unwrap_err();
        assert_eq!(error, FrameError::TooLarge { what: "the list's metadata", limit: 10 });
    }
}

/// Goal: a watch cut inside an event hands out the ones before it and says that one is missing.
#[test]
fn watch_cut_anywhere() {
    let body = b"{\"type\":\"ADDED\"}\n{\"type\":\"DELETED\"}\n";
    for end in 0..=body.len() {
        let complete = [16, 35].iter().filter(|&&last| end >= last).count();
        let result = split_watch(&body[..end], &[]);
        match end {
            0 | 16 | 17 | 35 | 36 => assert_eq!(result.unwrap().len(), complete, "ended at {end}"),
            _ => assert_eq!(result.unwrap_err(), FrameError::Truncated("a watch event"), "ended at {end}"),
        }
    }
    assert!(matches!(split_watch(b"garbage\n", &[]), Err(FrameError::Unexpected { offset: 0, .. })));
}
