//! An embedded Kubernetes API server, thin, and exact where informers and electors look.
//!
//! Comes in: HTTP requests, from a socket or straight from a client in the same process. Goes out: what a Kubernetes API
//! server answers, watches as streams included. It never keeps anything on disk, never authenticates anyone, and runs
//! nothing in the background: it is a function of requests over one revisioned log. What goes wrong on purpose, from a seed,
//! is in [`fault`]; who may do what in [`access`]; many seeds in virtual time in [`simulate`]. The program
//! `watchkeeper-apiserver` (`--help`) is the same behind a socket; how its clients say who they are is in [`listen::serve`].
//!
//! ```
//! use futures::TryStreamExt;
//! use k8s_openapi::api::coordination::v1::Lease;
//! use kube_client::api::{ListParams, PostParams, WatchParams};
//! use kube_client::core::{ObjectMeta, WatchEvent};
//! use kube_client::{Api, Client};
//! use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Refusal, Rule, Verb};
//! use watchkeeper_apiserver::{ApiServer, Config};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = ApiServer::new(Config { seed: 7, ..Config::default() });
//! let alice = Client::new(server.service("alice"), "default");
//! let leases: Api<Lease> = Api::default_namespaced(alice);
//! for name in ["a", "b"] {
//!     let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
//!     leases.create(&PostParams::default(), &Lease { metadata, ..Lease::default() }).await?;
//! }
//! assert_eq!(leases.list(&ListParams::default()).await?.items.len(), 2);
//! assert_eq!(server.writes()[0].identity, "alice");
//!
//! // The next watch is told after one event that its version has been compacted.
//! let rule = Rule {
//!     matcher: Matcher { verbs: vec![Verb::Watch], ..Matcher::default() },
//!     budget: Budget { count: Some(1), ..Budget::default() },
//!     ..Rule::new("compacted", Action::ErrorEvent { after_events: 1, status: Refusal::of(410) })
//! };
//! server.faults().add(rule)?;
//! let events: Vec<_> = leases.watch(&WatchParams::default(), "0").await?.try_collect().await?;
//! assert!(matches!(&events[..], [WatchEvent::Added(_), WatchEvent::Error(status)] if status.code == 410));
//! assert_eq!(server.faults().fired().rule("compacted"), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What is served
//!
//! * v1: Namespace (`/finalize`), ConfigMap, Endpoints, Event, Node, Pod (`/binding`), Secret, ServiceAccount, Service
//! * apps/v1: DaemonSet, Deployment, ReplicaSet, StatefulSet; batch/v1: CronJob, Job
//! * coordination.k8s.io: Lease (v1), LeaseCandidate (v1beta1); discovery.k8s.io/v1: EndpointSlice; events.k8s.io/v1: Event
//!
//! Each is a row of a table: get, list, watch, create, update, merge and JSON patch, delete, delete of a collection, and
//! `/status` where upstream has it; with upstream's rules of generation, of updates without a version or of what is missing,
//! of fields that selectors may name or that never change, and of what a deletion answers.
//!
//! * One counter for all resources; every write takes the next version, a write that changes nothing takes none, a deletion
//!   has a version of its own. History is bounded by count a kind, and by age
//!   if asked for; [`ApiServer::compact`] cuts it on demand.
//! * Lists at the present, at least at a version, or exactly at one; pages whose tokens keep the first page's version, and
//!   can be exchanged when it has been compacted; label and field selectors.
//! * Watches from a version, from now, or with initial events and their end mark; bookmarks each minute and two seconds
//!   before the timeout; what enters or leaves a selector is added or deleted; a compacted version is an ERROR event 410;
//!   a watcher that doesn't read is cut after [`Config::watch_buffer`] events, as upstream cuts it. An event is encoded
//!   once, when it is written.
//! * One seed decides ids, timeouts, faults and, with [`Config::shuffle_dispatch`], the order in which watchers hear of a
//!   write: with a paused clock two runs of one seed are alike to the byte.
//! * A [snapshot](ApiServer::snapshot) of everything can be gone back to, as from a backup, and versions can be
//!   [raised](ApiServer::raise_version).
//! * [Replicas](replica): several front ends over the one log, each with a lag and a clock of its own; one that is
//!   paused, restarted or not initialised; requests routed to one, by identity, in turn or at random. Without more of them a list at `0` is
//!   as new as any other.
//! * The Events of the two groups are the same objects: each group reads, watches, changes and deletes what the other has
//!   written, under its own names and by its own rules.
//! * PartialObjectMetadata and its list, in all answers that have objects, watches and their bookmarks included.
//! * Preconditions on version and uid, finalizers, delete options, generated names, validation of metadata, Leases and Events,
//!   dry run of every verb, `timeout=` (what isn't decided in time isn't applied), and Status errors with upstream's codes,
//!   reasons and texts.
//! * `/version`, health, and plain discovery.
//!
//! # What is not, and what differs
//!
//! * Objects are kept as JSON without a schema: unknown fields stay, defaults are not filled in (a Pod without a
//!   `restartPolicy` has none, though a selector finds it as `Always`), and only Leases, LeaseCandidates and Events are
//!   checked beyond their metadata. `managedFields` are stored as they are sent. No `/scale`, no cluster IPs.
//! * No server-side apply, no strategic merge patch (415), no YAML or protobuf (415, 406), no Table (406, or the next the
//!   client accepts), no gzip, no OpenAPI, no custom resources, no `fieldValidation` and no warnings.
//! * Bodies may be 127 levels deep and objects 125, so that lists of them can be read as well; upstream reads 10,000.
//! * Leases keep a `strategy` and a `preferredHolder`, which upstream drops without coordinated leader election.
//! * A write whose answer would have no form that the client accepts is refused; upstream makes it, and then says 406.
//! * Owner references that are there twice stay, and of whether an owner exists nobody asks.
//! * There is no garbage collector. A deletion in the foreground or as an orphan marks the object with upstream's finalizer and
//!   takes that away in the same request: two events, as where nothing depends on the object. Dependents stay.
//! * A collection is deleted under one lock; upstream deletes in parallel, and others may write in between.
//! * A Pod is deleted at once, without grace (`gracePeriodSeconds` is only read) and in one event; a namespace takes its content
//!   along within the same request, and stays as long as there is content or a finalizer in its metadata or spec;
//!   `kube-node-lease` can be deleted, as upstream.
//! * No roles (only plain [access rules](access)), no flow control, no audit id and flow-control headers; identities are names ([`listen`]).
//! * What odd connections get, and how that differs, is told by [`listen`]. Broken chunks of a body are 400; upstream: 500.
//! * A request that was waiting in a socket counts its `timeout=` from when the server reads it, as upstream does.

#![forbid(unsafe_code)]

pub mod access;
pub mod audit;
pub mod clock;
pub mod config;
pub mod fault;
pub mod listen;
pub mod replica;
pub mod service;
pub mod simulate;

mod ageing;
mod binding;
mod delete;
mod discovery;
mod form;
mod kinds;
mod line_log;
mod list;
mod namespace;
mod object;
mod options;
mod patch;
mod places;
mod route;
mod select;
mod server;
mod signal;
mod socket;
mod status;
mod store;
mod transaction;
mod update;
mod validate;
mod watch;
mod write;

pub use access::{Access, AccessRule, Effect};
pub use audit::WriteRecord;
pub use clock::{Clock, SystemClock, TokioClock};
pub use config::Config;
pub use server::ApiServer;
pub use service::{Body, Service};
pub use store::Snapshot;
