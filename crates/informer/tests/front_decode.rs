//! The decoder: identity without decoding, managedFields cut out exactly, faults without content.

use k8s_openapi::api::core::v1::ConfigMap;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use watchkeeper_informer::decode::{DecodeFault, Decoder, DecoderConfig, EventType, bookmark, identity, watch_frame};
use watchkeeper_informer::frame::{FrameError, FrameLimits, WatchSplitter};

fn decode(item: &str) -> Result<ConfigMap, DecodeFault> {
    decode_as(DecoderConfig::default(), item)
}

/// Where an item doesn't say who it is, the decoder has nothing to say about that.
fn decode_as<K: DeserializeOwned + Clone>(config: DecoderConfig, item: &str) -> Result<K, DecodeFault> {
    let known = identity(br#"{"metadata":{"name":"a","resourceVersion":"5"}}"#).expect("an identity");
    Decoder::<K>::new(config).object(item.as_bytes(), &known).map(|object| (*object).clone())
}

/// Goal: all four parts, wherever metadata stands, with escapes, and empty where missing.
#[test]
fn identity_of_items() {
    let item = br#"{"spec":{"metadata":{"name":"no"}},"metadata":{"labels":{"name":"no"},"name":"a\u002eb","resourceVersion":"5","uid":"u","namespace":"n"}}"#;
    let found = identity(item).unwrap();
    assert_eq!((&*found.namespace, &*found.name, &*found.uid, &*found.version), ("n", "a.b", "u", "5"));
    let cluster = identity(br#"{"metadata":{"name":"x","namespace":null,"resourceVersion":"5"}}"#).unwrap();
    assert_eq!((&*cluster.namespace, &*cluster.uid), ("", ""));
}

/// Goal: what can't be cached says so.
#[test]
fn nameless_items() {
    for item in [
        "{}",
        "[]",
        r#"{"metadata":[]}"#,
        r#"{"metadata":{"name":"a"}}"#,
        r#"{"metadata":{"resourceVersion":"5"}}"#,
        r#"{"metadata":{"name":7,"resourceVersion":"5"}}"#,
        r#"{"metadata":{"name":"\ud800","resourceVersion":"5"}}"#,
    ] {
        assert_eq!(identity(item.as_bytes()).unwrap_err(), DecodeFault::Identity, "{item}");
    }
}

/// Goal: only the top-level metadata's managedFields goes, wherever it stands among the members, and stays on request.
#[test]
fn managed_fields_go() {
    let fields = r#""managedFields":[{"manager":"kubectl","operation":"Apply"}]"#;
    let keep = r#""name":"a","annotations":{"managedFields":"kept"}"#;
    for metadata in
        [format!("{{{fields},{keep}}}"), format!("{{{keep} , {fields} }}"), format!(r#"{{"uid":"u",{fields},{keep}}}"#)]
    {
        let item = format!(
            r#"{{"data":{{"managedFields":"kept"}},"metadata":{metadata},"kind":"ConfigMap","apiVersion":"v1"}}"#
        );
        let object = decode(&item).unwrap();
        assert_eq!(object.metadata.managed_fields, None, "{item}");
        assert_eq!(object.metadata.annotations.unwrap()["managedFields"], "kept");
        assert_eq!(object.data.unwrap()["managedFields"], "kept");
        let object: ConfigMap = decode_as(DecoderConfig { managed_fields: true }, &item).unwrap();
        assert_eq!(object.metadata.managed_fields.as_ref().map(Vec::len), Some(1));
    }
    let alone = format!(r#"{{"metadata":{{ {fields} }}}}"#);
    assert_eq!(decode(&alone).unwrap(), ConfigMap::default());
}

/// Goal: the class of the fault, where it is, and nothing of the content in its text.
#[test]
fn faults_have_no_content() {
    let shape = decode(r#"{"metadata":{"name":"a"},"data":"canary"}"#).unwrap_err();
    assert_eq!(shape.to_string(), "its fields do not fit the type: data: a string, expected a map");
    assert!(!format!("{shape} {shape:?}").contains("canary"));
    assert_eq!(decode(r#"{"metadata":{"name":"a"},"data":{"a":canary}}"#).unwrap_err(), DecodeFault::Syntax);
    let kind = decode(r#"{"kind":"Secret","apiVersion":"v1","metadata":{}}"#).unwrap_err();
    assert_eq!(kind, DecodeFault::Shape("a string of another value, expected ConfigMap".into()));
}

/// Goal: type and object in either order; what isn't an event says what is missing.
#[test]
fn events() {
    for frame in [r#"{"type":"DELETED","object":{"a":1}}"#, r#"{ "object" : {"a":1} , "type" : "DELETED" }"#] {
        let found = watch_frame(frame.as_bytes().into()).unwrap();
        assert_eq!((found.event_type, found.object), (EventType::Deleted, &b"{\"a\":1}"[..]));
    }
    let refused = |frame: &str| watch_frame(frame.as_bytes().into()).unwrap_err().to_string();
    assert_eq!(refused(r#"{"kind":"Status","code":500}"#), "not a watch event: it has no type");
    assert_eq!(refused(r#"{"type":"RENAMED","object":{}}"#), "not a watch event: its type is unknown");
    assert_eq!(refused(r#"{"type":"ADDED"}"#), "not a watch event: it has no object");
}

/// Goal: where a quote within a number makes the cutting and the reading differ on what is text, the reading ends, and finds
/// what it finds without the cutting. It once went back to the same key for ever.
#[test]
fn quotes_where_none_belong() {
    let text = br#"{"object":[],"a":1","k":{"}"#;
    let mut splitter = WatchSplitter::new(FrameLimits::default());
    let read = splitter.push(text, |frame| watch_frame(frame).map(|_| ()));
    assert_eq!(read, Err(FrameError::NotAnEvent("it has no type")));
    assert_eq!(watch_frame(text[..].into()), Err(FrameError::NotAnEvent("it has no type")));
}

/// Goal: only the value "true" ends the initial events; a bookmark without a version is an error.
#[test]
fn bookmarks() {
    let mark = |value: &str| {
        let object = json!({"kind": "ConfigMap", "metadata": {"resourceVersion": "9", "creationTimestamp": null,
            "annotations": {"k8s.io/initial-events-end": value}}});
        bookmark(object.to_string().as_bytes()).unwrap().ends_initial_events
    };
    assert!(mark("true") && !mark("false"));
    let plain = bookmark(br#"{"metadata":{"resourceVersion":"9"}}"#).unwrap();
    assert_eq!((plain.version.as_str(), plain.ends_initial_events), ("9", false));
    assert!(bookmark(br#"{"metadata":{}}"#).is_err());
    assert!(bookmark(br#"{}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Goal: cutting managedFields out is the same as removing it from the tree.
    /// Method: serde_json's tree as the model, members in any order, compact or pretty.
    #[test]
    fn cutting_is_removing(
        order in Just(vec!["managedFields", "name", "labels", "a"]).prop_shuffle(),
        keep in 1usize..5,
        nested in any::<bool>(),
        pretty in any::<bool>(),
    ) {
        let mut metadata = serde_json::Map::new();
        for key in &order[..keep] {
            let value = if nested { json!({"managedFields": [{"x": "}]\""}], "y": []}) } else { json!([1, "\\"]) };
            metadata.insert((*key).to_owned(), value);
        }
        // Members in the shuffled order: serde_json's own map would sort them.
        let inner: Vec<_> = order[..keep].iter().map(|key| format!("\"{key}\": {}", metadata[*key])).collect();
        let separator = if pretty { ",\n    " } else { "," };
        let item = format!(r#"{{"spec":{{"managedFields":1}},"metadata":{{{}}},"z":1}}"#, inner.join(separator));
        let mut expected: Value = serde_json::from_str(&item).unwrap();
        expected["metadata"].as_object_mut().unwrap().remove("managedFields");
        prop_assert_eq!(&decode_as::<Value>(DecoderConfig::default(), &item).unwrap(), &expected);
    }
}
