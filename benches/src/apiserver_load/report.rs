//! The figures of the load, for people or as one line of JSON.
//!
//! In: what was measured, as it is measured. Out: the report on stdout; an error where the slow watcher was not cut off.

use std::time::Duration;

use serde::Serialize;
use watchkeeper::BoxError;

use super::Load;
use super::watcher::Slow;
use crate::histogram::Histogram;

/// All figures of a run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    objects: usize,
    rate: usize,
    watchers: usize,
    seconds: usize,
    creates_per_second: f64,
    bytes_per_object: f64,
    list_millis: f64,
    list_bytes: u64,
    pub(crate) load: Option<Stream>,
    beside_slow: Option<Stream>,
    /// Events that may wait for a watcher before it is cut off, those that were unread, and those it then still got.
    slow_allowed: u64,
    slow_unread: u64,
    slow_events: u64,
    slow_cut: bool,
}

/// One stream of updates and its watchers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stream {
    updates: u64,
    updates_per_second: f64,
    deliveries: u64,
    deliveries_per_second: f64,
    delivered_mib_per_second: f64,
    lag_p50_micros: f64,
    lag_p99_micros: f64,
    lag_max_micros: f64,
    cpu_cores: f64,
    cpu_micros_per_update: f64,
    /// Live heap before, in the middle, and after the last update.
    memory_mib: [f64; 3],
}

/// What was read, until when, and with how many seconds of CPU.
pub(crate) struct Reading {
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) cpu_seconds: f64,
}

impl Stream {
    pub(crate) fn new((updates, took): (u64, Duration), lag: &Histogram, reading: &Reading, memory: [u64; 3]) -> Self {
        let all = reading.took.as_secs_f64();
        Self {
            updates,
            updates_per_second: updates as f64 / took.as_secs_f64(),
            deliveries: lag.total(),
            deliveries_per_second: lag.total() as f64 / all,
            delivered_mib_per_second: mib(reading.bytes) / all,
            lag_p50_micros: lag.micros(500),
            lag_p99_micros: lag.micros(990),
            lag_max_micros: lag.micros(1000),
            cpu_cores: reading.cpu_seconds / all,
            cpu_micros_per_update: reading.cpu_seconds * 1e6 / updates as f64,
            memory_mib: memory.map(mib),
        }
    }

    fn print(&self) {
        let [before, middle, after] = self.memory_mib;
        println!("  updates             {} ({:.0} a second)", self.updates, self.updates_per_second);
        println!(
            "  deliveries          {}, all of them ({:.0} a second, {:.0} MiB a second)",
            self.deliveries, self.deliveries_per_second, self.delivered_mib_per_second
        );
        println!(
            "  lag                 p50 {:.0} us, p99 {:.0} us, at most {:.0} us",
            self.lag_p50_micros, self.lag_p99_micros, self.lag_max_micros
        );
        println!("  CPU                 {:.2} cores, {:.1} us an update", self.cpu_cores, self.cpu_micros_per_update);
        println!("  memory              {before:.1} MiB before, {middle:.1} MiB in the middle, {after:.1} MiB after");
    }
}

impl Figures {
    pub(crate) fn new(load: &Load, slow_allowed: u64) -> Self {
        Self {
            objects: load.objects,
            rate: load.rate,
            watchers: load.watchers,
            seconds: load.seconds,
            creates_per_second: 0.0,
            bytes_per_object: 0.0,
            list_millis: 0.0,
            list_bytes: 0,
            load: None,
            beside_slow: None,
            slow_allowed,
            slow_unread: 0,
            slow_events: 0,
            slow_cut: false,
        }
    }

    pub(crate) fn created(&mut self, took: Duration, bytes: u64) {
        self.creates_per_second = self.objects as f64 / took.as_secs_f64();
        self.bytes_per_object = bytes as f64 / self.objects as f64;
    }

    pub(crate) fn listed(&mut self, took: Duration, bytes: u64) {
        (self.list_millis, self.list_bytes) = (took.as_secs_f64() * 1000.0, bytes);
    }

    pub(crate) fn neglected(&mut self, stream: Stream, slow: &Slow) {
        (self.slow_unread, self.slow_events, self.slow_cut) = (stream.updates, slow.events, slow.cut);
        self.beside_slow = Some(stream);
    }

    /// Prints them, and judges the slow watcher.
    pub(crate) fn print(&self, json: bool) -> Result<(), BoxError> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            self.print_text();
        }
        if !self.slow_cut {
            return Err("the watcher that stopped reading was not cut off".into());
        }
        Ok(())
    }

    fn print_text(&self) {
        println!("{} objects created     {:.0} a second", self.objects, self.creates_per_second);
        println!("memory an object      {:.0} bytes", self.bytes_per_object);
        println!("full list             {:.1} MiB in {:.1} ms", mib(self.list_bytes), self.list_millis);
        println!("{} watchers, {} updates a second asked for:", self.watchers, self.rate);
        self.load.iter().for_each(Stream::print);
        println!(
            "one more that stopped reading: {} changes unread ({} allowed), {} events read then, {}; beside it:",
            self.slow_unread,
            self.slow_allowed,
            self.slow_events,
            if self.slow_cut { "cut off" } else { "NOT cut off" }
        );
        self.beside_slow.iter().for_each(Stream::print);
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
