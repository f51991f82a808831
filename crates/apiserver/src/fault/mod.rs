//! Faults: what goes wrong between a client and an API server, on purpose, from a seed.
//!
//! Comes in: rules, from [`Faults`] or a [`Script`]. Goes out: requests that hang, answers that lie, bodies that break, and
//! a log of all of it. Nothing happens without a rule, and all chance comes from [`Config::seed`](crate::Config::seed) and
//! all time from the server's clock: under paused time two runs with one seed have the same log, byte for byte.
//!
//! ```
//! use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Rule, Verb};
//! use watchkeeper_apiserver::{ApiServer, Config};
//!
//! let server = ApiServer::new(Config { seed: 7, ..Config::default() });
//! // Two renewals of alice are carried out, but she never hears of it.
//! let rule = Rule {
//!     matcher: Matcher {
//!         identity: Some("alice".into()),
//!         verbs: vec![Verb::Update],
//!         resource: Some("leases".into()),
//!         ..Matcher::default()
//!     },
//!     budget: Budget { count: Some(2), ..Budget::default() },
//!     ..Rule::new("lost renewals", Action::ResetAfterCommit)
//! };
//! let id = server.faults().add(rule)?;
//! assert_eq!(server.faults().fired().rule("lost renewals"), 0);
//! assert!(server.faults().remove(id));
//! # Ok::<(), watchkeeper_apiserver::fault::RuleError>(())
//! ```
//!
//! # How rules meet a request
//!
//! Rules are asked in the order in which they were added. All that match are chosen, up to the first after which the
//! request gets no further; a rule whose action means nothing for the request (an ERROR event for a create) does not match
//! it. A rule's budget counts the requests it was chosen for; [`Faults::fired`] and the log count and name what took effect,
//! at the moment it does: an ERROR event after ten events counts when the tenth has been sent, and a lost answer only where
//! something was carried out.
//!
//! In a body, rules about events come before rules about bytes. A broken connection is a [`TransportError`] to a client in
//! the same process; behind a [listener](crate::listen) the connection is closed. Refused there means closed without an
//! answer.
//!
//! What a rule has begun goes on when the rule is gone: who hangs, hangs. Only running watches behind a partition go on
//! when it is over, as TCP sends again.
//!
//! # What can't be had
//!
//! Everything runs inside the future of its request: a request whose client has given up is not carried out later, but for
//! [`Action::Straggle`]. A partition has no half-sent bytes. Two rules that merge or end the same body don't know of each other; the first wins.
//!
//! # Scripts
//!
//! `watchkeeper-apiserver --faults FILE` reads JSON with two lists, both optional. A rule has a `name`, an `action` (a word,
//! or a word and its parameters: the names of [`Action`] in camel case), `match` (the fields of [`Matcher`]) and `budget`
//! (the fields of [`Budget`]); `--event-log FILE` shows what they did. Names and codes are spelled as in the structs, in camel case. Durations are text such as
//! `"1500ms"`. The fields of `access` are those of [`AccessRule`](crate::AccessRule). Anything else is refused.
//!
//! ```
//! # use watchkeeper_apiserver::fault::Script;
//! # use watchkeeper_apiserver::{ApiServer, Config};
//! let script = r#"{
//!   "rules": [
//!     { "name": "slow network", "action": { "delay": { "by": "20ms", "jitter": "30ms" } } },
//!     { "name": "half of all watches end early",
//!       "match": { "verbs": ["watch"], "probability": 0.5 },
//!       "action": { "end": { "afterEvents": 10 } } },
//!     { "name": "compacted",
//!       "match": { "verbs": ["watch"], "resource": "leases", "group": "coordination.k8s.io", "skip": 2 },
//!       "action": { "errorEvent": { "afterEvents": 3, "status": { "code": 410 } } },
//!       "budget": { "count": 1 } },
//!     { "name": "busy", "match": { "verbs": ["list"], "from": "10s", "until": "20s" },
//!       "action": { "answer": { "code": 429, "retryAfterSeconds": 1 } } },
//!     { "name": "cut off", "match": { "identity": "alice", "from": "1m" },
//!       "action": "responsesLost", "budget": { "duration": "15s" } }
//!   ],
//!   "access": [
//!     { "effect": "deny", "identity": "bob", "verbs": ["list", "watch"], "resource": "leases", "namespace": "default" }
//!   ]
//! }"#;
//! let server = ApiServer::new(Config::default());
//! server.faults().load(Script::parse(script)?)?;
//!
//! let error = Script::parse(r#"{ "rules": [ { "name": "x", "action": "explode" } ] }"#).unwrap_err().to_string();
//! assert!(error.starts_with("unknown variant `explode`, expected one of `refuse`, `resetBeforeHeaders`"), "{error}");
//! assert!(error.ends_with("at line 1 column 47"), "{error}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod after;
mod answer;
mod before;
mod bytes;
mod duration;
mod error;
mod event;
mod facts;
mod faults;
mod fit;
mod gate;
mod late;
mod layer;
mod pace;
mod record;
mod rule;
mod script;
mod stream;

pub use action::{Action, Illegal, Refusal};
pub use error::TransportError;
pub use facts::Verb;
pub use faults::{Faults, RULE_LIMIT, RuleId};
pub use record::Fired;
pub use rule::{Budget, Matcher, NAME_LIMIT, Rule, RuleError, TIME_LIMIT};
pub use script::{Script, ScriptError};

pub(crate) use facts::Facts;
pub(crate) use faults::Core;
pub(crate) use layer::{Ticket, run};
pub(crate) use pace::Pace;
pub(crate) use record::Record;
pub(crate) use rule::says;
