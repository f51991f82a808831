//! The cells of `readers`, of one store in a process of its own: what a writer and its readers get done side by side.
//!
//! In: how many objects, the loads, and how long. Out: a [`Figure`], a row a load and value: writes and reads a second, and of
//! the writes the time from one to the next: median, 99th percentile, longest.
//!
//! The writer upserts back to back, one object at random at a time, all of which were made before the cell and are freed after
//! it. Each reader is a thread. A read that does not see what it must ends the measure with an error.
//!
//! Beside the loads, `replace`: the gets of one reader that began while everything was being replaced.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use k8s_openapi::api::core::v1::Pod;

use super::cache::{Cache, Reader};
use super::load::{Load, Read};
use super::objects::{Objects, Place, Random, look, look_all, version_of};
use super::round::Figure;
use crate::histogram::Histogram;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What to measure.
#[derive(Args)]
pub(crate) struct Cells {
    /// How many objects.
    #[arg(long)]
    objects: usize,
    /// How long each cell is.
    #[arg(long)]
    millis: u64,
    /// The loads.
    #[arg(long = "load", value_parser = Load::named)]
    loads: Vec<Load>,
}

/// More upserts than any store can do in a millisecond; a cell ends early where they run out.
const UPSERTS_A_MILLI: u64 = 1_500;
/// How often everything is replaced, each time by new states.
const REPLACES: usize = 5;
/// And at most, until something has been read meanwhile.
const MOST_REPLACES: usize = 1_000;

pub(crate) fn measure<C: Cache>(cells: &Cells) -> Result<Figure, BoxError> {
    let objects = Objects { count: cells.objects };
    let mut states = States::new(objects);
    let mut cache = C::new();
    drop(cache.replace(C::prepare_replacement(states.all())));
    let mut figure = Figure::default();
    let mut upserts = VecDeque::new();
    let most = usize::try_from(cells.millis * UPSERTS_A_MILLI)?;
    for load in &cells.loads {
        // In this order, since versions must only rise.
        while upserts.len() < most {
            upserts.push_back(C::prepare(states.one()));
        }
        let cell = Cell { objects, load: *load, time: Duration::from_millis(cells.millis) };
        states.written += cell.measure(&mut cache, &mut upserts, &mut figure)?;
    }
    let mut sum = 0;
    cache.reader().walk(|pod| sum += version_of(pod));
    if sum != states.sum() {
        return Err("not everything was written".into());
    }
    drop(upserts);
    replaced(&mut cache, &mut states, &mut figure)?;
    Ok(figure)
}

/// States of objects, each with a higher version than those before.
struct States {
    objects: Objects,
    random: Random,
    version: usize,
    /// Whose states were made one by one, in order.
    made: Vec<usize>,
    /// How many of these were written.
    written: usize,
}

impl States {
    fn new(objects: Objects) -> Self {
        Self { objects, random: Random::new(2), version: objects.version(0, 0), made: Vec::new(), written: 0 }
    }

    fn one(&mut self) -> Pod {
        let number = self.random.below(self.objects.count);
        self.made.push(number);
        self.version += 1;
        self.objects.state(self.version - 1, number, Place::First)
    }

    fn all(&mut self) -> impl Iterator<Item = Pod> + use<> {
        let (objects, first) = (self.objects, self.version);
        self.version += objects.count;
        (0..objects.count).map(move |number| objects.state(first + number, number, Place::First))
    }

    /// Of the versions that are there now, if there was one [`States::all`] and it came first.
    fn sum(&self) -> u64 {
        let first = self.objects.version(0, 0);
        let mut versions: Vec<usize> = (first..first + self.objects.count).collect();
        for (place, number) in self.made.iter().take(self.written).enumerate() {
            versions[*number] = first + self.objects.count + place;
        }
        versions.into_iter().map(|version| version as u64).sum()
    }
}

struct Cell {
    objects: Objects,
    load: Load,
    time: Duration,
}

impl Cell {
    /// Says how many were written.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
    fn measure<C: Cache>(
        &self,
        cache: &mut C,
        upserts: &mut VecDeque<C::Upsert>,
        figure: &mut Figure,
    ) -> Result<usize, BoxError> {
        let (stop, reads, start) = (AtomicBool::new(false), AtomicU64::new(0), Barrier::new(self.load.readers + 1));
        let mut left = Vec::with_capacity(upserts.len());
        let mut times = Histogram::new();
        let took = std::thread::scope(|threads| {
            let reading: Vec<_> = (0..self.load.readers)
                .map(|place| {
                    let (reader, stop, reads, start) = (cache.reader(), &stop, &reads, &start);
                    threads.spawn(move || {
                        let mut target = Target::new(self.objects, self.load.read, place);
                        start.wait();
                        while !stop.load(Ordering::Relaxed) {
                            target.read(&reader)?;
                            reads.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok::<_, String>(())
                    })
                })
                .collect();
            start.wait();
            let began = Instant::now();
            let mut last = began;
            // On a busy machine no reader may have run yet.
            let nothing_read = || self.load.readers > 0 && reads.load(Ordering::Relaxed) == 0;
            while (last - began < self.time || nothing_read())
                && let Some(upsert) = upserts.pop_front()
            {
                left.push(cache.upsert(upsert));
                let now = Instant::now();
                times.record(now - last);
                last = now;
            }
            stop.store(true, Ordering::Relaxed);
            for reader in reading {
                reader.join().map_err(|_| "a reader panicked")??;
            }
            Ok::<_, BoxError>((last - began).as_secs_f64())
        })?;
        let (writes, reads, name) = (left.len(), reads.into_inner(), self.load.name);
        drop(left);
        if writes == 0 || (reads == 0) != (self.load.readers == 0) {
            return Err(format!("{name}: {writes} writes and {reads} reads measure nothing").into());
        }
        figure.row(&format!("{name} writes"), writes as f64 / took);
        if reads > 0 {
            figure.row(&format!("{name} reads"), reads as f64 / took);
        }
        for (value, thousandths) in [("p50", 500), ("p99", 990), ("max", 1000)] {
            figure.row(&format!("{name} {value}"), times.micros(thousandths));
        }
        figure.count(name, writes as u64);
        Ok(writes)
    }
}

/// What one reader reads, over and over.
struct Target<R: Reader> {
    objects: Objects,
    read: Read,
    random: Random,
    keys: Vec<R::Key>,
    /// And what comes of looking at all of one.
    namespaces: Vec<(String, u64)>,
    all: u64,
}

impl<R: Reader> Target<R> {
    fn new(objects: Objects, read: Read, place: usize) -> Self {
        let numbers = 0..objects.count;
        let names = || numbers.clone().map(|number| objects.name_of(number));
        let keys = match read {
            Read::Get => names().map(|(namespace, name)| R::key(&namespace, &name)).collect(),
            Read::List | Read::All => Vec::new(),
        };
        let mut namespaces: Vec<_> = objects.namespaces().into_iter().map(|namespace| (namespace, 0)).collect();
        for (number, (_, name)) in names().enumerate() {
            namespaces[objects.namespace_of(number)].1 += name.len() as u64;
        }
        Self { objects, read, random: Random::new(3 + place as u64), keys, namespaces, all: look_all(objects) }
    }

    fn read(&mut self, reader: &R) -> Result<(), String> {
        let mut seen = 0;
        let expected = match self.read {
            Read::Get => {
                let key = &self.keys[self.random.below(self.objects.count)];
                return reader.get(key).map(|pod| _ = black_box(look(&pod))).ok_or("an object is missing".into());
            }
            Read::List => {
                let (namespace, expected) = &self.namespaces[self.random.below(self.namespaces.len())];
                reader.visit_namespace(namespace, |pod| seen += look(pod));
                *expected
            }
            Read::All => {
                reader.walk(|pod| seen += look(pod));
                self.all
            }
        };
        if seen == expected { Ok(()) } else { Err(format!("a read saw {seen}, expected {expected}")) }
    }
}

/// Everything is replaced while one reads.
fn replaced<C: Cache>(cache: &mut C, states: &mut States, figure: &mut Figure) -> Result<(), BoxError> {
    let (stop, replacing, was_read) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let start = Barrier::new(2);
    let objects = states.objects;
    let times = std::thread::scope(|threads| {
        let reader = cache.reader();
        let reading = threads.spawn(|| {
            let (reader, mut times) = (reader, Histogram::new());
            let mut target = Target::new(objects, Read::Get, 0);
            start.wait();
            while !stop.load(Ordering::Relaxed) {
                let counts = replacing.load(Ordering::Acquire);
                let began = Instant::now();
                target.read(&reader)?;
                if counts {
                    times.record(began.elapsed());
                    was_read.store(true, Ordering::Relaxed);
                }
            }
            Ok::<_, String>(times)
        });
        start.wait();
        for replaced in 0..MOST_REPLACES {
            // On a busy machine the reader may not have run yet.
            if replaced >= REPLACES && was_read.load(Ordering::Relaxed) {
                break;
            }
            let replacement = C::prepare_replacement(states.all());
            replacing.store(true, Ordering::Release);
            let left = cache.replace(replacement);
            replacing.store(false, Ordering::Release);
            drop(left);
        }
        stop.store(true, Ordering::Relaxed);
        reading.join().map_err(|_| "a reader panicked")?.map_err(BoxError::from)
    })?;
    if times.total() == 0 {
        return Err("nothing was read while everything was replaced".into());
    }
    for (value, thousandths) in [("p50", 500), ("p99", 990), ("max", 1000)] {
        figure.row(&format!("replace {value}"), times.micros(thousandths));
    }
    figure.count("replace", times.total());
    Ok(())
}
