//! A cell: one informer, one fault, one phase, one size.
//!
//! Comes in: data. Goes out: what wasn't as it should be. The informer is brought to the phase, the fault strikes, lasts and
//! ends; then the cache must be right, the handlers' story too, and nothing may be left after the stop.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::Snapshot;
use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Rule, RuleId};
use watchkeeper_apiserver::simulate::check;
use watchkeeper_informer::reflector::Counts;
use watchkeeper_informer::{
    Deadlines, InformerConfig, InformerHandle, KubeListWatch, Registration, Scope, SharedInformer,
};

use crate::fault::{CLIMBED, Fault, Inject, LASTS, Step, Tells};
use crate::heap::Heap;
use crate::phase::{Phase, Place};
use crate::story::{Story, present};
use crate::wire::Wire;
use crate::world::{Stock, World};

mod judge;
mod recovery;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// The informer's state is looked at so often: less than the shortest backoff, so that no error is missed.
const TICK: Duration = Duration::from_millis(400);
/// Ticks between two writes.
const TICKS_A_WRITE: u32 = 8;
/// The first list is there so soon.
const SYNCS: Duration = Duration::from_secs(10);
/// A fault that has been told is active again after this: what hangs has been opened again.
const ACTIVE_AGAIN: Duration = Duration::from_secs(2);
/// While a storage is restored, requests are held up for so long.
const HELD_UP: Duration = Duration::from_secs(5);
/// The restored storage is behind by so many versions.
const BEHIND: u64 = 10_000;

#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) fault: &'static Fault,
    pub(crate) phase: Phase,
    pub(crate) size: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.fault.name, self.phase.name(), self.size)
    }
}

/// What a cell has measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// From the fault's end to a right cache.
    pub(crate) healed: Duration,
    /// In the minute with the most.
    pub(crate) requests: usize,
    pub(crate) retained: usize,
    pub(crate) most: usize,
}

/// How things stood when a step began.
struct Begun {
    at: Duration,
    fired: u64,
    counts: Counts,
}

/// A cell being played.
struct Play {
    cell: Cell,
    place: Place,
    world: World,
    wire: Wire,
    handle: InformerHandle<ConfigMap>,
    registration: Registration,
    story: Story,
    stop: CancellationToken,
    informer: Option<SharedInformer<ConfigMap>>,
    /// The state to restore.
    backup: Snapshot,
    rule: Option<RuleId>,
    restored: u64,
    /// When the backoff was first seen at its cap.
    capped: Option<Duration>,
    /// Classes and texts of errors, as they were seen.
    failing: BTreeSet<(&'static str, String)>,
    /// The classes of them since the step began.
    in_step: BTreeSet<&'static str>,
    ticks: u32,
    started: Instant,
    complaints: Vec<String>,
    figures: Figures,
}

impl Cell {
    /// Plays it; what wasn't as it should be, and figures.
    pub(crate) async fn play(self, stock: &Stock) -> (Vec<String>, Figures) {
        let world = stock.world(self.size);
        let before = Handle::current().metrics().num_alive_tasks();
        let heap = Heap::mark();
        let mut play = Play::new(self, world);
        let running = play.trouble().await;
        if self.phase != Phase::Shutdown {
            play.recover().await;
        }
        play.judge_heap(&heap);
        play.judge_classes();
        play.stop(running).await;
        let (mut complaints, figures) = play.end();
        // The client has a task of its own, which ends with the last handle.
        sleep(Duration::from_millis(1)).await;
        let after = Handle::current().metrics().num_alive_tasks();
        complaints.extend(check::no_tasks_left(before, after).err().map(|violation| violation.to_string()));
        (complaints, figures)
    }
}

impl Play {
    fn new(cell: Cell, world: World) -> Self {
        let place = cell.phase.place(cell.fault.at_shutdown);
        let wire = Wire::new(world.server.service("informer"));
        let source = KubeListWatch::new(wire.client(), Scope::all::<ConfigMap>(), Deadlines::default());
        let config = InformerConfig { reflector: place.config(cell.size), ..InformerConfig::default() };
        let informer = SharedInformer::new(Arc::new(source), config);
        let (story, handle) = (Story::default(), informer.handle());
        Self {
            cell,
            place,
            wire,
            registration: handle.add_handler(story.writer()),
            handle,
            story,
            stop: CancellationToken::new(),
            informer: Some(informer),
            backup: world.server.snapshot(),
            world,
            rule: None,
            restored: 0,
            capped: None,
            failing: BTreeSet::new(),
            in_step: BTreeSet::new(),
            ticks: 0,
            started: Instant::now(),
            complaints: Vec::new(),
            figures: Figures::default(),
        }
    }

    fn complain(&mut self, what: impl Into<String>) {
        self.complaints.push(what.into());
    }

    /// Brings the informer to the phase and lets the fault strike and last; at shutdown, until it is told.
    async fn trouble(&mut self) -> JoinHandle<()> {
        let steps = (self.cell.fault.steps)(self.place);
        let (first, others) = steps.split_first().expect("a fault does something");
        if matches!(first.inject, Inject::Restore) {
            self.world.server.raise_version(BEHIND);
            self.world.traffic().await;
        }
        // A rule meets a watch when that is opened.
        let ahead = self.place.is_early() || self.place == Place::Running && matches!(first.inject, Inject::Rule(_));
        if ahead {
            self.inject(first).await;
        }
        let informer = self.informer.take().expect("it is started once");
        let running = tokio::spawn(informer.run(self.stop.clone()));
        if !self.place.is_early() {
            if !matches!(timeout(SYNCS, self.handle.synced()).await, Ok(Ok(()))) {
                self.complain("never synced");
            }
            self.world.traffic().await;
            sleep(SECOND).await;
        }
        if !ahead {
            self.inject(first).await;
            if self.place == Place::Opening {
                self.world.server.close_watches();
            }
        }
        let begun = Begun { at: self.now(), fired: 0, counts: Counts::default() };
        if matches!(first.inject, Inject::Restore) {
            sleep(HELD_UP / 2).await;
            self.world.server.restore(&self.backup);
            self.restored += 1;
        }
        self.lasts(first, &begun).await;
        for step in others {
            let counts = self.handle.sync_status().reflector().counts;
            let begun = Begun { at: self.now(), fired: self.fired(step), counts };
            self.end_rule();
            self.in_step.clear();
            self.inject(step).await;
            self.lasts(step, &begun).await;
        }
        running
    }

    /// Since the server's start, as its log has it.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn inject(&mut self, step: &Step) {
        match &step.inject {
            Inject::Rule(action) => self.rule("fault", action.clone(), None),
            Inject::Wire(tamper) => self.wire.tamper(Some((*tamper, self.place.whose()))),
            Inject::Undecodable => self.world.store_undecodable().await,
            Inject::Oversize => self.world.store_oversize().await,
            Inject::Restore if self.place == Place::Running => {}
            Inject::Restore => {
                self.rule("held up", Action::DelayAnswer { by: HELD_UP, jitter: Duration::ZERO }, Some(1))
            }
        }
    }

    /// For all requests of the place.
    fn rule(&mut self, name: &str, action: Action, count: Option<u64>) {
        let matcher = Matcher {
            identity: Some("informer".into()),
            verbs: vec![self.place.verb()],
            skip: self.place.skip(),
            ..Matcher::default()
        };
        let budget = Budget { count, duration: None };
        let rule = Rule { matcher, budget, ..Rule::new(name, action) };
        self.rule = Some(self.world.server.faults().add(rule).expect("a sound rule"));
    }

    fn end_rule(&mut self) {
        if let Some(rule) = self.rule.take() {
            self.world.server.faults().remove(rule);
        }
    }

    /// How often the step has taken effect.
    fn fired(&self, step: &Step) -> u64 {
        match step.inject {
            Inject::Rule(_) => self.world.server.faults().fired().rule("fault"),
            Inject::Wire(_) => self.wire.fired(),
            Inject::Undecodable => self.handle.sync_status().reflector().counts.undecodable,
            Inject::Oversize => {
                self.failing.iter().filter(|(_, text)| text.contains("larger than the limit")).count() as u64
            }
            Inject::Restore => self.restored,
        }
    }

    /// One tick: looks, and writes in its turn.
    async fn tick(&mut self) {
        if self.ticks.is_multiple_of(TICKS_A_WRITE) {
            self.world.traffic().await;
        }
        self.ticks += 1;
        sleep(TICK).await;
        self.look();
    }

    fn look(&mut self) {
        Heap::look();
        let status = self.handle.sync_status().reflector().clone();
        if status.counts.backoffs >= CLIMBED && self.capped.is_none() {
            self.capped = Some(self.now());
        }
        if let Some(failing) = status.failing {
            self.in_step.insert(failing.class);
            self.failing.insert((failing.class, failing.message));
        }
    }

    /// The step lasts; at shutdown, until it has struck and is told.
    async fn lasts(&mut self, step: &Step, begun: &Begun) {
        let until = Instant::now() + LASTS;
        let stops = self.cell.phase == Phase::Shutdown;
        while Instant::now() < until && !(stops && self.fired(step) > begun.fired && self.tells(step, begun).await) {
            self.tick().await;
        }
        if self.fired(step) <= begun.fired {
            self.complain("the fault never fired");
        }
        if !self.tells(step, begun).await {
            let counts = self.handle.sync_status().reflector().counts;
            self.complain(format!("it doesn't tell {}; seen: {:?}; {counts:?}", step.tells, self.failing));
        }
        if stops {
            sleep(ACTIVE_AGAIN).await;
            self.look();
        }
        self.judge_requests(begun.at, step.row);
    }

    /// (e) Whether it has been told since the step began.
    async fn tells(&self, step: &Step, begun: &Begun) -> bool {
        let counts = self.handle.sync_status().reflector().counts;
        match step.tells {
            // What an earlier step has left is not of this one.
            Tells::Class(class) => self.in_step.contains(class) && counts.backoffs > begun.counts.backoffs,
            Tells::Counts(_, tells) => tells(&begun.counts, &counts),
            Tells::Quarantine => self.is_quarantined().await,
            Tells::Nothing => true,
        }
    }

    /// The broken object is in quarantine, alone, and everything else is cached.
    async fn is_quarantined(&self) -> bool {
        let quarantine = self.handle.quarantine();
        let mut there = self.world.present().await;
        there.remove(&World::broken());
        let alone =
            matches!(&quarantine[..], [one] if one.key.as_ref().is_some_and(|key| key.to_string() == World::broken()));
        sleep(TICK).await;
        alone && present(&self.handle.lister().list()) == there
    }

    /// What was found; everything else is dropped.
    fn end(self) -> (Vec<String>, Figures) {
        (self.complaints, self.figures)
    }
}
