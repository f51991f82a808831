//! One reflector into its store, until that is ready.
//!
//! In: where the Pods are. Out: a [`Figure`] for each answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube_runtime::{WatchStreamExt as _, reflector, watcher};

use crate::answer::answer;
use crate::figure::{self, Figure};
use crate::{BoxError, Options};

pub(crate) async fn run(options: &Options) -> Result<(), BoxError> {
    let started = Instant::now();
    let (store, writer) = reflector::store::<Pod>();
    let events = Arc::new(AtomicU64::new(0));
    let told = events.clone();
    let watching = watcher(options.pods()?, options.watcher()).default_backoff().reflect(writer).applied_objects();
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
    tokio::task::block_in_place(|| answer(figure))
}

fn checksum(pod: &Pod) -> u64 {
    let metadata = &pod.metadata;
    let texts = [&metadata.namespace, &metadata.name, &metadata.uid, &metadata.resource_version];
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    let [namespace, name, uid, version] = texts.map(|text| text.as_deref().unwrap_or_default());
    figure::of_object([namespace, name, uid, version, node.unwrap_or_default(), ip.unwrap_or_default()])
}
