//! The rows of `store`, of one store in a process of its own.
//!
//! In: how many objects. Out: a [`Figure`]: CPU time of the one thread, of one operation, in nanoseconds. The objects of an
//! operation are made before it and freed after it, outside of the figures. Each object that is visited is looked at: how
//! long its name is, which stands in it. After each kind of write all objects must be those that were written.
//!
//! ```text
//! get           a random one, by its key
//! get-look      the same, and looked at
//! list-1000     one namespace, a vector of it
//! visit-1000    the same, each looked at; a peer without visitors makes its vector
//! visit-30      one node, by an index
//! walk          all, each looked at; of one object
//! upsert-same   a random one, whose index values stay
//! upsert-moved  a random one that is now on another node
//! upsert-batch  as upsert-same, a hundred in a batch; of one object. Where there are no batches: one by one
//! replace       all, five times, each a new state; of one object
//! snapshot      everything at once, looked at by nobody
//! ```

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::cache::{Cache, Reader};
use super::objects::{Objects, Place, look, look_all, shuffled, version_of};
use super::round::Figure;
use crate::cpu_time::{each, thread_time};

/// How often everything is read for a figure.
pub(crate) const PASSES: usize = 5;
const SNAPSHOTS: usize = 10;
/// Upserts are made so many at a time, shortly before, as a watch brings them.
const PIECE: usize = 100;

/// The generations of objects, each a state of every one.
const FILLED: usize = 0;
/// Is written first, without a figure: what comes after finds memory that was in use before.
const WARM: usize = 1;
const SAME: usize = 2;
const MOVED: usize = 3;
const BATCHED: usize = 4;
/// Several, since the first finds no memory that was in use before.
const REPLACED: Range<usize> = 5..10;

/// Takes all rows.
pub(crate) fn measure<C: Cache>(objects: Objects) -> Figure {
    let mut cache = C::new();
    drop(cache.replace(C::prepare_replacement(pods(objects, FILLED))));
    let mut figure = Figure::default();
    read::<C>(&cache.reader(), objects, &mut figure);
    write(&mut cache, objects, &mut figure);
    figure
}

/// What must have been counted.
pub(crate) fn expected(objects: Objects, has_nodes: bool) -> Vec<(&'static str, u64)> {
    let (n, passes) = (objects.count as u64, PASSES as u64);
    let sum = |generation| (0..objects.count).map(|number| objects.version(generation, number) as u64).sum::<u64>();
    let mut expected = vec![
        ("get", n * passes),
        ("get-look", look_all(objects) * passes),
        ("list-1000", n * passes),
        ("visit-1000", look_all(objects) * passes),
        ("walk", look_all(objects) * passes),
        ("warm", sum(WARM)),
        ("upsert-same", sum(SAME)),
        ("upsert-moved", sum(MOVED)),
        ("upsert-batch", sum(BATCHED)),
        ("replace", REPLACED.map(sum).sum()),
    ];
    if has_nodes {
        // After a move there is nobody left at the old place.
        expected.extend([("visit-30", look_all(objects) * passes), ("on-nodes", sum(MOVED))]);
    }
    expected
}

fn pods(objects: Objects, generation: usize) -> impl Iterator<Item = Pod> {
    (0..objects.count).map(move |number| objects.pod(generation, number, Place::First))
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let began = thread_time();
    let result = run();
    (thread_time() - began, result)
}

fn read<C: Cache>(reader: &C::Reader, objects: Objects, figure: &mut Figure) {
    let keys: Vec<_> = shuffled(objects.count)
        .into_iter()
        .map(|number| {
            let (namespace, name) = objects.name_of(number);
            <C::Reader as Reader>::key(&namespace, &name)
        })
        .collect();
    let passes = || 0..PASSES;
    let found = || keys.iter().filter_map(|key| reader.get(key));
    let (took, count) = timed(|| passes().map(|_| found().count() as u64).sum::<u64>());
    figure.row("get", each(took, objects.count * PASSES));
    figure.count("get", count);
    let (took, sum) = timed(|| passes().flat_map(|_| found()).map(|pod| look(&pod)).sum::<u64>());
    figure.row("get-look", each(took, objects.count * PASSES));
    figure.count("get-look", sum);

    let namespaces = objects.namespaces();
    let (took, listed) = timed(|| {
        passes().flat_map(|_| &namespaces).map(|namespace| reader.list_namespace(namespace).len() as u64).sum::<u64>()
    });
    figure.row("list-1000", each(took, namespaces.len() * PASSES));
    figure.count("list-1000", listed);

    let mut sum = 0;
    let (took, ()) = timed(|| {
        for namespace in passes().flat_map(|_| &namespaces) {
            reader.visit_namespace(namespace, |pod| sum += look(pod));
        }
    });
    figure.row("visit-1000", each(took, namespaces.len() * PASSES));
    figure.count("visit-1000", sum);

    let (nodes, mut sum) = (objects.nodes(), 0);
    let (took, indexed) =
        timed(|| passes().flat_map(|_| &nodes).all(|node| reader.visit_node(node, |pod| sum += look(pod))));
    if indexed {
        figure.row("visit-30", each(took, nodes.len() * PASSES));
        figure.count("visit-30", sum);
    }

    let mut sum = 0;
    let (took, ()) = timed(|| passes().for_each(|_| reader.walk(|pod| sum += look(pod))));
    figure.row("walk", each(took, objects.count * PASSES));
    figure.count("walk", sum);

    let (took, snapshots) = timed(|| (0..SNAPSHOTS).map(|_| black_box(reader.snapshot())).collect::<Vec<_>>());
    figure.row("snapshot", each(took, SNAPSHOTS));
    drop(snapshots);
}

fn write<C: Cache>(cache: &mut C, objects: Objects, figure: &mut Figure) {
    let reader = cache.reader();
    let versions = || {
        let mut sum = 0;
        reader.walk(|pod| sum += version_of(pod));
        sum
    };
    let kinds =
        [("warm", WARM, Place::First), ("upsert-same", SAME, Place::First), ("upsert-moved", MOVED, Place::Moved)];
    for (row, generation, place) in kinds {
        // Keeps what is replaced from being freed within the figure, by whatever store.
        let before = all_of(&reader, objects);
        let mut took = Duration::ZERO;
        let mut written = written(objects, generation, place);
        while let Some(upserts) = piece::<C>(&mut written) {
            let mut left = Vec::with_capacity(PIECE);
            took += timed(|| left.extend(upserts.into_iter().map(|upsert| cache.upsert(upsert)))).0;
        }
        figure.row(row, each(took, objects.count));
        figure.count(row, versions());
        drop(before);
    }
    let mut sum = 0;
    if objects.nodes().iter().all(|node| reader.visit_node(node, |pod| sum += version_of(pod))) {
        figure.count("on-nodes", sum);
    }

    let before = all_of(&reader, objects);
    let mut took = Duration::ZERO;
    // As they were last: the index values stay.
    let mut written = written(objects, BATCHED, Place::Moved);
    while let Some(upserts) = piece::<C>(&mut written) {
        let (batch, left) = timed(|| cache.upsert_all(upserts));
        took += batch;
        drop(left);
    }
    figure.row("upsert-batch", each(took, objects.count));
    figure.count("upsert-batch", versions());
    drop(before);

    let (mut took, mut sum) = (Duration::ZERO, 0);
    for generation in REPLACED {
        let before = all_of(&reader, objects);
        let replacement = C::prepare_replacement(pods(objects, generation));
        let (replaced, left) = timed(|| cache.replace(replacement));
        took += replaced;
        drop((before, left));
        sum += versions();
    }
    figure.row("replace", each(took, objects.count * REPLACED.count()));
    figure.count("replace", sum);
}

/// All objects of a generation in random order, each at a higher version than the one before.
fn written(objects: Objects, generation: usize, place: Place) -> impl Iterator<Item = Pod> {
    let numbers = shuffled(objects.count).into_iter().enumerate();
    numbers.map(move |(rank, number)| objects.state(objects.version(generation, rank), number, place))
}

fn piece<C: Cache>(pods: &mut impl Iterator<Item = Pod>) -> Option<Vec<C::Upsert>> {
    let upserts: Vec<_> = pods.take(PIECE).map(C::prepare).collect();
    (!upserts.is_empty()).then_some(upserts)
}

/// Everything, and no snapshot: a store may keep that one apart.
fn all_of<R: Reader>(reader: &R, objects: Objects) -> Vec<Arc<Pod>> {
    objects.namespaces().iter().flat_map(|namespace| reader.list_namespace(namespace)).collect()
}

/// What the store needs for each object beside the object: the live heap with it, less that of the bare objects.
#[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
pub(crate) fn bytes<C: Cache>(objects: Objects, live: fn() -> u64) -> f64 {
    let start = live();
    let bare: Vec<_> = pods(objects, FILLED).map(Arc::new).collect();
    let vector = std::mem::size_of_val(bare.as_slice()) as u64;
    let of_objects = live() - start - vector;
    drop(bare);
    let start = live();
    let mut cache = C::new();
    drop(cache.replace(C::prepare_replacement(pods(objects, FILLED))));
    (live() - start).saturating_sub(of_objects) as f64 / objects.count as f64
}
