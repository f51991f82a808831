//! Electors on a thread of their own.
//!
//! In: a way to make a client, since a client belongs to the runtime it was made in. Out: the candidacy, and the thread
//! to wait for. Never: shares a runtime with the work, which could keep a renewal waiting for as long as it is busy.

use std::sync::Arc;
use std::thread::JoinHandle;

use kube_client::Client;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::candidacy::Candidacy;
use crate::clock::GateClock;
use crate::config::ConfigError;
use crate::electors::{Electors, Stand};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An elector's thread. Dropping it leaves the thread running until its shutdown token is cancelled.
#[derive(Debug)]
pub struct ElectorThread {
    result: oneshot::Receiver<Result<(), ElectorFailure>>,
    thread: JoinHandle<()>,
}

/// Why an elector's thread ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ElectorFailure {
    /// No client could be made.
    #[error("the elector can't connect to the API server: {0}")]
    Connect(#[source] BoxError),
    /// No runtime could be made.
    #[error("the elector's runtime can't be started: {0}")]
    Runtime(#[source] std::io::Error),
    /// It panicked; its gate was closed on the way.
    #[error("the elector has panicked: {0}")]
    Panicked(String),
}

/// Runs all elections of a process on one thread with its own single-threaded runtime and its own connection. For each [`Stand`] its
/// candidacies: one, or one a bucket.
///
/// `connect` is called there once, inside the runtime. The client must be built without kube's retry layer
/// (`default_retry = false`), see [`KubeLeaseLock`](crate::KubeLeaseLock). If it fails, [`Candidacy::next_term`] returns None and
/// [`ElectorThread::join`] says why.
///
/// # Errors
/// A config that can't work, or no thread.
pub fn spawn_elector_thread(
    connect: impl FnOnce() -> Result<Client, BoxError> + Send + 'static,
    stands: Vec<Stand>,
    clock: Arc<dyn GateClock>,
    shutdown: CancellationToken,
) -> Result<(Vec<Vec<Candidacy>>, ElectorThread), ConfigError> {
    let (electors, candidacies) = Electors::new(stands, clock)?;
    let (tell, result) = oneshot::channel();
    let body = move || {
        let outcome = run(connect, electors, shutdown);
        // Nobody may be waiting.
        let _ = tell.send(outcome);
    };
    let thread = std::thread::Builder::new().name("elector".to_owned()).spawn(body).map_err(ConfigError::Thread)?;
    Ok((candidacies, ElectorThread { result, thread }))
}

impl ElectorThread {
    /// Waits for the thread to end, which it does after its shutdown token was cancelled and its standing was ended.
    ///
    /// # Errors
    /// Why it ended too early.
    pub async fn join(self) -> Result<(), ElectorFailure> {
        match self.result.await {
            // It has said its last word, and is about to end.
            Ok(outcome) => outcome,
            Err(_) => match self.thread.join() {
                Ok(()) => Ok(()),
                Err(panic) => Err(ElectorFailure::Panicked(message(panic.as_ref()))),
            },
        }
    }
}

fn run(
    connect: impl FnOnce() -> Result<Client, BoxError>,
    electors: Electors,
    shutdown: CancellationToken,
) -> Result<(), ElectorFailure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ElectorFailure::Runtime)?;
    let runtime = Impatient(Some(runtime));
    runtime.block_on(async {
        let client = connect().map_err(ElectorFailure::Connect)?;
        electors.run(client, shutdown).await;
        Ok(())
    })
}

/// A runtime whose end waits for nobody: a client looks names up by blocking calls, each of which may last for a minute if there is no answer.
struct Impatient(Option<Runtime>);

impl Impatient {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("taken only when this is dropped").block_on(future)
    }
}

impl Drop for Impatient {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
