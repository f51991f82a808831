//! What the measures of our queue share: how it is made, and the thread that it runs on.
//!
//! In: a config, and keys. Out: a queue with them in it.

use tokio::runtime::{Builder, Runtime};
use watchkeeper::BoxError;
use watchkeeper_workqueue::{Config, Exponential, WorkQueue};

use super::keys::Key;

/// Said where a queue gives nothing more before it was shut down.
pub(crate) const OVER: &str = "the queue ended before it was shut down";

/// The default config, but for the rate limiter: the one per key of the default alone, without the one for all keys.
pub(crate) fn exponential() -> Config<Key> {
    Config { rate_limiter: Box::new(Exponential::default()), ..Config::default() }
}

/// A queue with all keys in it.
pub(crate) fn filled(config: Config<Key>, keys: &[Key]) -> WorkQueue<Key> {
    let queue = WorkQueue::new(config);
    for key in keys {
        queue.add(key.clone());
    }
    queue
}

/// A runtime on the thread that calls it.
pub(crate) fn one_thread() -> Result<Runtime, BoxError> {
    Ok(Builder::new_current_thread().enable_time().build()?)
}
