//! One process: an elector and its work, on a clock of their own, which can be frozen, killed or told to go.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::{Patch, PatchParams, PostParams};
use kube_client::{Api, Client};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tower::Layer;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::simulate::process::{Process, ProcessClock};
use watchkeeper_leader::{
    Candidacy, CloseReason, Elector, ElectorConfig, End, FenceConfig, FenceLayer, Identity, KubeLeaseLock, Standing,
    Term, Timings, epoch_annotation,
};

use crate::clock::Clock;
use crate::terms::Terms;

/// What all leaders write to.
pub(crate) const WORK: &str = "the-work";
/// A leader writes about so often.
const PAUSE: Duration = Duration::from_millis(700);

/// A breach of the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Planted {
    /// The clock of whoever leads runs at a third of true time.
    SlowClock,
    /// Gives the Lease back while its work goes on.
    ReleasesTooEarly,
    /// Writes blindly, without asking the gate, and goes on after its loss.
    WritesWithoutFence,
    /// Marks its writes with the epoch it had before, or another had.
    BorrowsAnEpoch,
    /// Nothing is mended in the end.
    NeverHeals,
    LeavesATask,
}

/// What the processes of a run share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) terms: Terms,
    pub(crate) begin: Instant,
    pub(crate) planted: Option<Planted>,
}

impl World {
    pub(crate) fn now(&self) -> Duration {
        Instant::now() - self.begin
    }
}

pub(crate) struct Candidate {
    pub(crate) user: String,
    process: Process,
    clock: ProcessClock,
    stop: CancellationToken,
    hand_over: Arc<Notify>,
    elector: JoinHandle<()>,
    work: JoinHandle<()>,
}

impl Candidate {
    pub(crate) fn start(world: &World, number: u32, random: &mut fastrand::Rng) -> Self {
        let user = format!("process-{number}");
        // Timings on the edge of what is safe.
        let timings = Timings::default();
        let timings = Timings { renew_deadline: timings.longest_renew_deadline(), ..timings };
        let rate = any_rate(random);
        let clock = ProcessClock::new(Instant::now(), Duration::from_secs(random.u64(..1_000_000)), rate);
        let client = Client::new(world.server.service(&user), "default");
        let identity = Identity::from_parts(&user, number, random.u128(..)).expect("a good name");
        let config = ElectorConfig {
            timings,
            // A lie as soon as somebody deletes the Lease.
            first_install: false,
            seed: random.u64(..),
            ..ElectorConfig::new("default", "the-lease", identity)
        };
        let lock = Arc::new(KubeLeaseLock::new(client, "default", "the-lease"));
        let (elector, candidacy) = Elector::new(lock, config, Arc::new(Clock(clock.clone()))).expect("sound timings");
        let (process, stop, hand_over) = (Process::new(), CancellationToken::new(), Arc::new(Notify::new()));
        let work = Work {
            world: world.clone(),
            user: user.clone(),
            clock: clock.clone(),
            random: random.fork(),
            hand_over: hand_over.clone(),
        };
        let elector = tokio::spawn(process.run(elector.run(stop.clone())));
        let work = tokio::spawn(process.run(work.run(candidacy)));
        Self { user, process, clock, stop, hand_over, elector, work }
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.process.thaw();
    }

    /// SIGKILL.
    pub(crate) fn crash(&self) {
        self.elector.abort();
        self.work.abort();
    }

    /// Its present or next term is given up.
    pub(crate) fn hand_over(&self) {
        self.hand_over.notify_one();
    }

    /// From now on its clock runs at another rate within the stated error.
    pub(crate) fn drift(&self, random: &mut fastrand::Rng) {
        self.clock.set_rate(Instant::now(), any_rate(random));
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.hand_over.notify_one();
        for task in [self.elector, self.work] {
            if let Err(error) = task.await {
                assert!(error.is_cancelled(), "a part of {} has panicked", self.user);
            }
        }
    }
}

/// In parts per million; often at the edge of the stated error, a twelfth.
fn any_rate(random: &mut fastrand::Rng) -> u64 {
    match random.u8(..4) {
        0 => 916_667,
        1 => 1_083_333,
        _ => random.u64(916_667..1_083_333),
    }
}

struct Work {
    world: World,
    user: String,
    clock: ProcessClock,
    random: fastrand::Rng,
    hand_over: Arc<Notify>,
}

impl Work {
    async fn run(mut self, mut candidacy: Candidacy) {
        while let Some(standing) = candidacy.next_term().await {
            self.term(standing).await;
        }
    }

    async fn term(&mut self, standing: Standing) {
        // Catching up.
        sleep(Duration::from_millis(self.random.u64(..2000))).await;
        if standing.open().is_err() {
            return standing.end(End::Release).await;
        }
        if self.world.planted == Some(Planted::SlowClock) {
            self.clock.set_rate(Instant::now(), 333_333);
        }
        let (term, hand_over) = (standing.term().clone(), self.hand_over.clone());
        let number = self.world.terms.opened(&term, &self.user, self.world.now());
        let (over, heeds) = (term.cancelled(), self.world.planted != Some(Planted::WritesWithoutFence));
        tokio::select! {
            biased;
            () = over.cancelled(), if heeds => {}
            () = hand_over.notified() => {}
            () = self.write(&term) => {}
        }
        if self.world.planted == Some(Planted::ReleasesTooEarly) {
            standing.end(End::Release).await;
            sleep(term.stop_bound()).await;
            return self.world.terms.stopped(number, self.world.now());
        }
        term.close(CloseReason::Stopping);
        self.world.terms.stopped(number, self.world.now());
        let keep = self.random.u8(..4) == 0;
        standing.end(if keep { End::Keep } else { End::Release }).await;
    }

    /// Reads, changes and writes, for as long as it is let.
    async fn write(&mut self, term: &Term) {
        let plain = self.world.server.service(&self.user);
        let blind: Api<ConfigMap> = Api::default_namespaced(Client::new(plain.clone(), "default"));
        let fence = FenceLayer::new(term.clone(), FenceConfig::default());
        let fenced: Api<ConfigMap> = Api::default_namespaced(Client::new(fence.layer(plain), "default"));
        loop {
            sleep(PAUSE.mul_f64(self.random.f64())).await;
            // Each may fail; the next one is another try.
            _ = match self.world.planted {
                Some(Planted::WritesWithoutFence) => mark(&blind, term.epoch().number()).await,
                Some(Planted::BorrowsAnEpoch) => {
                    let stays = self.world.terms.stays();
                    let epoch = stays.first().map_or(0, |first| u128::from(first.epoch));
                    mark(&blind, epoch).await
                }
                _ => count(&fenced).await,
            };
        }
    }
}

/// As a controller does it: from what was read, with its version.
async fn count(api: &Api<ConfigMap>) -> kube_client::Result<()> {
    let mut object = api.get(WORK).await?;
    let data = object.data.get_or_insert_default();
    let count: u64 = data.get("count").and_then(|count| count.parse().ok()).unwrap_or(0);
    data.insert("count".to_owned(), (count + 1).to_string());
    api.replace(WORK, &PostParams::default(), &object).await.map(drop)
}

/// As no controller should.
async fn mark(api: &Api<ConfigMap>, epoch: u128) -> kube_client::Result<()> {
    let patch =
        json!({ "metadata": { "annotations": { epoch_annotation("default", "the-lease"): epoch.to_string() } } });
    api.patch(WORK, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}
