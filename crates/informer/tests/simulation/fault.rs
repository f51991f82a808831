//! What goes wrong around the informer.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::jiff::Timestamp;
use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Refusal, Rule};
use watchkeeper_apiserver::replica::{Lag, Routing};
use watchkeeper_apiserver::simulate::Later;
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};

const REPLICAS: usize = 3;

/// The cluster of a seed: replicas with clocks of virtual time, whose history and faults are written down.
pub(crate) fn cluster(seed: u64, random: &mut Rng) -> ApiServer {
    let server = ApiServer::new(Config {
        seed,
        replicas: REPLICAS,
        shuffle_dispatch: random.bool(),
        chronicle: true,
        bookmark_interval: Duration::from_secs(random.u64(2..20)),
        clock: Arc::new(TokioClock::starting_at(Timestamp::UNIX_EPOCH)),
        ..Config::default()
    });
    server.faults().record();
    server
}

/// One thing that goes wrong, at its time.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// All watches end, as when caches are initialised anew.
    CloseWatches,
    /// History is forgotten, all of it or all but some.
    Compact { keep: u64 },
    /// A replica is cut off from the log for a while.
    CutOff { replica: usize, until: Duration },
    /// A replica is behind from now on.
    Lag { replica: usize, by: Lag },
    /// A replica is restarted.
    Restart { replica: usize },
    /// A replica's cache isn't initialised for a while.
    Unready { replica: usize, until: Duration },
    /// The load balancer changes its mind; all watches end with it.
    Route(Routing),
    /// So many of the informer's requests, or for a while all of them, meet this.
    Rule { action: Action, count: u64, until: Duration },
}

/// What a server and the way to it may do to an informer; nothing that a correct server never does.
fn actions(random: &mut Rng) -> Action {
    let after_events = random.u64(..12);
    let by = Duration::from_millis(random.u64(1..4000));
    match random.u8(..34) {
        0 => Action::Refuse,
        1 => Action::ResetBeforeHeaders,
        2 => Action::HangBeforeHeaders,
        3 => Action::HangAfterHeaders,
        4 => Action::Delay { by, jitter: by },
        5 => Action::DelayAnswer { by, jitter: by },
        6 => Action::Bandwidth { bytes_per_second: random.u64(500..20_000) },
        7 => Action::Truncate { after_bytes: random.u64(..4000) },
        8 => Action::SplitBytes,
        9 => Action::Merge { within: by },
        10 => Action::Garbage { after_events },
        11 => Action::UnknownEventType { after_events },
        12 => Action::OtherKind { after_events },
        13 => Action::MissingVersion { after_events },
        14 => Action::Html { code: random.u16(502..504) },
        15 => Action::EmptyBody,
        16 | 17 => Action::Answer(refusal(&[401, 403, 404, 410, 429, 500, 503, 504], random)),
        18 | 19 => Action::ErrorEvent { after_events, status: refusal(&[410, 429, 500, 504], random) },
        20 => Action::SlowEvents { by: by / 20 },
        21 => Action::Stall { after_events },
        22 => Action::End { after_events },
        23 => Action::DropBookmarks,
        24 => Action::HoldInitialEnd { by: random.bool().then_some(by) },
        25 => Action::RejectInitialEvents,
        26 => Action::ExpireContinue { with_token: random.bool() },
        27 => Action::PartialPage { after_items: random.u64(..12) },
        28 => Action::VersionTooLarge,
        29 => Action::IgnoreLimit,
        30 => Action::RequestsLost,
        31 => Action::BareInitialEnd,
        32 => Action::EmptyLastPage,
        _ => Action::ResponsesLost,
    }
}

fn refusal(codes: &[u16], random: &mut Rng) -> Refusal {
    let code = codes[random.usize(..codes.len())];
    let retry_after_seconds = (code == 429 || code == 503).then(|| random.u32(1..4));
    Refusal { retry_after_seconds, text: random.u8(..4) == 0, ..Refusal::of(code) }
}

impl What {
    /// Kinds of actions that must take effect somewhere in a campaign.
    pub(crate) const ACTIONS: [&str; 32] = [
        "refuse",
        "resetBeforeHeaders",
        "hangBeforeHeaders",
        "hangAfterHeaders",
        "delay",
        "delayAnswer",
        "bandwidth",
        "truncate",
        "splitBytes",
        "merge",
        "garbage",
        "unknownEventType",
        "otherKind",
        "missingVersion",
        "html",
        "emptyBody",
        "answer",
        "errorEvent",
        "slowEvents",
        "stall",
        "end",
        "dropBookmarks",
        "holdInitialEnd",
        "bareInitialEnd",
        "rejectInitialEvents",
        "expireContinue",
        "versionTooLarge",
        "ignoreLimit",
        "emptyLastPage",
        "partialPage",
        "requestsLost",
        "responsesLost",
    ];
    pub(crate) const NAMES: [&str; 7] = ["close watches", "compact", "cut off", "lag", "restart", "unready", "route"];

    /// None: the server counts.
    pub(crate) fn name(&self) -> Option<&'static str> {
        let place = match self {
            Self::CloseWatches => 0,
            Self::Compact { .. } => 1,
            Self::CutOff { .. } => 2,
            Self::Lag { .. } => 3,
            Self::Restart { .. } => 4,
            Self::Unready { .. } => 5,
            Self::Route(_) => 6,
            Self::Rule { .. } => return None,
        };
        Some(Self::NAMES[place])
    }

    fn draw(random: &mut Rng, within: Duration) -> Self {
        let replica = random.usize(..REPLICAS);
        let until = within.mul_f64(random.f64() / 3.0);
        if random.u8(..3) > 0 {
            let action = actions(random);
            // Lists are rare: what is meant for them waits for one.
            let waits = matches!(
                action,
                Action::ExpireContinue { .. }
                    | Action::PartialPage { .. }
                    | Action::VersionTooLarge
                    | Action::IgnoreLimit
                    | Action::RejectInitialEvents
                    | Action::HoldInitialEnd { .. }
                    | Action::BareInitialEnd
                    | Action::EmptyLastPage
            );
            return Self::Rule { action, count: random.u64(1..4), until: if waits { within } else { until } };
        }
        match random.u8(..7) {
            0 => Self::CloseWatches,
            1 => Self::Compact { keep: random.u64(..20) },
            2 => Self::CutOff { replica, until },
            3 => Self::Lag {
                replica,
                by: match random.u8(..3) {
                    0 => Lag::None,
                    1 => Lag::Writes(random.u64(1..50)),
                    _ => Lag::Time(Duration::from_millis(random.u64(1..5000))),
                },
            },
            4 => Self::Restart { replica },
            5 => Self::Unready { replica, until },
            _ => Self::Route(match random.u8(..3) {
                0 => Routing::To(replica),
                1 => Routing::RoundRobin,
                _ => Routing::Random,
            }),
        }
    }
}

/// So many faults within this time, in its order.
pub(crate) fn draw(random: &mut Rng, count: usize, within: Duration) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        (0..count).map(|_| Fault { at: within.mul_f64(random.f64()), what: What::draw(random, within) }).collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// What has to be undone later.
enum Undo {
    Resume(usize),
    Ready(usize),
}

/// Lets the faults happen, each at its time, and heals everything when the last one is over.
pub(crate) async fn unleash(server: &ApiServer, faults: &[Fault], heal: bool) {
    let start = tokio::time::Instant::now();
    let mut later = Later::<Undo>::default();
    for fault in faults {
        let now = start + fault.at;
        while let Some(undo) = later.next(Some(now)).await {
            undo.apply(server);
        }
        match fault.what.clone() {
            What::CloseWatches => server.close_watches(),
            What::Compact { keep } => server.compact(server.version().saturating_sub(keep)),
            What::CutOff { replica, until } => {
                server.replica(replica).pause();
                later.at(now + until, Undo::Resume(replica));
            }
            What::Lag { replica, by } => server.replica(replica).set_lag(by),
            What::Restart { replica } => server.replica(replica).restart(),
            What::Unready { replica, until } => {
                server.replica(replica).set_ready(false);
                later.at(now + until, Undo::Ready(replica));
            }
            What::Route(routing) => {
                server.set_routing(routing);
                server.close_watches();
            }
            What::Rule { action, count, until } => {
                let partition = matches!(action, Action::RequestsLost | Action::ResponsesLost);
                let matcher = Matcher { identity: Some("informer".into()), ..Matcher::default() };
                let duration = Some(until.max(Duration::from_millis(1)));
                let budget = Budget { count: (!partition).then_some(count), duration };
                let rule = Rule { matcher, budget, ..Rule::new(action.kind(), action) };
                server.faults().add(rule).expect("a sound rule");
            }
        }
    }
    while let Some(undo) = later.next(None).await {
        undo.apply(server);
    }
    server.faults().clear();
    // What a rule has begun to do to a body goes on: a network that is mended has cut its connections.
    server.close_watches();
    if heal {
        server.set_routing(Routing::To(0));
        for replica in (0..REPLICAS).map(|index| server.replica(index)) {
            replica.set_lag(Lag::None);
            replica.resume();
            replica.set_ready(true);
        }
    } else {
        (0..REPLICAS).for_each(|index| server.replica(index).pause());
    }
}

impl Undo {
    fn apply(self, server: &ApiServer) {
        match self {
            Self::Resume(replica) => server.replica(replica).resume(),
            Self::Ready(replica) => server.replica(replica).set_ready(true),
        }
    }
}
