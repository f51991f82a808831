//! A rule: which requests, what happens to them, how often.
//!
//! Comes in: a plain struct, from Rust or a script. Goes out: whether a request matches, or why the rule makes no sense.
//! Keeps no count itself and never draws a random number.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::facts::{Facts, Verb};
use crate::kinds::KINDS;

/// Longest name of a rule in bytes.
pub const NAME_LIMIT: usize = 200;

/// Longest time in a rule.
pub const TIME_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// One fault and the requests it is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Shown in the log and in counts. Rules of one name are counted together.
    pub name: String,
    /// Which requests; all if left out.
    #[serde(default, rename = "match")]
    pub matcher: Matcher,
    /// What happens to them.
    pub action: Action,
    /// How often and how long; without end if left out.
    #[serde(default)]
    pub budget: Budget,
}

/// Which requests a rule is for: those for which everything that is said here holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Matcher {
    /// Who asks.
    pub identity: Option<String>,
    /// One of these; empty: any.
    pub verbs: Vec<Verb>,
    /// The plural.
    pub resource: Option<String>,
    /// The API group; `""` is the core group.
    pub group: Option<String>,
    /// The namespace of the path; `""` is a request over all of them or of a kind without.
    pub namespace: Option<String>,
    /// The name of the path, or of a field selector for one name. A POST has none.
    pub name: Option<String>,
    /// What follows the name; `""` is the object itself.
    pub subresource: Option<String>,
    /// So many matching requests are let through first.
    pub skip: u64,
    /// From 0 to 1, drawn from the server's seed for each request that matches otherwise; left out: 1.
    pub probability: Option<f64>,
    /// From this time after the server's start.
    #[serde(with = "super::duration::optional")]
    pub from: Option<Duration>,
    /// Before this time after the server's start.
    #[serde(with = "super::duration::optional")]
    pub until: Option<Duration>,
    /// While the server's newest version is at least this.
    pub min_version: Option<u64>,
    /// While the server's newest version is at most this.
    pub max_version: Option<u64>,
}

/// How often and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Budget {
    /// So many requests are chosen.
    pub count: Option<u64>,
    /// From when the rule was added, or from [`Matcher::from`] if that is later.
    #[serde(with = "super::duration::optional")]
    pub duration: Option<Duration>,
}

/// Why a rule was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError(pub(crate) String);

impl fmt::Display for RuleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for RuleError {}

impl Rule {
    /// A rule for all requests, without end.
    pub fn new(name: impl Into<String>, action: Action) -> Self {
        Self { name: name.into(), matcher: Matcher::default(), action, budget: Budget::default() }
    }

    /// Checked once, when a rule is added or a script is read.
    pub(crate) fn check(&self) -> Result<(), RuleError> {
        let wrong = |why: &str| Err(RuleError(format!("rule {:?}: {why}", self.name)));
        if self.name.is_empty() || self.name.len() > NAME_LIMIT || self.name.chars().any(char::is_control) {
            return wrong(&format!("a name has 1 to {NAME_LIMIT} bytes and no control characters"));
        }
        if let Some(unknown) = self.matcher.unknown() {
            return wrong(&unknown);
        }
        if self.matcher.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return wrong("probability must be between 0 and 1");
        }
        if let (Some(from), Some(until)) = (self.matcher.from, self.matcher.until)
            && from >= until
        {
            return wrong("from must be before until");
        }
        if let (Some(min), Some(max)) = (self.matcher.min_version, self.matcher.max_version)
            && min > max
        {
            return wrong("minVersion must not be above maxVersion");
        }
        if self.budget.count == Some(0) || self.budget.duration == Some(Duration::ZERO) {
            return wrong("a budget of nothing never fires: leave the rule out");
        }
        let times = [self.matcher.from, self.matcher.until, self.budget.duration, Some(self.action.longest())];
        if times.into_iter().flatten().any(|time| time > TIME_LIMIT) {
            return wrong("no time may be longer than a year");
        }
        self.action.check().or_else(|why| wrong(&why))
    }

    /// Everything but count, chance and time.
    pub(crate) fn is_for(&self, facts: &Facts, version: u64) -> bool {
        self.matcher.is_for(facts, version) && self.action.applies(facts)
    }
}

impl Matcher {
    /// A resource or group that no kind has would never match.
    fn unknown(&self) -> Option<String> {
        if let Some(resource) = &self.resource
            && KINDS.iter().all(|kind| kind.plural != resource)
        {
            return Some(format!(
                "no kind here has the plural {resource:?}: write it as in a path, such as \"leases\""
            ));
        }
        let group = self.group.as_ref().filter(|group| KINDS.iter().all(|kind| kind.group != **group))?;
        Some(format!("no kind here is of the group {group:?}: it is \"\" for the core group, else as in a path"))
    }

    fn is_for(&self, facts: &Facts, version: u64) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&facts.verb))
            && says(self.identity.as_deref(), &facts.identity)
            && says(self.resource.as_deref(), &facts.resource)
            && says(self.group.as_deref(), &facts.group)
            && says(self.namespace.as_deref(), &facts.namespace)
            && says(self.name.as_deref(), &facts.name)
            && says(self.subresource.as_deref(), &facts.subresource)
            && self.min_version.is_none_or(|min| version >= min)
            && self.max_version.is_none_or(|max| version <= max)
    }
}

/// Nothing said is anything.
pub(crate) fn says(wanted: Option<&str>, is: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == is)
}
