//! How the embedded API server bears load: many objects, a stream of updates, watchers that read it, and one that doesn't.
//!
//! In: the size of the load. Out: figures on stdout; an error where a watcher missed an update or saw one twice, or where
//! the one that stopped reading was not cut off. All in this process without sockets: requests are calls of the server's
//! service, and the watchers read its bodies. Each update carries its number and the time just before it was sent, which
//! each watcher finds in the bytes: the CPU time counts that in, as well as making and sending the updates.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches -- apiserver-load
//! ```

mod report;
mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::task::JoinSet;
use tower::Service as _;
use watchkeeper::BoxError;
use watchkeeper_apiserver::{ApiServer, Body, Config};

use self::report::{Figures, Reading, Stream};
use self::watcher::Seen;
use crate::histogram::Histogram;
use crate::live_bytes;
use crate::queue::cpu::Cpu;

const COLLECTION: &str = "/api/v1/namespaces/default/configmaps";
/// What makes an object about 1 KiB.
const FILL: usize = 700;
/// The slow watcher leaves at least this many times the allowed events unread.
const NEGLECT: u64 = 2;
/// After the last update watchers have so long to see it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The size of the load.
#[derive(Args)]
pub(crate) struct Load {
    /// How many objects there are.
    #[arg(long, default_value_t = 100_000, value_parser = crate::at_least_one)]
    objects: usize,
    /// How many updates are sent each second.
    #[arg(long, default_value_t = 5_000, value_parser = crate::at_least_one)]
    rate: usize,
    /// How many watchers read them all.
    #[arg(long, default_value_t = 20, value_parser = crate::at_least_one)]
    watchers: usize,
    /// For how many seconds.
    #[arg(long = "for", default_value_t = 20, value_parser = crate::at_least_one)]
    seconds: usize,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

/// One server and the numbers of what was written to it.
#[derive(Clone)]
struct Bench {
    server: ApiServer,
    started: Instant,
    /// Updates sent so far: the number of the newest.
    sent: Arc<AtomicU64>,
}

/// Puts the load on a server of its own, and reports.
pub(crate) async fn run(load: Load) -> Result<(), BoxError> {
    let allowed = Config::default().watch_buffer as u64;
    let bench = Bench { server: ApiServer::new(Config::default()), started: Instant::now(), sent: Arc::default() };
    let mut figures = Figures::new(&load, allowed);

    eprintln!("creating {} objects", load.objects);
    let (memory, started) = (live_bytes(), Instant::now());
    for number in 0..load.objects {
        bench.write(Method::POST, number, 0).await?;
    }
    figures.created(started.elapsed(), live_bytes().saturating_sub(memory));

    eprintln!("listing them");
    let started = Instant::now();
    let bytes = bench.list().await?;
    figures.listed(started.elapsed(), bytes);

    eprintln!("updating them for {} s", load.seconds);
    let updates = (load.rate * load.seconds) as u64;
    figures.load = Some(bench.stream(&load, updates).await?);

    eprintln!("a watcher that stops reading");
    let unread = bench.watch().await?;
    // A second of them, so that what waits for it is still in the history.
    let updates = (NEGLECT * allowed).max(load.rate as u64);
    let stream = bench.stream(&load, updates).await?;
    figures.neglected(stream, &watcher::read_late(unread).await?);
    figures.print(load.json)
}

impl Bench {
    /// Updates at the rate while all watchers read; returns when each of them has seen the last one.
    async fn stream(&self, load: &Load, updates: u64) -> Result<Stream, BoxError> {
        let first = self.sent.load(Ordering::Relaxed) + 1;
        let last = first + updates - 1;
        let mut watchers = JoinSet::new();
        for _ in 0..load.watchers {
            let body = self.watch().await?;
            watchers.spawn(watcher::read(body, self.started, first..=last));
        }
        let cpu = Cpu::start();
        let started = Instant::now();
        // Where history is full, memory has no reason to grow: looked at from the middle to the end.
        let (before, mut middle) = (live_bytes(), 0);
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        for number in first..=last {
            let due = Duration::from_secs(number - first) / u32::try_from(load.rate)?;
            while started.elapsed() < due {
                ticks.tick().await;
            }
            if number - first == updates / 2 {
                middle = live_bytes();
            }
            let object = usize::try_from(number)? % load.objects;
            self.write(Method::PUT, object, number).await?;
            self.sent.store(number, Ordering::Relaxed);
        }
        let took = started.elapsed();
        let after = live_bytes();
        let mut lag = Histogram::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let (mut bytes, mut missing) = (0, 0);
        while let Some(seen) = tokio::time::timeout_at(deadline, watchers.join_next()).await? {
            let Seen { lag: one, bytes: read, missing: lost } = seen??;
            lag.add(&one);
            bytes += read;
            missing += lost;
        }
        let cpu_seconds = cpu.process_figure(1).nanos.unwrap_or_default() / 1e9;
        let reading = Reading { bytes, took: started.elapsed(), cpu_seconds };
        if missing > 0 {
            return Err(format!("{missing} deliveries are missing of {}", updates * load.watchers as u64).into());
        }
        Ok(Stream::new((updates, took), &lag, &reading, [before, middle, after]))
    }

    /// Creates or replaces one object; its number says which update this is.
    async fn write(&self, method: Method, object: usize, number: u64) -> Result<(), BoxError> {
        let uri = if method == Method::POST { COLLECTION.to_owned() } else { format!("{COLLECTION}/map-{object:06}") };
        let sent = self.started.elapsed().as_nanos();
        let body = format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"map-{object:06}\",\
             \"labels\":{{\"app\":\"load\",\"part\":\"{}\"}}}},\"data\":{{\"a\":\"{number:012} {sent:020}\",\
             \"fill\":\"{:x<FILL$}\"}}}}",
            object % 100,
            ""
        );
        let answer = self.call(method, &uri, body.into()).await?;
        let code = answer.status();
        if !code.is_success() {
            return Err(format!("writing object {object}: {code}").into());
        }
        Ok(())
    }

    /// Reads a whole list and says how long it is.
    async fn list(&self) -> Result<u64, BoxError> {
        let mut body = self.call(Method::GET, COLLECTION, Bytes::new()).await?.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(bytes)
    }

    /// A watch of everything from now on.
    async fn watch(&self) -> Result<Body, BoxError> {
        let uri = format!("{COLLECTION}?watch=1&resourceVersion={}", self.server.version());
        Ok(self.call(Method::GET, &uri, Bytes::new()).await?.into_body())
    }

    async fn call(&self, method: Method, uri: &str, body: Bytes) -> Result<Response<Body>, BoxError> {
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        Ok(self.server.service("load").call(request.body(Full::new(body))?).await?)
    }
}
