//! Leader gating: who may act, until when, and proof of it.
//!
//! In: one Lease and a clock. Out: terms, each with a gate that is asked at each use, an epoch that marks its writes, and
//! a fence that stops what comes too late. Never: promises that there is exactly one leader.
//!
//! # The promise
//!
//! L is how long others leave a Lease alone after they last saw it change, R how often it is looked at and renewed, rho how
//! wrong the rate of a clock may be; [`Timings`] has them all.
//!
//! 1. Per object no update is lost, whatever the clocks do: gated updates and deletes carry a resource version (the
//!    [fence](FenceLayer) insists), so none of an older epoch commits after a newer one's. [`FenceLayer`] lists what can't be
//!    covered so: writes without a base, mostly.
//! 2. At most one gate is open, and its effects are over before the next one opens, as long as clock rates stay within
//!    [`Timings::clock_rate_error`], effects within [`Timings::stop_bound`], and only candidates that follow these rules
//!    change the Lease.
//! 3. Outside of that, in a stopped virtual machine above all, an overlap is possible, limited to effects already past
//!    their gate check.
//! 4. There may be no leader for up to `L / (1 - rho) + R * (1 + jitter)`, a round trip and the time to catch up.
//!
//! What candidates (C) and holders (H) do for it:
//!
//! | rule | |
//! |---|---|
//! | C1 | take over, by compare-and-swap, only what has not changed for L on the own clock, counted from the receipt of the read that first showed it |
//! | C2 | L is the longest duration recorded in the holder's term, up to [`LONGEST_LEASE`], or the own where none is; times that others wrote are never read |
//! | C3 | without waiting only after a release by these rules, which leaves a marker; a blank holder without one, a missing and a recreated Lease are waited out |
//! | H1 | the gate stays open for D from just before the last renewal that succeeded was sent; an unknown outcome extends nothing |
//! | H2 | an answer that shows another holder, another uid or no Lease ends the term at once, and so does somebody else who goes on renewing under the own identity |
//!
//! Deleting or editing the Lease by hand costs time, not safety, except where, before a candidate has seen the holder's
//! term, an edit shortens its lease or puts an older release in its place. Whoever writes to the Lease more often than
//! every L keeps all others from succeeding a holder that has died.
//!
//! # The pieces
//!
//! [`Elector`] stands in the election (or [`spawn_elector_thread`] runs one on its own thread);
//! [`Candidacy::next_term`] hands over a [`Standing`]; [`Term`] is what workers hold; [`FenceLayer`] guards a client.
//!
//! The Role needs get, create and update on `leases` (with buckets also list and delete), and create on `events` (in the core group) of the Lease's namespace, for the Events that
//! say who became leader and who stopped leading.
//!
//! Locks from before there were Leases are looked at only if [`ElectorConfig::old_lock`] names one. With [`ElectorConfig::coordinated`]
//! the server names who is to lead.
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
//!
//! # What stays impossible
//!
//! * Exactly one leader at every moment: to be sure that the last one is gone takes time without any.
//! * To take back what has passed the gate: a process may be stopped for ever between the check and the system call, and
//!   a network may keep a packet. Only the server can refuse it, by its version; [`FenceLayer`] says what even that leaves.
//! * To notice time that no clock has counted: a virtual machine that is stopped and goes on. The gate is shut as soon as
//!   wall and boot clock are found apart ([`GateClosed::InDoubt`]), but until that look it was open.
//! * To tell two copies of one machine apart before their renewals have met twice, within `2 R + T`; then one of them ends
//!   its term. An identity is drawn at the start, not read from the machine, so that a restart has another one.
//! * To fence what has no versions: mails, clouds, disks. Give them [`Term::epoch`] as a token and let them refuse less.
//! * To number terms over a restored etcd, whose versions begin again; or to guard against a client that lies.
//!
//! # How to choose the timings
//!
//! | | default | longer | shorter |
//! |---|---|---|---|
//! | L, lease duration | 15 s | fewer losses where the API server is away for long | sooner takeover after a crash: it takes L, and R on the average |
//! | D, renew deadline | 10 s | more tries before a term is lost | more room for J and rho: `D <= (1 - rho) * (L / (1 + rho) - J)` |
//! | R, retry period | 2 s | fewer requests: `1 / R` a second a candidate | more tries within D, sooner takeover after a release |
//! | T, request timeout | 3 s | a slow server's answers still count | more tries within D: at least `R + T < D` is asked for |
//! | J, stop bound | 2 s | workers that take longer to stop | more room for D. Past it the process must have ended: see the hard stop of `watchkeeper::Manager` |
//!
//! Choose J first: how long from the closing of the gate to the last effect of the slowest worker, the timeout of its
//! requests included. Then L for how long nobody may act after a crash, then the longest D that
//! [`Timings::longest_renew_deadline`] allows, R and T such that three tries fit. rho is 1/12 unless you know your clocks.
//! [`Timings::check`] refuses what can't work, and shows the numbers. All candidates should have the same; a longer lease
//! of another one is respected.
//!
//! # Kinds of gate
//!
//! One Lease for all controllers of a process, one for each ([`Stand::Alone`]), or one for each bucket of keys, which the
//! replicas share out among themselves ([`Stand::Shared`], [`Buckets`]); `watchkeeper::Gating` chooses, and has `Always` for
//! work without any. A [`Stance`] says who comes first, [`End::HandOver`] who comes next.
//!
//! # Beside others
//!
//! As read in their sources: `kubernetes/client-go` 0.36.3, which `kubernetes-sigs/controller-runtime` 0.24 runs (and ends
//! the process after a loss), `olix0r/kubert` 0.25.0, and the crates kube-leader-election 0.44.0, kube-lease-manager 0.13.1
//! and kube-coordinate 2.0.0-rc.0.
//!
//! | | here | client-go, controller-runtime | kubert | kube-leader-election | kube-lease-manager | kube-coordinate |
//! |---|---|---|---|---|---|---|
//! | a lease has run out by | own clock since the last change was seen | the same | wall clock against `renewTime` | wall clock against `renewTime` | wall clock against `renewTime` | own clock since the last change was seen |
//! | takeover | update with version | update with version | forced apply with version | merge patch without version | holder blanked by a patch without version, then an apply | forced apply with version |
//! | a holder's time counts from | sending of the last good renewal | the answer, and R more | wall clock written | wall clock written | wall clock written | the answer |
//! | asked before each write | yes, and the fence checks each attempt | no: a context is cancelled | if the caller asks `is_current_for` | no | no: a channel says it | no |
//! | timings checked against stop time and clock errors | yes | L > D > 1.2 R | no | no | no | L > D > 1.2 R |
//! | older writes refused by the server | epoch and version | no | no | no | no | no |
//! | release | after the work has stopped, marked so | when cancelled, if chosen; nothing waits for the work | `vacate`, a patch with version | `step_down`, a patch without version | a patch without version | no |
//! | a deleted Lease | waited out | created and held at once | an error | created and held at once | created and held at once, if told to create | created and held at once |
//! | after a loss | stands again | returns | goes on | the caller's loop | goes on | goes on |
//!
//! # Figures
//!
//! On a real kube-apiserver 1.36 with L = 6 s, D = 4 s, R = 1 s and two candidates on 2 cores (`e2e/run --figures`, which
//! needs Go; ten takeovers each; from the trouble to the next one's first act, seconds as least / median / most):
//!
//! | | after SIGKILL | after SIGTERM | requests a second of both |
//! |---|---|---|---|
//! | here | 6.16 / 6.73 / 7.05 | 0.33 / 0.82 / 1.19 | 1.90 |
//! | client-go 0.36.3 | 5.56 / 7.60 / 8.56 | 0.05 / 1.12 / 1.65 | 1.63 |
//!
//! In 5,000 seeds of three to five candidates in virtual time, clocks at 0.88 to 1.12, with pauses, lost and late answers,
//! edits and deletions, two leaders at once were found in no seed, and in 4,097 where the same processes follow client-go's
//! rules; a write of an older term after a newer one's in none and in 2,933
//! (`WATCHKEEPER_SEEDS=5000 cargo test -p watchkeeper-leader --lib overlaps_beside_client_go -- --nocapture`).
#![forbid(unsafe_code)]

mod bucket;
mod candidacy;
mod clock;
mod config;
mod coordination;
mod election;
mod elector;
mod electors;
mod events;
mod fence;
mod gate;
mod identity;
mod kube_lock;
mod lease_candidate;
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
mod standpoint;
mod sync;
mod tenure;
mod thread;
mod timings;
mod trace;

pub use bucket::{Bucket, Buckets, BucketsError, MOST_BUCKETS};
pub use candidacy::{Candidacy, End, Footing, Standing};
pub use clock::{BootClock, GateClock, GateInstant, VirtualClock};
pub use config::{ConfigError, ElectorConfig};
pub use coordination::{Coordination, Strategy};
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
    EPOCH_PREFIX, Epoch, HAND_OVER_ANNOTATION, HANDED_TO_ANNOTATION, Lease, RELEASED_ANNOTATION,
    RELEASED_TRANSITIONS_ANNOTATION, RecordError, Release, epoch_annotation,
};
pub use sight::{ElectionStatus, LONGEST_HISTORY, Sight, TermEnd, TermRecord, TermStatus, Unhealthy};
pub use standpoint::Stance;
pub use thread::{BoxError, ElectorFailure, ElectorThread, spawn_elector_thread};
pub use timings::{LONGEST_LEASE, Timings, TimingsError};
