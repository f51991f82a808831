//! Health: whether this process is fit to lead.
//!
//! In: checks of the user's. Out: one flag. While it is false the process claims no Lease, and a term that lasts is ended: work is
//! drained, the Lease given back, and not claimed again before a cool-down has passed. Never: ends the process.
//!
//! Upstream: `LeaderElectionConfig.WatchDog` only reports; kubelet restarts the pod, and until then its leader goes on.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often health is checked, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Between two rounds of checks. Default 5 s.
    pub period: Duration,
    /// How long one check may take; longer is a failure. Default 2 s.
    pub timeout: Duration,
    /// So many rounds with a failure in a row make the process unfit; one without makes it fit again. Default 3.
    pub failures: u32,
    /// How long a process that has stepped down keeps from claiming the Lease again. Default 30 s.
    pub cool_down: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failures: 3,
            cool_down: Duration::from_secs(30),
        }
    }
}

type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The checks of one process.
pub(crate) struct Health {
    policy: HealthPolicy,
    checks: Vec<(String, Check)>,
    fit: watch::Sender<bool>,
}

impl Health {
    pub(crate) fn new(policy: HealthPolicy) -> Self {
        Self { policy, checks: Vec::new(), fit: watch::Sender::new(true) }
    }

    pub(crate) fn add<F>(&mut self, name: &str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push((name.to_owned(), Box::new(move || check().boxed())));
    }

    /// Whether the process is fit, as it changes.
    pub(crate) fn fit(&self) -> watch::Receiver<bool> {
        self.fit.subscribe()
    }

    pub(crate) fn cool_down(&self) -> Duration {
        self.policy.cool_down
    }

    /// Checks until `stop`; at once if there is nothing to check.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let (mut failed, mut failing) = (0, None);
        while !self.checks.is_empty() && !stop.is_cancelled() {
            let failure = self.first_failure().await;
            failed = if failure.is_some() { failed + 1 } else { 0 };
            let fit = failed < self.policy.failures.max(1);
            let changed = self.fit.send_if_modified(|before| std::mem::replace(before, fit) != fit);
            // Said when it begins and when it is over, not each round.
            match &failure {
                Some((name, error)) if changed => {
                    tracing::error!(check = name, %error, failed, "this process is not fit to lead")
                }
                Some((name, error)) if failing != Some(*name) => {
                    tracing::warn!(check = name, %error, "a health check fails")
                }
                None if changed => tracing::info!("this process is fit to lead again"),
                None if failing.is_some() => tracing::info!(check = failing, "the health check passes again"),
                Some(_) | None => {}
            }
            failing = failure.map(|(name, _)| name);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.policy.period) => {}
            }
        }
    }

    async fn first_failure(&self) -> Option<(&str, String)> {
        for (name, check) in &self.checks {
            // The call itself runs the user's code too.
            let guarded = AssertUnwindSafe(async { check().await }).catch_unwind();
            let error = match tokio::time::timeout(self.policy.timeout, guarded).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(error))) => error,
                Ok(Err(_panic)) => "it panicked".to_owned(),
                Err(_elapsed) => format!("no answer within {:?}", self.policy.timeout),
            };
            return Some((name, error));
        }
        None
    }
}
