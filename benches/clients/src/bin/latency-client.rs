//! Our client of `latency`: an informer with a source, a handler and one worker behind a work queue.
//!
//! In: where the Pods are. Out: a line of JSON, what was [`Seen`], once synced and for each line on stdin. All is
//! as a user has it: the default decoder, the default queue, the allocator of the system, tokio's default threads.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts its own load")]
#![allow(dead_code, reason = "the program beside it uses more")]

#[path = "../../../src/ingest/answer.rs"]
mod answer;
#[path = "../../../src/ingest/connect.rs"]
mod connect;
#[path = "../../../src/latency/lookout.rs"]
mod lookout;
#[path = "../../../src/latency/sent.rs"]
mod sent;
#[path = "../../../src/latency/sighting.rs"]
mod sighting;

use std::sync::Arc;

use clap::Parser;
use k8s_openapi::api::core::v1::Pod;
use lookout::Lookout;
use sighting::Seen;
use tokio_util::sync::CancellationToken;
use watchkeeper::BoxError;
use watchkeeper_informer::{InformerConfig, Lister, ObjectKey, SharedInformer};
use watchkeeper_workqueue::{Config, WorkQueue};

/// Says when updates of Pods were seen.
#[derive(Parser)]
struct Program {
    /// Where the API server is.
    #[arg(long)]
    server: String,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let source = Arc::new(connect::all_pods(&Program::parse().server)?);
    let mut informer = SharedInformer::<Pod>::new(source, InformerConfig::default());
    let queue = WorkQueue::new(Config::default());
    let sink = queue.clone();
    informer.add_source(move |event| _ = sink.add(ObjectKey::of(&**event.object())));
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    let (handler, worker) = (Arc::new(Lookout::default()), Arc::new(Lookout::default()));
    let lookout = handler.clone();
    handle.add_handler(move |event| lookout.see(event.object().metadata.annotations.as_ref()));
    let working = tokio::spawn(work(queue.clone(), handle.lister(), worker.clone()));
    let running = tokio::spawn(informer.run(stop.clone()));
    handle.synced().await?;
    tokio::task::block_in_place(|| answer::answer(|| Ok(Seen { handler: handler.so_far(), worker: worker.so_far() })))?;
    stop.cancel();
    queue.shut_down();
    working.await?;
    Ok(running.await?)
}

async fn work(queue: WorkQueue<ObjectKey>, lister: Lister<Pod>, lookout: Arc<Lookout>) {
    while let Some(item) = queue.next().await {
        if let Some(pod) = lister.get(item.key()) {
            lookout.see(pod.metadata.annotations.as_ref());
        }
        item.done();
    }
}
