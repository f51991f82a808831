//! Our side of an ingest: one informer, in a process of its own, until it is synced; then whatever it is asked for.
//!
//! In: where the Pods are, and the shape to keep them in. Out: a [`Figure`] once synced, and another for each line on stdin.
//! It is compiled into this program, whose allocator counts, and into a program of its own, whose allocator is the system's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Pod;
use kube_client::core::{DynamicObject, PartialObjectMeta};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use watchkeeper::BoxError;
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::shape::{Lazy, Projected};
use watchkeeper_informer::{Cached, InformerConfig, InformerHandle, ReflectorConfig, SharedInformer};

use super::answer::answer;
use super::connect;
use super::figure::{Figure, of_object, stand};

/// What is kept of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    Typed,
    Metadata,
    Dynamic,
    Projected,
    Lazy,
}

impl Shape {
    pub(crate) const ALL: [Self; 5] = [Self::Typed, Self::Projected, Self::Lazy, Self::Metadata, Self::Dynamic];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Typed => "typed",
            Self::Metadata => "metadata",
            Self::Dynamic => "dynamic",
            Self::Projected => "projected",
            Self::Lazy => "lazy",
        }
    }
}

/// What to ingest.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where the API server is.
    #[arg(long)]
    pub(crate) server: String,
    /// What is kept of each object.
    #[arg(long, value_enum, default_value = "typed")]
    pub(crate) shape: Shape,
    /// By a streaming list, or one in one body.
    #[arg(long)]
    pub(crate) streaming: bool,
}

/// The fields that a scheduler's cache might want.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Placement {
    spec: PlacementSpec,
    status: PlacementStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlacementSpec {
    node_name: Option<Box<str>>,
}

#[derive(Deserialize)]
struct PlacementStatus {
    #[serde(rename = "podIP")]
    pod_ip: Option<Box<str>>,
}

/// Ingests, and answers each line on stdin with a figure until there are no more.
pub(crate) async fn run(options: Options, heap: fn() -> Option<u64>) -> Result<(), BoxError> {
    let config = DecoderConfig::default();
    match options.shape {
        Shape::Typed => {
            let read = |pod: &Pod| {
                let spec = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
                (spec, pod.status.as_ref().and_then(|status| status.pod_ip.clone()))
            };
            ingest(&options, Decoder::new(config), read, heap).await
        }
        Shape::Metadata => {
            let decoder = Decoder::<PartialObjectMeta<Pod>>::metadata(config);
            ingest(&options, decoder, |_| (None, None), heap).await
        }
        Shape::Dynamic => {
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            let read =
                move |pod: &DynamicObject| (text(&pod.data["spec"]["nodeName"]), text(&pod.data["status"]["podIP"]));
            ingest(&options, Decoder::new(config), read, heap).await
        }
        Shape::Projected => {
            let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
            let read = move |pod: &Projected<Placement>| (text(&pod.spec.node_name), text(&pod.status.pod_ip));
            ingest(&options, Decoder::projected(), read, heap).await
        }
        Shape::Lazy => {
            let read = |pod: &Lazy<Pod>| {
                let field = |path: &[&str]| pod.field::<String>(path).ok().flatten();
                (field(&["spec", "nodeName"]), field(&["status", "podIP"]))
            };
            ingest(&options, Decoder::lazy(), read, heap).await
        }
    }
}

async fn ingest<K: Cached>(
    options: &Options,
    decoder: Decoder<K>,
    read: impl Fn(&K) -> (Option<String>, Option<String>),
    heap: fn() -> Option<u64>,
) -> Result<(), BoxError> {
    let started = Instant::now();
    let source = connect::all_pods(&options.server)?;
    let source = if options.shape == Shape::Metadata { source.metadata_only() } else { source };
    let reflector =
        ReflectorConfig { streaming_list: options.streaming, page_size: u32::MAX, ..ReflectorConfig::default() };
    let config = InformerConfig { reflector, ..InformerConfig::default() };
    let informer = SharedInformer::with_decoder(Arc::new(source), decoder, config);
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    let events = Arc::new(AtomicU64::new(0));
    let told = events.clone();
    handle.add_handler(move |_| _ = told.fetch_add(1, Ordering::Relaxed));
    let running = tokio::spawn(informer.run(stop.clone()));
    handle.synced().await?;
    let wall_s = started.elapsed().as_secs_f64();
    let figure = || {
        // Before anything is read for the checksum.
        let stand = stand(heap())?;
        let (objects, checksum) = checksum(&handle, &read);
        Ok(Figure { objects, checksum, wall_s, events: events.load(Ordering::Relaxed), ..stand })
    };
    tokio::task::block_in_place(|| answer(figure))?;
    stop.cancel();
    Ok(running.await?)
}

fn checksum<K: Cached>(
    handle: &InformerHandle<K>,
    read: impl Fn(&K) -> (Option<String>, Option<String>),
) -> (usize, u64) {
    let objects = handle.lister().list();
    let sum = objects.iter().fold(0_u64, |sum, object| {
        let (node, ip) = read(object);
        sum.wrapping_add(of_object([
            object.namespace(),
            object.name(),
            object.uid(),
            object.version(),
            node.as_deref().unwrap_or_default(),
            ip.as_deref().unwrap_or_default(),
        ]))
    });
    (objects.len(), sum)
}
