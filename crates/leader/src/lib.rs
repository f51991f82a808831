//! Leader gating: who may act, until when, and proof of it.
//!
//! In: one Lease and a clock. Out: terms, each with a gate that is asked at each use, an epoch that marks its writes, and
//! a fence that stops what comes too late. Never: promises that there is exactly one leader.
//!
//! What is promised:
//!
//! 1. Per object no update is lost, whatever the clocks do: gated updates and deletes carry a resource version (the
//!    [fence](FenceLayer) insists), so none of an older epoch commits after a newer one's.
//! 2. At most one gate is open, and its effects are over before the next one opens, as long as clock rates stay within
//!    [`Timings::clock_rate_error`], effects within [`Timings::stop_bound`], and only candidates that follow these rules
//!    change the Lease. Deleting or editing the Lease by hand costs time, not safety, except where, before a
//!    candidate has seen the holder's term, an edit shortens its lease or puts an older release in its place.
//! 3. Outside of that, in a stopped virtual machine above all, an overlap is possible, limited to effects already past
//!    their gate check.
//! 4. There may be no leader for up to `L / (1 - rho) + R * (1 + jitter)` and the time to catch up.
//!
//! The pieces: [`Elector`] stands in the election (or [`spawn_elector_thread`] runs one on its own thread);
//! [`Candidacy::next_term`] hands over a [`Standing`]; [`Term`] is what workers hold; [`FenceLayer`] guards a client.
//!
//! The Role needs get, create and update on `leases`, and create on `events` (in the core group) of the Lease's namespace, for the Events that
//! say who became leader and who stopped leading.
//!
//! Locks from before there were Leases are looked at only if [`ElectorConfig::old_lock`] names one.
//!
//! ```
//! use std::sync::Arc;
//! use tokio_util::sync::CancellationToken;
//! use watchkeeper_leader::{BootClock, Elector, ElectorConfig, End, Identity, KubeLeaseLock, Timings};
//!
//! # async fn example(client: kube_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let config = ElectorConfig {
//!     timings: Timings::default(),
//!     ..ElectorConfig::new("default", "my-controller", Identity::generate("my-pod")?)
//! };
//! let lock = Arc::new(KubeLeaseLock::new(client, "default", "my-controller"));
//! let (elector, mut candidacy) = Elector::new(lock, config, Arc::new(BootClock))?;
//! let shutdown = CancellationToken::new();
//! let work = async {
//!     while let Some(standing) = candidacy.next_term().await {
//!         // Catch up with the cluster here, then:
//!         if standing.open().is_ok() {
//!             standing.term().cancelled().cancelled().await; // ... and work meanwhile
//!         }
//!         standing.end(End::Release).await;
//!     }
//! };
//! futures::join!(elector.run(shutdown), work);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod bucket;
mod candidacy;
mod clock;
mod config;
mod election;
mod elector;
mod electors;
mod events;
mod fence;
mod gate;
mod identity;
mod kube_lock;
mod lock;
#[cfg(test)]
#[path = "../tests/matrix/log.rs"]
mod log;
mod members;
mod metrics;
#[cfg(watchkeeper_mutants)]
#[doc(hidden)]
pub mod models;
#[cfg(not(watchkeeper_mutants))]
mod mutant;
#[cfg(watchkeeper_mutants)]
#[doc(hidden)]
pub mod mutant;
mod objects;
mod old_locks;
mod old_record;
mod record;
mod roster;
mod rules;
mod sight;
#[cfg(test)]
mod simulation;
mod sync;
mod tenure;
mod thread;
mod timings;
mod trace;

pub use bucket::{Bucket, Buckets, BucketsError, MOST_BUCKETS};
pub use candidacy::{Candidacy, End, Footing, Standing};
pub use clock::{BootClock, GateClock, GateInstant, VirtualClock};
pub use config::{ConfigError, ElectorConfig};
pub use election::Stance;
pub use elector::{Elector, LONGEST_FAREWELL};
pub use electors::{Electors, Stand};
pub use fence::{Fence, FenceConfig, FenceLayer, FenceRefused, OutcomeUnknown, Refusal};
pub use gate::{CloseReason, GateClosed, Loss, Remaining, Term};
pub use identity::{Identity, IdentityError, LONGEST_READABLE};
pub use kube_lock::KubeLeaseLock;
pub use lock::{LeaseLock, LockError};
pub use metrics::{Metrics, MetricsSink};
pub use old_locks::{OldLock, OldLockKind};
pub use old_record::OLD_LOCK_ANNOTATION;
pub use record::{
    EPOCH_ANNOTATION, Epoch, HAND_OVER_ANNOTATION, HANDED_TO_ANNOTATION, Lease, RELEASED_ANNOTATION,
    RELEASED_TRANSITIONS_ANNOTATION, RecordError, Release,
};
pub use sight::{ElectionStatus, LONGEST_HISTORY, Sight, TermEnd, TermRecord, TermStatus, Unhealthy};
pub use thread::{BoxError, ElectorFailure, ElectorThread, spawn_elector_thread};
pub use timings::{LONGEST_LEASE, Timings, TimingsError};
