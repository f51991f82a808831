//! The scenario: three processes, what goes wrong, and the judgements.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube_client::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube_client::{Api, Client};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use watchkeeper_apiserver::fault::Action;
use watchkeeper_apiserver::simulate::{Later, Outcome, Scenario, Violation, check, log};
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};
use watchkeeper_leader::Timings;

use crate::fault::{self, Fault, What};
use crate::process::{Candidate, Planted, WORK, World};
use crate::terms::Terms;

const PROCESSES: usize = 3;
const FAULTS: usize = 15;
const STORM: Duration = Duration::from_secs(120);
const MINUTE: Duration = Duration::from_secs(60);
/// How often the observer asks all gates.
const LOOK: Duration = Duration::from_millis(50);
/// To the Lease, in a minute, by one process: one each two seconds by the fastest clock, and what conflicts and restarts
/// cost.
const MOST_REQUESTS: usize = 90;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) planted: Option<Planted>,
}

impl Scenario for Candidates {
    type Fault = Fault;

    fn faults(&self, seed: u64) -> Vec<Fault> {
        fault::draw(&mut fastrand::Rng::with_seed(seed ^ 0xe1), FAULTS, STORM, PROCESSES)
    }

    async fn run(&self, seed: u64, faults: &[Fault]) -> Outcome {
        let mut random = fastrand::Rng::with_seed(seed);
        let server = ApiServer::new(Config {
            seed,
            shuffle_dispatch: true,
            clock: Arc::new(TokioClock::starting_at(Timestamp::UNIX_EPOCH)),
            ..Config::default()
        });
        server.faults().record();
        let before = Handle::current().metrics().num_alive_tasks();
        let world = World { server, terms: Terms::default(), begin: Instant::now(), planted: self.planted };
        create_work(&world).await;
        if self.planted == Some(Planted::LeavesATask) {
            tokio::spawn(std::future::pending::<()>());
        }
        let observer = tokio::spawn(observe(world.clone()));
        let mut storm = Storm::new(&world, &mut random);
        storm.rage(faults, &mut random).await;
        let led = storm.calm(self.planted != Some(Planted::NeverHeals)).await;
        for process in storm.processes {
            process.stop().await;
        }
        observer.abort();
        // Clients have a task each, which ends with the last handle.
        sleep(Duration::from_millis(1)).await;
        let after = Handle::current().metrics().num_alive_tasks();
        let (stays, writes) = (world.terms.stays(), world.server.writes());
        let verdict = (check::exclusive(&stays))
            .and_then(|()| check::epochs(&stays, &writes))
            .and(led)
            .and_then(|()| budgets(&world.server))
            .and_then(|()| check::no_tasks_left(before, after));
        let fired = log::fired(&world.server, faults.iter().filter_map(|fault| fault.what.name()));
        Outcome { verdict, trace: trace(&stays, &world), fired }
    }
}

async fn create_work(world: &World) {
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(world.server.service("admin"), "default"));
    let metadata = ObjectMeta { name: Some(WORK.to_owned()), ..ObjectMeta::default() };
    let object = ConfigMap { metadata, ..ConfigMap::default() };
    api.create(&PostParams::default(), &object).await.expect("nothing is wrong yet");
}

async fn observe(world: World) {
    loop {
        world.terms.look(world.now());
        sleep(LOOK).await;
    }
}

/// The processes, and what has to be undone.
struct Storm<'a> {
    world: &'a World,
    processes: Vec<Candidate>,
    born: u32,
    later: Later<Undo>,
}

#[derive(Clone, Copy)]
enum Undo {
    Thaw(usize),
    ServerGoesOn,
}

impl<'a> Storm<'a> {
    fn new(world: &'a World, random: &mut fastrand::Rng) -> Self {
        let mut storm = Self { world, processes: Vec::new(), born: 0, later: Later::default() };
        for _ in 0..PROCESSES {
            let process = storm.born(random);
            storm.processes.push(process);
        }
        storm
    }

    fn born(&mut self, random: &mut fastrand::Rng) -> Candidate {
        self.born += 1;
        Candidate::start(self.world, self.born, random)
    }

    async fn rage(&mut self, faults: &[Fault], random: &mut fastrand::Rng) {
        for fault in faults {
            self.wait_until(self.world.begin + fault.at).await;
            self.strike(fault, random).await;
        }
        self.wait_until(self.world.begin + STORM + MINUTE).await;
    }

    /// What is over until then is undone.
    async fn wait_until(&mut self, until: Instant) {
        while let Some(undo) = self.later.next(Some(until)).await {
            match undo {
                Undo::Thaw(process) => self.processes[process].thaw(),
                Undo::ServerGoesOn => self.world.server.faults().thaw(),
            }
        }
    }

    async fn strike(&mut self, fault: &Fault, random: &mut fastrand::Rng) {
        let process = &self.processes[fault.process];
        for rule in fault::rules(&fault.what, &process.user) {
            self.world.server.faults().add(rule).expect("a sound rule");
        }
        match fault.what {
            What::Freeze(lasts) => {
                process.freeze();
                self.later.at(Instant::now() + lasts, Undo::Thaw(fault.process));
            }
            What::Crash => {
                process.crash();
                self.processes[fault.process] = self.born(random);
            }
            What::HandOver => process.hand_over(),
            What::Drift => process.drift(random),
            What::ServerStops(lasts) => {
                self.world.server.faults().freeze();
                self.later.at(Instant::now() + lasts, Undo::ServerGoesOn);
            }
            What::Delete | What::Blank | What::Overwrite => self.meddle(&fault.what),
            What::Rule { .. } | What::SlowThenCut { .. } => {}
        }
    }

    /// A third party's write, which waits for the server like any other.
    fn meddle(&self, what: &What) {
        let api: Api<Lease> = Api::default_namespaced(Client::new(self.world.server.service("admin"), "default"));
        let holder = match what {
            What::Delete => None,
            What::Blank => Some(""),
            _ => Some("somebody-else"),
        };
        tokio::spawn(async move {
            // Where there is no Lease, there is nothing to meddle with.
            _ = match holder {
                None => api.delete("the-lease", &DeleteParams::default()).await.map(drop),
                Some(holder) => {
                    let patch = Patch::Merge(json!({ "spec": { "holderIdentity": holder } }));
                    api.patch("the-lease", &PatchParams::default(), &patch).await.map(drop)
                }
            };
        });
    }

    /// All is well again: I14, somebody leads in time.
    async fn calm(&mut self, heal: bool) -> Result<(), Violation> {
        if heal {
            self.world.server.faults().clear();
        } else {
            let cut = What::Rule { action: Action::RequestsLost, count: None, lasts: 100 * MINUTE };
            for rule in self.processes.iter().flat_map(|process| fault::rules(&cut, &process.user)) {
                self.world.server.faults().add(rule).expect("a sound rule");
            }
            sleep(MINUTE / 3).await;
        }
        // The longest: another's lease begins now, is waited out by the slowest clock, then caught up with.
        let patience = Timings::default().lease_duration * 2 + Duration::from_secs(20);
        let healed = self.world.now();
        while self.world.now() < healed + patience {
            if self.world.terms.look(self.world.now()) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        Err(Violation::new("I14", format!("nobody leads {patience:?} after all was well again")))
    }
}

/// I9 for each process.
fn budgets(server: &ApiServer) -> Result<(), Violation> {
    let sent = log::requests(server, "/leases");
    let mut processes = sent.iter().filter(|(identity, _)| identity.starts_with("process-"));
    processes.try_for_each(|(_, times)| check::request_budget(times, MINUTE, MOST_REQUESTS))
}

fn trace(stays: &[check::Stay], world: &World) -> String {
    let mut trace = String::new();
    for line in world.server.faults().log() {
        _ = writeln!(trace, "{line}");
    }
    for stay in stays {
        _ = writeln!(trace, "{stay:?}");
    }
    trace
}
