//! A keyed work queue: keys wait their turn.
//!
//! In: keys, as often as something about them changes. Out: [`WorkItem`]s, one key at a time to one worker at a time.
//! The queue never looks into a key, knows nothing of Kubernetes, spawns no task and starts no thread: whoever waits
//! in [`WorkQueue::next`] also keeps the time for the keys that are delayed.
//!
//! # Three guarantees
//!
//! 1. A key that is added many times before a worker takes it is handed out once.
//! 2. A key is in the hands of at most one worker.
//! 3. A key that is added while a worker has it is handed out exactly once more, after that worker has finished.
//!
//! Together they are what makes a controller level triggered: whatever happens, some worker looks at the newest state
//! after the last change, and no two workers do so at once.
//!
//! ```text
//!              add                     next                 done, give_up
//!  (unknown) -------->  ready  ------------------> in flight ------------> (unknown)
//!      |                 ^  ^                       |  |  |
//!      | add_after       |  |   add meanwhile,      |  |  | after, retry
//!      v     deadline,   |  +-- or dropped without -+  |  v
//!   waiting -- or add ---+      an outcome             |  waiting
//!                        ^                             v
//!                        +--- add, or retried by hand  exhausted (retry, once too often)
//! ```
//!
//! # An example
//!
//! ```
//! # use watchkeeper_workqueue::{Config, Retried, WorkQueue};
//! # use std::time::Duration;
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let queue = WorkQueue::new(Config { name: "leases".into(), ..Config::default() });
//! queue.add("kube-system/scheduler");
//! queue.add("kube-system/scheduler"); // Already queued: handed out once.
//!
//! let item = queue.next().await.expect("not shut down");
//! assert_eq!((*item.key(), item.attempt()), ("kube-system/scheduler", 1));
//! assert_eq!(item.retry(), Retried::In(Duration::from_millis(5))); // Failed: then 10 ms, 20 ms, ...
//!
//! let item = queue.next().await.expect("not shut down");
//! assert_eq!(item.attempt(), 2);
//! item.done();
//!
//! queue.drain(Duration::from_secs(30)).await.expect("nothing is left to do");
//! assert!(queue.next().await.is_none());
//! # });
//! ```
//!
//! Workers are loops over [`WorkQueue::next`], as many as there may be keys in flight. They end by themselves when the
//! queue is shut down and empty; where the time for that is over, the rest is discarded:
//!
//! ```
//! # use watchkeeper_workqueue::{Config, WorkQueue};
//! # use std::time::Duration;
//! # async fn reconcile(key: &u32) -> Result<(), ()> { if *key == 7 { Err(()) } else { Ok(()) } }
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let queue = WorkQueue::new(Config::default());
//! let workers: Vec<_> = (0..4)
//!     .map(|_| {
//!         let queue = queue.clone();
//!         tokio::spawn(async move {
//!             while let Some(item) = queue.next().await {
//!                 match reconcile(item.key()).await {
//!                     Ok(()) => item.done(),
//!                     Err(()) => _ = item.retry(),
//!                 }
//!             }
//!         })
//!     })
//!     .collect();
//! for key in 0..10_u32 {
//!     queue.add(key);
//! }
//! if let Err(left) = queue.drain(Duration::from_secs(30)).await {
//!     eprintln!("{left}");
//!     queue.discard();
//! }
//! for worker in workers {
//!     worker.await.expect("no worker panics");
//! }
//! # });
//! ```
//!
//! A worker that must also hear of something else makes a new call of `next` each time round, by `select!` with a
//! `biased` first look at what ends it. A call that is kept beside the loop and not polled while a key is worked on
//! may be the one that was woken for a key, or that keeps the time, and holds both up.
//!
//! # Beside client-go's and controller-runtime's queues
//!
//! | | client-go 0.36 | controller-runtime 0.25 | here |
//! | --- | --- | --- | --- |
//! | three guarantees | yes | yes | yes |
//! | finishing twice, or a foreign key | breaks them | breaks them | doesn't compile: an item is a guard |
//! | worker gone without an outcome | key stuck | the queue's key is stuck; its controller defers `Done` | key back at once, after a panic with a backoff |
//! | `Forget` forgotten | failures kept for ever | failures kept for ever | outcomes forget |
//! | delays | earliest wins; 1,000 sends, then blocks | earliest wins | earliest wins; never blocks; withdrawn, brought forward |
//! | add of a waiting key | handed out now, and again later | brought forward | brought forward |
//! | overall token bucket | reserves without a bound | not by default | reserves up to a bound |
//! | jitter | no | no | [`Jitter`] |
//! | priority | by a store of one's own (`Queue`) | yes, may starve | [`Ageing`]: nobody starves |
//! | fair share between flows | no | no | [`Policy::flow`] |
//! | minimum interval, debounce | no | no | [`Policy::min_interval`], [`Debounce`] |
//! | longest number of attempts | by hand (`NumRequeues`) | by hand, or at once (`TerminalError`) | [`Attempts`], with a place to rest |
//! | pause | no | no | of the queue, or of a key |
//! | reasons | no | no | [`Reasons`] |
//! | capacity | no | no | [`Policy::capacity`], answered with [`Added::Full`] |
//! | drain | without a bound; leaves ready keys | drops ready keys, waits for nothing | [`WorkQueue::drain`]: bounded, any number may wait |
//! | what is in it | its length | its length; keys in its log | [`WorkQueue::snapshot`], [`WorkQueue::sight`] |
//! | goroutines or tasks of its own | 1, with metrics 2 | 4, with metrics 5 | none |
//!
//! What they have and this queue hasn't: a store of one's own under the queue (client-go's `Queue` hook), since the
//! policies are what it is used for; a limiter that sees the key, since ours hold nothing a key; the priority in what a
//! worker gets, several keys in one add, the depth by priority, and a rate limited add with a priority
//! (controller-runtime).
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
pub use next::Next;
pub use policy::{Ageing, Ask, Attempts, Debounce, Flow, Policy, Reason, Reasons};
pub use queue::{Config, WorkQueue};
pub use rate_limit::{Capped, Exponential, FastSlow, Jitter, MaxOf, RateLimiter, TokenBucket, Unlimited};
pub use sight::{Exhausted, InFlight, Sight, Waiting};
