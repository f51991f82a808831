//! Goal: this reader and serde_json agree on everything but what its head says. Method: values drawn at random, written
//! compactly and with space, cut and mutated; types of all shapes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::*;

/// Reads with or without managed fields, wherever they are.
fn read<K: DeserializeOwned>(bytes: &[u8], kept: bool) -> Result<K, DecodeFault> {
    super::read(bytes, if kept { ManagedFields::Kept } else { ManagedFields::LeftOut(0..0) })
}

fn value(bytes: &[u8]) -> Result<Value, DecodeFault> {
    read(bytes, true)
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z]{0,40}",
        Just("\u{0}\u{1f}\"\\/\u{8}\u{c}\n\r\t\u{2028}".to_owned()),
        Just("𝄞 and é".repeat(5)),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any_text(), inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

/// Every shape that serde has a word for.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Everything {
    flag: bool,
    small: i8,
    natural: Option<u64>,
    whole: i128,
    real: f64,
    text: String,
    letter: Option<char>,
    list: Vec<Everything>,
    pair: Option<(u8, String)>,
    map: BTreeMap<String, Option<i32>>,
    choice: Choice,
    wrapped: Option<Wrapped>,
    unit: (),
    anything: Value,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
enum Choice {
    #[default]
    Nothing,
    One(u16),
    Two(u16, String),
    Named {
        a: Option<String>,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(Vec<String>);

/// serde_json's real numbers may be off by a little, the smallest by a few of the least steps there are: it isn't asked to read them
/// exactly.
fn alike(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| alike(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let members = ours.iter().zip(theirs);
            ours.len() == theirs.len()
                && members.into_iter().all(|(ours, theirs)| ours.0 == theirs.0 && alike(ours.1, theirs.1))
        }
        (Value::Number(ours), Value::Number(theirs)) => {
            let (real, other) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
            let little = (real.abs() * 1e-15).max(4.0 * f64::from_bits(1));
            ours == theirs || ours.is_f64() && theirs.is_f64() && (real - other).abs() <= little
        }
        _ => ours == theirs,
    }
}

fn same<T: Serialize>(ours: Result<T, DecodeFault>, theirs: serde_json::Result<T>) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => alike(&serde_json::to_value(ours).unwrap(), &serde_json::to_value(theirs).unwrap()),
        (ours, theirs) => ours.is_err() && theirs.is_err(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_read(value in any_value()) {
        for text in [serde_json::to_vec(&value).unwrap(), serde_json::to_vec_pretty(&value).unwrap()] {
            let (ours, theirs) = (super::tests::value(&text).unwrap(), serde_json::from_slice(&text).unwrap());
            prop_assert!(alike(&ours, &theirs), "{ours}");
        }
    }

    /// Whatever is done to the bytes, both read the same or both refuse. Values that are kept whole show everything.
    #[test]
    fn what_is_no_json_is_refused(value in any_value(), cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4)) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        for (at, byte, how) in cuts {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            let byte = if byte < 128 { byte } else { b"\"\\{}[],:0-9.eEu "[usize::from(byte % 16)] };
            match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                _ => if let Some(there) = bytes.get_mut(at) { *there = byte },
            }
        }
        let (ours, theirs) = (super::tests::value(&bytes), serde_json::from_slice::<Value>(&bytes));
        let report = format!("{:?}: {ours:?}, {theirs:?}", String::from_utf8_lossy(&bytes));
        prop_assert!(same(ours, theirs), "{report}");
    }

    /// Members drawn for a type that has most shapes: the same value, or both refuse.
    #[test]
    fn types_fit_alike(members in prop::collection::btree_map("flag|small|natural|whole|real|text|letter|list|pair|map|choice|wrapped|unit|other", any_value(), 0..5)) {
        let text = serde_json::to_vec(&members).unwrap();
        let (ours, theirs) = (read::<Everything>(&text, true), serde_json::from_slice::<Everything>(&text));
        let report = format!("{ours:?}, {theirs:?}");
        prop_assert!(same(ours, theirs), "{report}");
    }
}

#[test]
fn enums_are_texts_or_single_members() {
    for choice in [Choice::Nothing, Choice::One(7), Choice::Two(1, "é\n".into()), Choice::Named { a: Some("x".into()) }]
    {
        let text = serde_json::to_vec(&json!({ "choice": choice })).unwrap();
        assert_eq!(read::<Everything>(&text, true).unwrap().choice, choice);
    }
    for bad in [r#"{"choice":{"One":1,"Two":2}}"#, r#"{"choice":{}}"#, r#"{"choice":"One"}"#, r#"{"choice":7}"#] {
        assert!(read::<Everything>(bad.as_bytes(), true).is_err(), "{bad}");
        assert!(serde_json::from_str::<Everything>(bad).is_err(), "{bad}");
    }
}

/// Goal: the managed fields of the object's own metadata are left out, and nothing else of that name.
#[test]
fn only_the_own_managed_fields_are_left_out() {
    let text = br#"{"metadata":{"managedFields":[{"a":"]"}],"name":"n","managedFields":null},"managedFields":1,
        "spec":{"metadata":{"managedFields":2},"managedFields":3},"template":{"metadata":{"managedFields":4}}}"#;
    let left_out = read::<Value>(text, false).unwrap();
    let expected = json!({"metadata": {"name": "n"}, "managedFields": 1,
        "spec": {"metadata": {"managedFields": 2}, "managedFields": 3}, "template": {"metadata": {"managedFields": 4}}});
    assert_eq!(left_out, expected);
    assert_eq!(read::<Value>(text, true).unwrap()["metadata"]["managedFields"], Value::Null);
    let pod = br#"{"metadata":{"managedFields":[{"manager":"m"}]}}"#;
    assert_eq!(read::<Pod>(pod, false).unwrap().metadata.managed_fields, None);
    assert_eq!(read::<Pod>(pod, true).unwrap().metadata.managed_fields.map(|fields| fields.len()), Some(1));
}

/// Goal: what is passed over may be as deep as the frame may be, what is built may not.
#[test]
fn depth() {
    let deep =
        |levels: usize| format!(r#"{{"metadata":{{"name":"n"}},"odd":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let pod: Pod = read(deep(9_990).as_bytes(), false).unwrap();
    assert_eq!(pod.metadata.name.as_deref(), Some("n"));
    assert!(read::<Value>(deep(127).as_bytes(), false).is_ok());
    assert_eq!(read::<Value>(deep(128).as_bytes(), false), Err(DecodeFault::TooDeep));
    assert_eq!(read::<Value>(deep(9_990).as_bytes(), false), Err(DecodeFault::TooDeep));
}

/// Goal: a vector holds no room to grow.
#[test]
fn vectors_are_as_long_as_they_need_to_be() {
    for count in [0, 1, 2, 3, 5, 9, 100] {
        let list: Vec<String> = (0..count).map(|number| format!("[,\"{number}")).collect();
        let text = serde_json::to_vec_pretty(&json!({ "list": list, "nested": [[1, 2], {"a": [3, 4, 5]}] })).unwrap();
        let read: BTreeMap<String, Vec<Value>> = read(&text, true).unwrap();
        assert_eq!((read["list"].len(), read["list"].capacity()), (count, count));
        assert_eq!((read["nested"].len(), read["nested"].capacity()), (2, 2));
    }
}

/// Goal: what doesn't fit is found again by its path, and none of the values is quoted. Method: one fault of each kind, behind
/// fields that are fine, behind managed fields that are left out, with escapes.
#[test]
fn misfits_name_the_place_and_no_value() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        replicas: i32,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outer {
        #[serde(default)]
        metadata: Value,
        #[serde(default)]
        spec: Option<Strict>,
        #[serde(default)]
        list: Vec<BTreeMap<String, Choice>>,
        #[serde(default)]
        address: Option<std::net::IpAddr>,
        #[serde(default)]
        pair: Option<(u8, u8)>,
    }
    let misfit = |rest: &str| {
        let item = format!(r#"{{"metadata":{{"managedFields":[{{"a":1}}],"name":"canary"}},{rest}}}"#);
        match read::<Outer>(item.as_bytes(), false) {
            Err(DecodeFault::Shape(misfit)) => misfit.into_string(),
            other => panic!("{other:?}"),
        }
    };
    for (rest, expected) in [
        (r#""spec":{"replicas":"canary"}"#, "spec.replicas: a string, expected i32"),
        (r#""spec":{"replicas":31415926535}"#, "spec.replicas: an integer of another value, expected i32"),
        (r#""spec":{}"#, "spec: the field replicas is missing"),
        (r#""spec":{"replicas":1,"replicas":2}"#, "spec.replicas: the field replicas is there twice"),
        (r#""spec":{"replicas":1,"extra":"canary"}"#, "spec.extra: an unknown field"),
        (r#""spec":[true]"#, "spec[0]: a boolean, expected i32"),
        (
            r#""list":[{"a":"Nothing"},{"a":"Nothing","b\"":"canary"}]"#,
            r#"list[1].b\": an unknown variant, expected one of Nothing, One, Two, Named"#,
        ),
        (r#""list":[{},3]"#, "list[1]: an integer, expected a map"),
        (r#""address":"canary""#, "address: a value that the type refuses"),
        (r#""pair":[1]"#, "pair: a wrong length, expected a tuple of size 2"),
        (r#""pair":[1,2,3]"#, "pair: more than the type takes"),
        (r#""list":[{"a":{"Named":{"a":5}}}]"#, "list[0].a.Named.a: an integer, expected a string"),
        (r#""list":[{"a":{"canary":1}}]"#, "list[0].a: an unknown variant, expected one of Nothing, One, Two, Named"),
        (r#""list":[{"a":7}]"#, "list[0].a: an integer, expected enum Choice"),
    ] {
        assert_eq!(misfit(rest), expected);
    }
    assert_eq!(read::<u8>(b"null", false), Err(DecodeFault::Shape("null, expected u8".into())));
    let deep = format!(r#"{{"list":[{{"{}":1}}]}}"#, "k".repeat(2_000));
    let Err(DecodeFault::Shape(bound)) = read::<Outer>(deep.as_bytes(), false) else { panic!("it fits") };
    assert!(bound.starts_with("…kkk") && bound.ends_with("kkk: an integer, expected enum Choice"), "{bound}");
    assert!(bound.chars().count() < 512);
}

/// Goal: keys that are numbers, booleans or variants in the type are read as serde_json reads them.
#[test]
fn keys_of_other_types() {
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    struct Wrapped(Option<u16>);
    fn both<K: DeserializeOwned + Ord + std::fmt::Debug>(text: &str) -> bool {
        let theirs: Option<BTreeMap<K, u8>> = serde_json::from_str(text).ok();
        assert_eq!(read::<BTreeMap<K, u8>>(text.as_bytes(), true).ok(), theirs, "{text}");
        theirs.is_some()
    }
    assert!(both::<u16>(r#"{"80":1,"443":2}"#) && both::<i64>(r#"{"-5":1,"7":2}"#) && both::<Wrapped>(r#"{"80":1}"#));
    assert!(both::<bool>(r#"{"true":1,"false":2}"#) && both::<i128>(r#"{"18446744073709551615":1}"#));
    for refused in
        [r#"{"+5":1}"#, r#"{"007":1}"#, r#"{"70000":1}"#, r#"{"":1}"#, r#"{" 5":1}"#, r#"{"5 ":1}"#, r#"{"x":1}"#]
    {
        assert!(!both::<u16>(refused) && !both::<bool>(refused));
    }
    assert_eq!(
        read::<BTreeMap<u16, u8>>(br#"{"x":1}"#, true),
        Err(DecodeFault::Shape("x: a string, expected u16".into()))
    );
}
