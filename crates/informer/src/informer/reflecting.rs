//! Reflecting: the tasks of an informer's reflectors, one a part.
//!
//! In: reflectors, those of the beginning and those of namespaces that are added while it runs. Out: nothing is left of them when
//! [`Reflecting::run`] has returned, and nothing of one whose part has left as soon as its task is over. It never decides which parts there are.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::errands::Errands;
use super::parts::Part;
use crate::object::Cached;
use crate::reflector::Reflector;

/// A reflector that is to run until its part leaves.
pub(super) struct Start<K> {
    pub(super) part: Arc<Part<K>>,
    pub(super) reflector: Reflector<K>,
    /// Dropped when it has stopped, or will never run.
    pub(super) stops: DropGuard,
}

pub(super) struct Reflecting {
    tasks: JoinSet<()>,
    errands: Arc<Errands<Self>>,
    stop: CancellationToken,
}

impl Reflecting {
    pub(super) fn new(errands: Arc<Errands<Self>>, stop: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), errands, stop }
    }

    pub(super) fn start<K: Cached>(&mut self, start: Start<K>) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let Start { part, reflector, stops: _stops } = start;
            // Biased: one that has left sends no request more.
            tokio::select! {
                biased;
                () = part.left.cancelled() => {}
                () = reflector.run(stop) => {}
            }
        });
    }

    /// Returns when it has stopped and all tasks are over, with those that failed. A panic of one stops all.
    pub(super) async fn run(mut self) -> Vec<Result<(), JoinError>> {
        let mut failed = Vec::new();
        while !self.stop.is_cancelled() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = self.errands.arrived.notified() => {
                    let errands = self.errands.take();
                    errands.into_iter().for_each(|errand| errand(&mut self));
                }
                Some(ended) = self.tasks.join_next() => if ended.is_err() {
                    self.stop.cancel();
                    failed.push(ended);
                },
            }
        }
        self.errands.close();
        while let Some(ended) = self.tasks.join_next().await {
            failed.extend(Some(ended).filter(Result::is_err));
        }
        failed
    }
}

/// Reflectors that wait to be started aren't kept by who asked for them, also where this is dropped early.
impl Drop for Reflecting {
    fn drop(&mut self) {
        self.errands.close();
    }
}
