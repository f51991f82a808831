//! Lister: reading the cache.
//!
//! In: the store. Out: shared pointers to the present objects; they are immutable, nothing is copied. It never waits for the
//! server, and never orders what it returns.
//!
//! A selection by namespace and labels goes through whichever index leads to fewest objects, and says which that was, or
//! that it had to go through all there are: labels are indexed where somebody asked for it
//! ([`SharedInformer::add_label_index`](crate::SharedInformer::add_label_index)).
//!
//! Upstream counterpart: the generated listers of client-go, which never index labels.

use std::fmt;
use std::sync::Arc;

use kube_client::core::{Expression, Selector, SelectorExt};
use serde::de::DeserializeOwned;

use crate::index::{Built, Hashed, Look};
use crate::key::ObjectKey;
use crate::object::{Cached, Labelled};
use crate::store::posting::Posting;
use crate::store::root::{BY_NAMESPACE, Root};
use crate::store::{Snapshot, ThreadSafeStore};
use crate::view::{View, Viewed};

/// A cheap, cloneable view of everything an informer has cached.
pub struct Lister<K> {
    store: ThreadSafeStore<K>,
}

/// Which objects are wanted: those for which all of this holds.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// In this namespace; `None`: in any.
    pub namespace: Option<String>,
    /// With labels that these expressions match. By default all are.
    pub labels: Selector,
}

/// What was selected, and how it was found.
#[derive(Debug, Clone)]
pub struct Selected<K> {
    /// The objects, each once.
    pub objects: Vec<Arc<K>>,
    /// What led to them.
    pub access: Access,
    /// How many objects were looked at to find them.
    pub looked_at: usize,
}

/// What a selection went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing: no object can match.
    Nothing,
    /// The index of this name; "namespace" is the one every store has.
    Index(Arc<str>),
    /// All objects: no index fits.
    Scan,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing can match"),
            Self::Index(name) => write!(f, "by the index {name}"),
            Self::Scan => f.write_str("by a scan, no index fits"),
        }
    }
}

impl<K> Clone for Lister<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone() }
    }
}

impl<K: Cached> Lister<K> {
    /// A view of this store.
    pub fn new(store: ThreadSafeStore<K>) -> Self {
        Self { store }
    }

    /// The present state of one object; `None` if it isn't cached.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.store.get(key)
    }

    /// The same by namespace (empty: cluster-scoped) and name.
    pub fn get_named(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get_named(namespace, name)
    }

    /// All objects. Not one moment of the whole cache: objects may change while the list is made, but a relist is
    /// seen whole or not at all.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.store.list()
    }

    /// The objects of one namespace; the empty one holds what is cluster-scoped.
    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.store.namespace(namespace)
    }

    /// One moment of the whole cache, see [`ThreadSafeStore::snapshot`].
    pub fn snapshot(&self) -> Snapshot<K> {
        self.store.snapshot()
    }

    /// The store behind it, which can be walked and weighed.
    pub fn store(&self) -> &ThreadSafeStore<K> {
        &self.store
    }

    /// How many objects are cached.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}

impl<K: Viewed> Lister<K> {
    /// The same objects, read as `T`s.
    pub fn view<T: DeserializeOwned>(&self) -> View<K, T> {
        View::new(self.clone())
    }
}

impl<K: Cached + Labelled> Lister<K> {
    /// The present objects that are wanted. Of lazy objects the labels are decoded when they are looked at: of all, where no index fits.
    ///
    /// ```
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kube_client::core::Expression;
    /// use watchkeeper_informer::StoreWriter;
    /// use watchkeeper_informer::lister::{Lister, Selection};
    ///
    /// let mut writer = StoreWriter::<Pod>::default();
    /// writer.add_label_index("app");
    /// let labels = Expression::Equal("app".to_owned(), "web".to_owned()).into();
    /// let selected = Lister::new(writer.store()).select(&Selection { labels, ..Selection::default() });
    /// assert_eq!(selected.access.to_string(), "by the index label app");
    /// ```
    pub fn select(&self, wanted: &Selection) -> Selected<K> {
        let root = self.store.root();
        let (access, posting) = access(&root, wanted);
        let (mut objects, mut looked_at) = (Vec::new(), 0);
        let mut look = |object: &Arc<K>| {
            looked_at += 1;
            let is_here = wanted.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace());
            if is_here && (wanted.labels.selects_all() || wanted.labels.matches(&object.labels())) {
                objects.push(Arc::clone(object));
            }
        };
        let before = root.objects.removals();
        match posting {
            Some(posting) => {
                let taken = root.objects.take(posting.slices());
                taken.for_each(|taken| taken.objects().for_each(|(_, object)| look(object)));
            }
            None if access == Access::Scan => root.objects.visit(|_, object| look(object)),
            None => {}
        }
        if root.objects.removals() != before {
            root.objects.keep_newest(&mut objects);
        }
        Selected { objects, access, looked_at }
    }
}

/// The way to what is wanted that leads along the fewest objects.
fn access<K: Cached>(root: &Root<K>, wanted: &Selection) -> (Access, Option<Posting>) {
    let mut best: Option<(Access, Option<Posting>)> = None;
    let mut consider = |index: usize, values: &[&String]| {
        let Some(built) = root.index::<Built<K, Hashed<String>>>(index) else { return };
        let Some(posting) = union(built, values) else { return };
        let length = |posting: &Option<Posting>| posting.as_ref().map_or(0, Posting::len);
        if best.as_ref().is_none_or(|(_, best)| length(&posting) < length(best)) {
            best = Some((Access::Index(root.indexes[index].name()), posting));
        }
    };
    if let Some(namespace) = &wanted.namespace {
        consider(BY_NAMESPACE, &[namespace]);
    }
    for expression in wanted.labels.clone() {
        let (key, values): (_, Vec<&String>) = match &expression {
            Expression::Equal(key, value) => (key, vec![value]),
            Expression::In(_, values) if values.is_empty() => return (Access::Nothing, None),
            Expression::In(key, values) => (key, values.iter().collect()),
            _ => continue,
        };
        if let Some(index) = root.indexes.iter().position(|index| index.label() == Some(key)) {
            consider(index, &values);
        }
    }
    best.unwrap_or((Access::Scan, None))
}

/// How often a union is tried before another way is taken.
const TRIES: usize = 3;

/// What has any of the values. `None`: objects kept moving between them, and one may have been missed.
fn union<K: Cached>(built: &Built<K, Hashed<String>>, values: &[&String]) -> Option<Option<Posting>> {
    if let [value] = values {
        return Some(built.postings.look(*value).posting);
    }
    (0..TRIES).find_map(|_| {
        // Each is marked before it is looked at, so a move between two of them is seen by the mark of the first.
        let looks: Vec<Look> = values.iter().map(|value| built.postings.look(*value)).collect();
        let is_quiet = |(value, look): (&&String, &Look)| built.postings.moves_of(*value).is_quiet_since(look.mark);
        let found: Vec<&Posting> = looks.iter().filter_map(|look| look.posting.as_ref()).collect();
        let slots = || Posting::of(found.iter().flat_map(|posting| posting.iter()).collect());
        values.iter().zip(&looks).all(is_quiet).then(|| (!found.is_empty()).then(slots))
    })
}
