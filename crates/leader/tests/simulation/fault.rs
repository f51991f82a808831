//! What goes wrong around the candidates.

use std::time::Duration;

use fastrand::Rng;
use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Refusal, Rule, Verb};

/// One thing that goes wrong, at its time, to one of the processes.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) process: usize,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Stopped for a while.
    Freeze(Duration),
    /// Killed, and started anew.
    Crash,
    /// Asked to give its term up.
    HandOver,
    /// Its clock's rate changes.
    Drift,
    /// Its requests meet this, so many of them or for a while.
    Rule { action: Action, count: Option<u64>, lasts: Duration },
    /// A renewal is answered late, and then nothing gets through: where client-go's holder overstays.
    SlowThenCut { slow: Duration, lasts: Duration },
    /// A third party deletes the Lease.
    Delete,
    /// A third party blanks the holder.
    Blank,
    /// A third party writes itself in.
    Overwrite,
    /// Nobody is answered for a while.
    ServerStops(Duration),
}

impl What {
    pub(crate) const NAMES: [&str; 9] =
        ["freeze", "crash", "hand over", "drift", "slow then cut", "delete", "blank", "overwrite", "server stops"];
    /// Kinds of actions that must take effect somewhere in a campaign.
    pub(crate) const ACTIONS: [&str; 15] = [
        "requestsLost",
        "responsesLost",
        "delay",
        "delayAnswer",
        "loseAnswer",
        "resetAfterCommit",
        "resetBeforeCommit",
        "conflict",
        "answer",
        "straggle",
        "delayBeforeCommit",
        "hangBeforeHeaders",
        "hangAfterHeaders",
        "truncate",
        "html",
    ];

    /// None: the server counts.
    pub(crate) fn name(&self) -> Option<&'static str> {
        let place = match self {
            Self::Freeze(_) => 0,
            Self::Crash => 1,
            Self::HandOver => 2,
            Self::Drift => 3,
            Self::SlowThenCut { .. } => 4,
            Self::Delete => 5,
            Self::Blank => 6,
            Self::Overwrite => 7,
            Self::ServerStops(_) => 8,
            Self::Rule { .. } => return None,
        };
        Some(Self::NAMES[place])
    }

    fn draw(random: &mut Rng) -> Self {
        let lasts = Duration::from_millis(random.u64(100..30_000));
        match random.u8(..24) {
            0..3 => Self::Freeze(lasts),
            3 => Self::Crash,
            4 => Self::HandOver,
            5 => Self::Drift,
            6..9 => Self::SlowThenCut { slow: Duration::from_millis(random.u64(..3000)), lasts },
            9 => Self::Delete,
            10 => Self::Blank,
            11 => Self::Overwrite,
            12 => Self::ServerStops(lasts / 2),
            13..15 => Self::Rule { action: Action::RequestsLost, count: None, lasts },
            15..17 => Self::Rule { action: Action::ResponsesLost, count: None, lasts },
            _ => Self::Rule { action: action(random), count: Some(random.u64(1..6)), lasts },
        }
    }
}

fn action(random: &mut Rng) -> Action {
    let by = Duration::from_millis(random.u64(1..3000));
    match random.u8(..13) {
        0 => Action::Delay { by, jitter: by },
        1 => Action::DelayAnswer { by, jitter: by },
        2 => Action::LoseAnswer { code: random.u16(500..505) },
        3 => Action::ResetAfterCommit,
        4 => Action::ResetBeforeCommit,
        5 => Action::Conflict,
        6 => {
            let code = [401, 403, 404, 409, 429, 500, 503][random.usize(..7)];
            let retry_after_seconds = (code == 429).then(|| random.u32(1..30));
            Action::Answer(Refusal { retry_after_seconds, ..Refusal::of(code) })
        }
        // More would be an effect beyond the stop bound, which nobody's gate can see.
        7 => Action::Straggle { by: by / 6, jitter: by / 6 },
        8 => Action::DelayBeforeCommit { by, jitter: by },
        9 => Action::HangBeforeHeaders,
        10 => Action::HangAfterHeaders,
        11 => Action::Truncate { after_bytes: random.u64(..300) },
        _ => Action::Html { code: 502 },
    }
}

/// So many faults within this time, in its order.
pub(crate) fn draw(random: &mut Rng, count: usize, within: Duration, processes: usize) -> Vec<Fault> {
    let mut fault =
        || Fault { at: within.mul_f64(random.f64()), process: random.usize(..processes), what: What::draw(random) };
    let mut faults: Vec<Fault> = (0..count).map(|_| fault()).collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// Rules for one user's requests.
pub(crate) fn rules(what: &What, user: &str) -> Vec<Rule> {
    let matcher = Matcher { identity: Some(user.to_owned()), ..Matcher::default() };
    match what.clone() {
        What::Rule { action, count, lasts } => {
            let budget = Budget { count, duration: Some(lasts) };
            vec![Rule { matcher, budget, ..Rule::new(action.kind(), action) }]
        }
        What::SlowThenCut { slow, lasts } => {
            let slow_one = Rule {
                matcher: Matcher { verbs: vec![Verb::Update], resource: Some("leases".into()), ..matcher.clone() },
                budget: Budget { count: Some(1), duration: Some(lasts) },
                ..Rule::new("slow", Action::DelayAnswer { by: slow, jitter: Duration::ZERO })
            };
            // The one that is answered late is the first.
            let cut = Rule {
                matcher: Matcher { skip: 1, resource: Some("leases".into()), ..matcher },
                budget: Budget { count: None, duration: Some(lasts) },
                ..Rule::new("cut", Action::RequestsLost)
            };
            vec![slow_one, cut]
        }
        _ => Vec::new(),
    }
}
