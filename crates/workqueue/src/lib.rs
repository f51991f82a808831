//! A keyed work queue: keys wait their turn.
//!
//! In: keys, as often as something about them changes. Out: [`WorkItem`]s, one key at a time to one worker at a time.
//! The queue never looks into a key, knows nothing of Kubernetes, spawns no task and starts no thread: whoever waits
//! in [`WorkQueue::next`] also keeps the time for the keys that are delayed.
//!
//! Three guarantees, the ones of client-go's work queue:
//!
//! 1. A key that is added many times before a worker takes it is handed out once.
//! 2. A key is in the hands of at most one worker.
//! 3. A key that is added while a worker has it is handed out exactly once more, after that worker has finished.
//!
//! ```text
//!              add                     next                 done, give_up
//!  (unknown) -------->  ready  ------------------> in flight ------------> (unknown)
//!      |                 ^  ^                       |  |  |
//!      | add_after       |  |   add meanwhile,      |  |  | after, retry
//!      v     deadline,   |  +-- or dropped without -+  |  v
//!   waiting -- or add ---+      an outcome             waiting
//! ```
//!
//! Where this queue differs from client-go's: an item is a guard, so forgetting to finish it, finishing it twice or
//! finishing a foreign key can't be written down; the failures of a key are forgotten by its outcome, so there is no
//! `Forget` to forget; an add brings a waiting key forward instead of handing it out twice.
//!
//! ```
//! # use watchkeeper_workqueue::{Config, WorkQueue};
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let queue = WorkQueue::new(Config { name: "leases".into(), ..Config::default() });
//! queue.add("kube-system/scheduler");
//! queue.add("kube-system/scheduler"); // Already queued: handed out once.
//!
//! let item = queue.next().await.expect("not shut down");
//! assert_eq!((*item.key(), item.attempt()), ("kube-system/scheduler", 1));
//! item.retry(); // Failed: again in 5 ms, then 10 ms, 20 ms, ...
//!
//! let item = queue.next().await.expect("not shut down");
//! assert_eq!(item.attempt(), 2);
//! item.done();
//!
//! queue.shut_down();
//! assert!(queue.next().await.is_none());
//! # });
//! ```
#![forbid(unsafe_code)]

mod answer;
mod delay;
mod drain;
mod item;
mod key_id;
mod keys;
mod lanes;
mod ledger;
mod metrics;
mod moment;
#[cfg(not(watchkeeper_mutants))]
mod mutant;
#[cfg(watchkeeper_mutants)]
#[doc(hidden)]
pub mod mutant;
mod next;
mod order;
mod policy;
mod queue;
mod rate_limit;
mod shared;
mod sight;
mod state;
mod sync;
mod waiters;

pub use answer::{Added, NotDrained, Retried};
pub use item::WorkItem;
pub use key_id::KeyId;
pub use metrics::{Metrics, Snapshot};
pub use policy::{Ageing, Ask, Attempts, Debounce, Flow, Policy, Reason, Reasons};
pub use queue::{Config, WorkQueue};
pub use rate_limit::{Capped, Exponential, FastSlow, Jitter, MaxOf, RateLimiter, TokenBucket, Unlimited};
pub use sight::{Exhausted, InFlight, Sight, Waiting};
