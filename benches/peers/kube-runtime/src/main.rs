//! kube-runtime's side of `ingest`: one reflector into its store, until that is ready; then whatever it is asked for.
//!
//! In: where the Pods are. Out: a line of JSON once the store is ready, and another for each line on stdin. Nothing is tuned:
//! the watcher's configuration is its default but for the streaming list, where that is asked for.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts its own load")]

#[path = "../../../src/ingest/figure.rs"]
mod figure;
#[path = "../../../src/usage.rs"]
mod usage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use figure::Figure;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube_client::{Api, Client};
use kube_runtime::{WatchStreamExt as _, reflector, watcher};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Ingests Pods, and says what it cost.
#[derive(Parser)]
struct Options {
    /// Where the API server is.
    #[arg(long)]
    server: String,
    /// By a streaming list.
    #[arg(long)]
    streaming: bool,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let started = Instant::now();
    let client = Client::try_from(kube_client::Config::new(options.server.parse()?))?;
    let config = watcher::Config::default();
    let config = if options.streaming { config.streaming_lists() } else { config };
    let (store, writer) = reflector::store::<Pod>();
    let events = Arc::new(AtomicU64::new(0));
    let told = events.clone();
    let watching = watcher(Api::all(client), config).default_backoff().reflect(writer).applied_objects();
    tokio::spawn(watching.for_each(move |event| {
        if event.is_ok() {
            told.fetch_add(1, Ordering::Relaxed);
        }
        std::future::ready(())
    }));
    store.wait_until_ready().await?;
    let wall_s = started.elapsed().as_secs_f64();
    let figure = || {
        // Before anything is read for the checksum.
        let stand = figure::stand(None)?;
        let objects = store.state();
        let checksum = objects.iter().fold(0_u64, |sum, pod| sum.wrapping_add(checksum(pod)));
        let (objects, events) = (objects.len(), events.load(Ordering::Relaxed));
        Ok(Figure { objects, checksum, wall_s, events, ..stand })
    };
    tokio::task::block_in_place(|| figure::answer(figure))
}

fn checksum(pod: &Pod) -> u64 {
    let metadata = &pod.metadata;
    let texts = [&metadata.namespace, &metadata.name, &metadata.uid, &metadata.resource_version];
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    let [namespace, name, uid, version] = texts.map(|text| text.as_deref().unwrap_or_default());
    figure::of_object([namespace, name, uid, version, node.unwrap_or_default(), ip.unwrap_or_default()])
}
