//! tools/cache, store_test.go, index_test.go, thread_safe_store_test.go, listers_test.go and object-names_test.go: the store, its
//! indexes and their readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::core::Expression;
use watchkeeper_informer::delta_fifo::{Change, Relisted, Replacement, Work};
use watchkeeper_informer::lister::{Lister, Selection};
use watchkeeper_informer::{Cached, Finality, Index, ObjectKey, StoreWriter};

use crate::pipe::at;

/// An object with values to be found under.
fn map(name: &str, version: u64, values: &[&str]) -> Arc<ConfigMap> {
    let mut map = ConfigMap::default();
    (map.metadata.name, map.metadata.uid) = (Some(name.to_owned()), Some(format!("uid-{name}")));
    (map.metadata.namespace, map.metadata.resource_version) = (Some("n".to_owned()), Some(version.to_string()));
    map.data = Some(values.iter().map(|value| ((*value).to_owned(), (*value).to_owned())).collect());
    Arc::new(map)
}

struct Store {
    writer: StoreWriter<ConfigMap>,
    by_value: Index<ConfigMap, String>,
}

impl Store {
    fn new() -> Self {
        let mut writer = StoreWriter::default();
        let by_value = writer.add_index("value", |map: &ConfigMap| map.data.clone().unwrap_or_default().into_values());
        Self { writer, by_value }
    }

    fn put(&mut self, object: Arc<ConfigMap>, version: u64) {
        self.writer.apply(Work::Changes(vec![Change::applied(object)]), at(version));
    }

    fn delete(&mut self, last: Arc<ConfigMap>, version: u64) {
        let gone = Change::Deleted { last, finality: Finality::Observed };
        self.writer.apply(Work::Changes(vec![gone]), at(version));
    }

    fn replace(&mut self, objects: impl IntoIterator<Item = Arc<ConfigMap>>, version: u64) {
        let items = objects.into_iter().map(Relisted::new).collect();
        self.writer.apply(Work::Replace(Replacement { items, version: at(version) }), at(version));
    }

    /// The names under each value.
    fn found(&self) -> BTreeMap<String, Vec<String>> {
        let names = |value: &String| sorted(self.by_value.get(value).iter().map(|map| map.name().to_owned()));
        self.by_value.values().into_iter().map(|value| (value.clone(), names(&value))).collect()
    }

    fn version(&self) -> Option<String> {
        self.writer.store().reached().version.map(|version| version.to_string())
    }
}

fn sorted(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

fn expected(found: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    found
        .iter()
        .map(|(value, names)| ((*value).to_owned(), names.iter().map(|&name| name.to_owned()).collect()))
        .collect()
}

/// TestCache: what was put is there, is replaced, is gone; a replacement leaves nothing else.
#[test]
fn cache() {
    let mut store = Store::new();
    let readers = store.writer.store();
    let version = |name: &str| readers.get(&ObjectKey::new("n", name)).map(|map| map.version().to_owned());
    store.put(map("a", 1, &[]), 1);
    assert_eq!(version("a").as_deref(), Some("1"));
    store.put(map("a", 2, &[]), 2);
    store.put(map("b", 3, &[]), 3);
    assert_eq!((version("a").as_deref(), readers.len()), (Some("2"), 2));
    store.delete(map("a", 4, &[]), 4);
    assert_eq!((version("a"), readers.len()), (None, 1));
    store.replace([map("c", 5, &[]), map("d", 6, &[])], 6);
    assert_eq!(sorted(readers.keys().iter().map(ToString::to_string)), ["n/c", "n/d"]);
    assert!(version("b").is_none() && readers.list().len() == 2);
}

/// TestIndex: under a value are the objects that have it, and under none of them nothing.
#[test]
fn index() {
    let mut store = Store::new();
    for (number, name) in (1..).zip(["a", "b"]) {
        store.put(map(name, number, &["x"]), number);
    }
    store.put(map("c", 3, &["y"]), 3);
    assert_eq!(store.found(), expected(&[("x", &["a", "b"]), ("y", &["c"])]));
    assert!(store.by_value.get("z").is_empty());
}

/// TestGetIndexFuncValues: the values of an index are those under which something is found.
#[test]
fn get_index_func_values() {
    let mut store = Store::new();
    store.put(map("a", 1, &["x"]), 1);
    store.put(map("b", 2, &["x"]), 2);
    store.put(map("c", 3, &["y"]), 3);
    assert_eq!(sorted(store.by_value.values().into_iter()), ["x", "y"]);
}

/// TestMultiIndexKeys: an object may have several values; adding, deleting and changing keeps each of them right.
#[test]
fn multi_index_keys() {
    let mut store = Store::new();
    store.put(map("a", 1, &["ernie", "bert"]), 1);
    store.put(map("b", 2, &["bert", "oscar"]), 2);
    store.put(map("c", 3, &["ernie"]), 3);
    assert_eq!(store.found(), expected(&[("bert", &["a", "b"]), ("ernie", &["a", "c"]), ("oscar", &["b"])]));
    store.delete(map("c", 4, &["ernie"]), 4);
    assert_eq!(store.found(), expected(&[("bert", &["a", "b"]), ("ernie", &["a"]), ("oscar", &["b"])]));
    store.put(map("b", 5, &["oscar"]), 5);
    assert_eq!(store.found(), expected(&[("bert", &["a"]), ("ernie", &["a"]), ("oscar", &["b"])]));
}

/// TestThreadSafeStoreDeleteRemovesEmptySetsFromIndex: a value that the last object has left is none of the index.
#[test]
fn thread_safe_store_delete_removes_empty_sets_from_index() {
    let mut store = Store::new();
    store.put(map("a", 1, &["x"]), 1);
    store.delete(map("a", 2, &["x"]), 2);
    assert!(store.by_value.values().is_empty() && store.by_value.count("x") == 0);
}

/// TestThreadSafeStoreAddKeepsNonEmptySetPostDeleteFromIndex: one that others still have, stays.
#[test]
fn thread_safe_store_add_keeps_non_empty_set_post_delete_from_index() {
    let mut store = Store::new();
    store.put(map("a", 1, &["x"]), 1);
    store.put(map("b", 2, &["x"]), 2);
    store.delete(map("a", 3, &["x"]), 3);
    assert_eq!(store.found(), expected(&[("x", &["b"])]));
    store.put(map("a", 4, &["x"]), 4);
    assert_eq!(store.found(), expected(&[("x", &["a", "b"])]));
}

/// A name, its values from now on (`None`: it goes), and what is found then under each value.
type Step = (&'static str, Option<&'static [&'static str]>, &'static [(&'static str, &'static [&'static str])]);

/// TestThreadSafeStoreIndexingFunctionsWithMultipleValues: eight steps with overlapping values.
#[test]
fn thread_safe_store_indexing_functions_with_multiple_values() {
    let mut store = Store::new();
    let steps: [Step; 8] = [
        ("a", Some(&["foo"]), &[("foo", &["a"])]),
        ("a", Some(&["foo", "bar"]), &[("bar", &["a"]), ("foo", &["a"])]),
        ("b", Some(&["bar", "baz"]), &[("bar", &["a", "b"]), ("baz", &["b"]), ("foo", &["a"])]),
        ("a", Some(&["foo"]), &[("bar", &["b"]), ("baz", &["b"]), ("foo", &["a"])]),
        ("a", Some(&["baz"]), &[("bar", &["b"]), ("baz", &["a", "b"])]),
        ("b", Some(&[]), &[("baz", &["a"])]),
        ("b", None, &[("baz", &["a"])]),
        ("a", None, &[]),
    ];
    for (version, (name, values, found)) in (1..).zip(steps) {
        match values {
            Some(values) => store.put(map(name, version, values), version),
            None => store.delete(map(name, version, &[]), version),
        }
        assert_eq!(store.found(), expected(found), "step {version}");
    }
}

/// TestThreadSafeStoreRV: where the store stands is what the queue says with each batch, the last one, whatever objects are in it;
/// it needn't guess from the object written last. A list stands at the list's version.
#[test]
fn thread_safe_store_rv() {
    let mut store = Store::new();
    assert_eq!(store.version(), None);
    store.put(map("a", 10, &[]), 10);
    assert_eq!(store.version().as_deref(), Some("10"));
    let several = [40, 30, 50].map(|version| Change::applied(map(&format!("m{version}"), version, &[])));
    store.writer.apply(Work::Changes(several.into()), at(50));
    assert_eq!(store.version().as_deref(), Some("50"));
    store.delete(map("a", 60, &[]), 60);
    assert_eq!(store.version().as_deref(), Some("60"));
    store.replace([map("b", 5, &[])], 70);
    assert_eq!(store.version().as_deref(), Some("70"));
}

/// TestListAll: a selector finds exactly those it should, of many: a tenth, all and none.
#[test]
fn list_all() {
    const OBJECTS: u64 = 100_000;
    let mut store = Store::new();
    store.replace(
        (0..OBJECTS).map(|number| {
            let mut object = ConfigMap::clone(&map(&format!("m{number}"), 1, &[]));
            let label = if number % 10 == 0 { "match" } else { "other" };
            object.metadata.labels = Some(BTreeMap::from([("app".to_owned(), label.to_owned())]));
            Arc::new(object)
        }),
        1,
    );
    let lister = Lister::new(store.writer.store());
    let count = |value: &str| {
        let labels = Expression::Equal("app".to_owned(), value.to_owned()).into();
        lister.select(&Selection { labels, ..Selection::default() }).objects.len() as u64
    };
    assert_eq!((count("match"), count("none")), (OBJECTS / 10, 0));
    assert_eq!(lister.select(&Selection::default()).objects.len() as u64, OBJECTS);
    assert_eq!(lister.list().len() as u64, OBJECTS);
}

/// TestObjectNames: a key says its parts, and is written as upstream writes it.
#[test]
fn object_names() {
    for (namespace, name, written) in [("ns", "name", "ns/name"), ("", "name", "name"), ("a", "b.c", "a/b.c")] {
        let key = ObjectKey::new(namespace, name);
        assert_eq!((key.to_string().as_str(), key.parts()), (written, (namespace, name)));
    }
}
