//! Cluster state, locally: list-watch, reflector, DeltaFIFO, store, handlers.
//!
//! One stage a file, in the order in which an object meets them (see ARCHITECTURE.md for the walk).
//!
//! | to | look at |
//! | --- | --- |
//! | say what is cached: a kind, a namespace, selectors, a shard | [`Scope`], [`KubeListWatch`] |
//! | the same over several namespaces, also such as come and go | [`SharedInformer::in_namespaces`], the table of [`informer::namespaces`] |
//! | choose what is kept of an object: typed, metadata, a struct of one's own, lazy, transformed | [`shape`], [`SharedInformer::with_decoder`] |
//! | know which deadlines there are, and how requests are spread | [`Deadlines`], [`ReflectorConfig`], [`Budget`] |
//! | know what happens after 401, 403, 404, 410, 429 and everything else | the table of [`recovery`] |
//! | know how often the server is asked | the table of [`reflector`] |
//! | know what can't be decoded, whether anything was lost, who isn't synced | [`InformerHandle`] |
//! | find objects by a value, a range, several conditions, or labels | [`Index`], [`RangeIndex`], [`Query`], [`Lister::select`] |
//! | read one cache as several types | [`Lister::view`] |
//! | begin with what was saved | [`SharedInformer::begin_with`] |
//! | see one moment of the whole cache | [`ThreadSafeStore::snapshot`] |
//! | know how large a cache is said to be, and which objects are the largest | [`ThreadSafeStore::bytes`], [`InformerConfig`] |
//! | share one informer among controllers; wait for a custom resource | [`InformerFactory`], [`factory::Definitions`] |
//! | measure it: upstream's metrics and one for what waits at each stage | the table of [`metrics`], [`InformerHandle::observe`] |
//! | know what happened to one object, stage by stage | [`explain`], [`InformerHandle::explain`] |
//! | keep every delta in order, and bound what waits | [`DeltaOrder`], [`delta_fifo::FifoLimits`] |
//! | be told again once in a while, filter, map, pull events instead of being called | [`HandlerConfig`], [`handler::adapters`], [`InformerHandle::events`] |
//! | fill a store from a producer of one's own | [`Processor`] |
//! | test against a script instead of a server | [`scripted`] |
//!
//! # A kind in ten lines
//!
//! ```no_run
//! use std::sync::Arc;
//! use k8s_openapi::api::core::v1::Pod;
//! use tokio_util::sync::CancellationToken;
//! use watchkeeper_informer::{Deadlines, InformerConfig, KubeListWatch, Scope, SharedInformer};
//!
//! # async fn pods(client: kube_client::Client, stop: CancellationToken) {
//! let source = KubeListWatch::new(client, Scope::all::<Pod>(), Deadlines::default());
//! let informer = SharedInformer::<Pod>::new(Arc::new(source), InformerConfig::default());
//! let handle = informer.handle();
//! handle.add_handler(|event| println!("{:?}", event.object().metadata.name));
//! tokio::join!(informer.run(stop), async {
//!     handle.synced().await.expect("it runs");
//!     println!("{} Pods", handle.lister().len());
//! });
//! # }
//! ```
//!
//! Give the client no retries and no read timeout of its own, and each informer a name and a seed
//! ([`ReflectorConfig`]): `Connection` of the crate watchkeeper makes such clients and informers.
//!
//! # Indexes, and waiting for one's own write
//!
//! ```
//! use std::sync::Arc;
//! use k8s_openapi::api::core::v1::Pod;
//! use watchkeeper_informer::{InformerHandle, ResourceVersion, SharedInformer};
//!
//! fn node(pod: &Pod) -> Option<String> {
//!     pod.spec.as_ref()?.node_name.clone()
//! }
//!
//! async fn evict(mut informer: SharedInformer<Pod>, wrote: &Pod) {
//!     let by_node = informer.add_index("node", node);
//!     let by_age = informer.add_range_index("created", |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
//!     let handle = informer.handle();
//!     // ... it runs, and somebody writes:
//!     let Some(version) = &wrote.metadata.resource_version else { return };
//!     if handle.wait_for(&ResourceVersion::new(version)).await.is_err() { // bound it by a timeout
//!         return; // the informer has ended
//!     }
//!     for pod in by_node.get("node-1") {
//!         println!("{:?}", pod.metadata.name);
//!     }
//!     println!("the ten oldest anywhere: {:?}", by_age.first(.., 10).len());
//!     let Some(created) = &wrote.metadata.creation_timestamp else { return };
//!     let older_there = by_age.query(..created.0).and(by_node.query("node-1".to_owned()));
//!     println!("{} of them", older_there.list().len()); // in no order
//! }
//! ```
//!
//! # Without a server
//!
//! An informer without a server. By default the first request is a streaming list, which is a watch:
//!
//! ```
//! use std::sync::Arc;
//! use tokio_util::sync::CancellationToken;
//! use watchkeeper_informer::decode::Decoder;
//! use watchkeeper_informer::scripted::{Answer, ScriptedListWatch};
//! use watchkeeper_informer::shape::Projected;
//! use watchkeeper_informer::{InformerConfig, ObjectKey, SharedInformer};
//!
//! #[derive(Debug, serde::Deserialize)]
//! struct Data {
//!     data: std::collections::BTreeMap<String, String>,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let script = ScriptedListWatch::new();
//! script.on_watch(Answer::live_with(concat!(
//!     r#"{"type":"ADDED","object":{"metadata":{"namespace":"n","name":"a","resourceVersion":"4"},"data":{"k":"v"}}}"#,
//!     r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
//! )));
//! // With a server: `KubeListWatch`, or `Connection::informer_with` of the crate watchkeeper.
//! let decoder = Decoder::<Projected<Data>>::projected();
//! let informer = SharedInformer::with_decoder(Arc::new(script), decoder, InformerConfig::default());
//! let (handle, stop) = (informer.handle(), CancellationToken::new());
//! handle.add_handler(|event| println!("{event:?}"));
//! let running = tokio::spawn(informer.run(stop.clone()));
//! handle.synced().await.expect("it runs");
//! let cached = handle.lister().get(&ObjectKey::new("n", "a")).expect("listed");
//! assert_eq!(cached.data["k"], "v");
//! stop.cancel();
//! running.await.expect("it ends");
//! # }
//! ```
//! # For those who come from client-go
//!
//! | there | here |
//! | --- | --- |
//! | `WaitForCacheSync` | [`InformerFactory::synced`], [`InformerHandle::synced`]; with all handlers, [`InformerHandle::settled`] and then [`has_synced`](InformerHandle::has_synced), which an end leaves `false` |
//! | `AddEventHandlerWithResyncPeriod` | [`InformerHandle::add_handler_with`], [`HandlerConfig::resync`] |
//! | `RemoveEventHandler`, `ShutDownEventHandler` | [`Registration::end`], [`Registration::remove`] |
//! | `ResourceEventHandlerRegistration.HasSynced` | [`Registration::has_synced`] |
//! | `SetTransform` | [`Decoder::with_transform`](decode::Decoder::with_transform) |
//! | `SetWatchErrorHandler` | [`InformerHandle::sync_status`]: what fails, since when, and how often |
//! | `LastSyncResourceVersion`, `IsStopped` | [`InformerHandle::version`], [`InformerHandle::has_ended`] |
//! | `AddIndexers`, `IndexField` | [`SharedInformer::add_index`], [`InformerHandle::add_index`]: an index is known by its handle, so a name that is given twice is no conflict |
//! | `dynamicinformer`, `metadatainformer` | [`shape`] |
//! | `TweakListOptions` | [`Scope`] |
//! | `cache.Controller` | [`Processor`] |
//! | `cache.Options.DefaultNamespaces` of controller-runtime, fixed when the cache is made | [`SharedInformer::in_namespaces`]; while it runs [`InformerHandle::add_namespace`], [`InformerHandle::remove_namespace`] |
#![forbid(unsafe_code)]

pub mod backoff;
pub mod budget;
pub mod config;
pub mod decode;
pub mod delta_fifo;
pub mod event;
pub mod explain;
pub mod factory;
pub mod frame;
pub mod handler;
pub mod index;
pub mod informer;
mod json;
pub mod key;
pub mod list_watch;
pub mod lister;
pub mod metrics;
#[cfg(not(watchkeeper_mutants))]
mod mutant;
#[cfg(watchkeeper_mutants)]
#[doc(hidden)]
pub mod mutant;
pub mod object;
pub mod recovery;
pub mod reflector;
pub mod request_error;
mod scan;
pub mod scope;
pub mod scripted;
pub mod shape;
pub mod shard;
mod sight;
pub mod store;
pub mod sync;
#[cfg(test)]
mod thing;
pub mod version;
pub mod view;

pub use budget::{Budget, BudgetConfig};
pub use config::{Deadlines, DeltaOrder, InformerConfig, ReflectorConfig};
pub use delta_fifo::{DeltaFifo, Known};
pub use event::{Event, Finality};
pub use explain::{ExplainConfig, ExplainKeys, Step, Story};
pub use factory::{InformerFactory, SharedHandle};
pub use handler::{EventStream, HandlerConfig, HandlerStatus, NotSynced, Registration};
pub use index::{Index, Query, RangeIndex};
pub use informer::{
    Ended, InformerHandle, NamespacesError, NotCaughtUp, Processor, Removal, SharedInformer, SourceGuard,
};
pub use key::ObjectKey;
pub use list_watch::{KubeListWatch, ListWatch};
pub use lister::{Access, Lister, Selected, Selection};
pub use metrics::{Labels, Metrics, MetricsConfig};
pub use object::{Cached, Labelled};
pub use reflector::{Audit, Reflector, ReflectorHandle, ReflectorStatus, Verdict};
pub use request_error::{Refusal, RequestError};
pub use scope::{ResourceKind, Scope};
pub use shard::{Shard, ShardBy};
pub use store::{Snapshot, StoreWriter, ThreadSafeStore};
pub use sync::SyncStatus;
pub use version::ResourceVersion;
pub use view::{View, Viewed};
