//! One round: two electors, one Lease, and what a seed does to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::simulate::check;
use watchkeeper_apiserver::simulate::process::ProcessClock;
use watchkeeper_leader::{
    Candidacy, CloseReason, Elector, End, Identity, Lease, LeaseLock, LockError, Standing, Timings,
};

use crate::clock::Clock;
use crate::config::config;
use crate::content::{dropped, mutated, vacant, without_forgery};
use crate::scripted::{Scripted, Server, Spoil};
use crate::terms::Terms;

const NAMES: [&str; 2] = ["a", "b"];
/// Both rates are at the edge of the stated error.
const RATES: [u64; 2] = [916_667, 1_083_333];
const LASTS: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
/// I9: one each two seconds by the fastest clock, and what conflicts cost.
const MOST_REQUESTS: usize = 90;
/// Older states that can be put back.
const REMEMBERED: usize = 8;

/// What others may say in a holder's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Forge {
    #[default]
    Nothing,
    /// Older states of the Lease are put back as they were, releases and terms that are over among them.
    Backups,
    Anything,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Breach {
    /// A's gate clock stands still after a while.
    StandingClock,
    /// A asks ten times where once is enough.
    Hasty,
    /// A drops labels.
    Forgetful,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) forge: Forge,
    pub(crate) breach: Option<Breach>,
}

#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) wrong: Vec<String>,
    pub(crate) terms: usize,
    pub(crate) changes: usize,
}

/// What the electors and their works share.
#[derive(Clone)]
struct World {
    server: Server,
    terms: Terms,
    begin: Instant,
}

pub(crate) fn play(plan: Plan, seed: u64) -> Findings {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(whole(plan, seed))
}

async fn whole(plan: Plan, seed: u64) -> Findings {
    let mut random = Rng::with_seed(seed);
    let world = World { server: Server::default(), terms: Terms::default(), begin: Instant::now() };
    let names: Vec<Identity> =
        NAMES.iter().map(|name| Identity::from_parts(name, 1, u128::from(seed)).expect("a good name")).collect();
    let known: Vec<String> = names.iter().map(ToString::to_string).chain(["somebody-else".to_owned()]).collect();
    if random.bool() {
        world.server.put(Some(vacant()));
    }
    let (stop, mut tasks, mut clocks) = (CancellationToken::new(), Vec::new(), Vec::new());
    for (number, identity) in names.into_iter().enumerate() {
        let clock = ProcessClock::new(world.begin, Duration::from_secs(random.u64(..1_000)), RATES[number]);
        let timings = Timings::default();
        let timings = Timings { renew_deadline: timings.longest_renew_deadline(), ..timings };
        let lock = world.server.lock(NAMES[number]);
        let lock: Arc<dyn LeaseLock> = match plan.breach {
            Some(breach) if number == 0 => Arc::new(Unruly { inner: lock, breach }),
            _ => lock,
        };
        let config = config(identity, timings, random.u8(..4) == 0 && world.server.object().is_none(), random.u64(..));
        let (elector, candidacy) = Elector::new(lock, config, Arc::new(Clock(clock.clone()))).expect("sound timings");
        let work = Work { world: world.clone(), user: NAMES[number], random: random.fork() };
        tasks.push(tokio::spawn(elector.run(stop.clone())));
        tasks.push(tokio::spawn(work.run(candidacy, stop.clone())));
        clocks.push(clock);
    }
    let (looks, mut findings) = (tokio::spawn(look(world.clone())), Findings::default());
    trouble(plan, &world, &known, &clocks, &mut random, &mut findings).await;
    stop.cancel();
    world.server.0.lock().script.clear();
    for task in tasks {
        if task.await.is_err() {
            findings.wrong.push("a part has panicked".to_owned());
        }
    }
    looks.abort();
    judge(plan, &world, &mut findings);
    findings
}

/// Changes by others, and what becomes of requests.
async fn trouble(
    plan: Plan,
    world: &World,
    names: &[String],
    clocks: &[ProcessClock],
    random: &mut Rng,
    findings: &mut Findings,
) {
    let (mut past, calm) = (Vec::new(), random.u64(1..40));
    while world.begin.elapsed() < LASTS {
        sleep(Duration::from_millis(random.u64(..1_000 * calm))).await;
        if plan.breach == Some(Breach::StandingClock) && world.begin.elapsed() > LASTS / 4 {
            clocks[0].set_rate(Instant::now(), 0);
        }
        if let Some(present) = world.server.object() {
            past.insert(0, present);
            past.truncate(REMEMBERED);
        }
        if random.bool() {
            let spoil = (0..random.usize(..8)).map(|_| (random.u8(..3) > 0).then(|| spoil(plan, random))).collect();
            world.server.0.lock().script = spoil;
        } else {
            change(plan, world, &past, names, random);
            findings.changes += 1;
        }
    }
}

fn change(plan: Plan, world: &World, past: &[Value], names: &[String], random: &mut Rng) {
    let present = world.server.object();
    let base = present.clone().unwrap_or_else(vacant);
    let changed = match random.u8(..8) {
        0 => None,
        // As from a backup, word for word or almost.
        1 if !past.is_empty() => Some(past[random.usize(..past.len())].clone()),
        2 if !past.is_empty() => Some(mutated(&past[random.usize(..past.len())], random, names)),
        // Deleted and made anew.
        3 => {
            world.server.put(None);
            Some(mutated(&base, random, names))
        }
        _ => Some(mutated(&base, random, names)),
    };
    let written: Vec<Value> = world.server.0.lock().calls.iter().filter_map(|call| call.sent.clone()).collect();
    let honest = |changed: Value| match plan.forge {
        Forge::Anything => changed,
        Forge::Backups if past.contains(&changed) => changed,
        Forge::Nothing | Forge::Backups => without_forgery(changed, present.as_ref(), &written),
    };
    let changed = changed.map(honest);
    world.server.put(changed);
}

fn spoil(plan: Plan, random: &mut Rng) -> Spoil {
    let error = |random: &mut Rng| {
        let retry_after = random.bool().then(|| Duration::from_secs([0, 1, 7, 1_000_000, u64::MAX][random.usize(..5)]));
        let message = "x".to_owned();
        match random.u8(..4) {
            0 => LockError::Missing,
            1 => LockError::Conflict,
            2 => LockError::Refused { code: random.u16(400..500), message, retry_after },
            _ => LockError::Unknown { message, retry_after },
        }
    };
    match random.u8(..6) {
        0 | 1 => Spoil::Before(error(random)),
        // What was carried out can't have been refused.
        2 => Spoil::After(LockError::unknown("x")),
        3 => Spoil::Late(Duration::from_millis(random.u64(..4_000))),
        4 => {
            let field = if random.bool() { "uid" } else { "resourceVersion" };
            let unusable = [json!(null), json!(""), json!(7), json!(["u"]), json!({})];
            let lies = [json!("0"), json!("1"), json!("340282366920938463463374607431768211455"), json!("u")];
            let value = match plan.forge {
                Forge::Anything if random.bool() => lies[random.usize(..lies.len())].clone(),
                _ => unusable[random.usize(..unusable.len())].clone(),
            };
            Spoil::Twisted(field, value)
        }
        _ => Spoil::Hang { commits: random.bool() },
    }
}

async fn look(world: World) {
    loop {
        world.terms.look(world.begin.elapsed());
        sleep(LOOK).await;
    }
}

fn judge(plan: Plan, world: &World, findings: &mut Findings) {
    let stays = world.terms.stays();
    findings.terms = stays.len();
    if plan.forge != Forge::Anything {
        findings.wrong.extend(check::exclusive(&stays).err().map(|violation| violation.to_string()));
    }
    let calls = world.server.0.lock().calls.clone();
    for name in NAMES {
        let sent: Vec<Duration> =
            calls.iter().filter(|call| call.who == name).map(|call| call.at - world.begin).collect();
        let violation = check::request_budget(&sent, MINUTE, MOST_REQUESTS).err();
        findings.wrong.extend(violation.map(|violation| format!("{violation} ({name})")));
    }
    for call in calls.iter().filter(|call| call.committed && call.verb == "update") {
        if let (Some(found), Some(sent)) = (&call.found, &call.sent)
            && let Some(field) = dropped(found, sent)
        {
            findings.wrong.push(format!("dropped {field:?}: {found} became {sent}"));
        }
    }
}

struct Work {
    world: World,
    user: &'static str,
    random: Rng,
}

impl Work {
    async fn run(mut self, mut candidacy: Candidacy, stop: CancellationToken) {
        while let Some(standing) = candidacy.next_term().await {
            self.term(standing, &stop).await;
        }
    }

    async fn term(&mut self, standing: Standing, stop: &CancellationToken) {
        sleep(Duration::from_millis(self.random.u64(..500))).await;
        if standing.open().is_err() {
            return standing.end(End::Release).await;
        }
        let term = standing.term().clone();
        let number = self.world.terms.opened(&term, self.user, self.world.begin.elapsed());
        let tired = Duration::from_secs(self.random.u64(3..60));
        tokio::select! {
            biased;
            () = term.cancelled().cancelled_owned() => {}
            () = stop.cancelled() => {}
            () = sleep(tired) => {}
        }
        term.close(CloseReason::Stopping);
        sleep(term.stop_bound().mul_f64(self.random.f64())).await;
        self.world.terms.stopped(number, self.world.begin.elapsed());
        standing.end(if self.random.u8(..4) == 0 { End::Keep } else { End::Release }).await;
    }
}

/// A candidate's lock that does what it shouldn't.
struct Unruly {
    inner: Arc<Scripted>,
    breach: Breach,
}

#[async_trait]
impl LeaseLock for Unruly {
    async fn read(&self, timeout: Duration) -> Result<Lease, LockError> {
        if self.breach == Breach::Hasty {
            for _ in 0..9 {
                _ = self.inner.read(timeout).await;
            }
        }
        self.inner.read(timeout).await
    }

    async fn create(&self, object: Value, timeout: Duration) -> Result<Lease, LockError> {
        self.inner.create(object, timeout).await
    }

    async fn update(&self, mut object: Value, timeout: Duration) -> Result<Lease, LockError> {
        if self.breach == Breach::Forgetful
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("labels");
        }
        self.inner.update(object, timeout).await
    }
}
