//! Who may do what: rules an identity, for the 403 that an informer has to live with.
//!
//! Comes in: rules, then requests. Goes out: yes, or upstream's Forbidden in the words of its role-based access control. No
//! roles, no groups, no bindings: identities are names, and a server without rules lets everyone do everything.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::fault::{Core, Facts, RuleError, Verb, says};

/// Access rules at once.
pub const ACCESS_LIMIT: usize = 1024;

/// Says whether some requests are allowed.
///
/// A deny rule that fits wins. Without one, an identity that any allow rule names (or that a rule for all covers) may do what
/// such a rule fits and nothing else; an identity without allow rules may do everything. Paths that are no resources,
/// such as health and discovery, are open to all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRule {
    /// What it says.
    pub effect: Effect,
    /// Whom it is about; everyone if left out.
    #[serde(default)]
    pub identity: Option<String>,
    /// One of these; empty: any.
    #[serde(default)]
    pub verbs: Vec<Verb>,
    /// The plural; of a sub-resource as in `leases/status`.
    #[serde(default)]
    pub resource: Option<String>,
    /// The API group; `""` is the core group.
    #[serde(default)]
    pub group: Option<String>,
    /// The namespace; `""` is a request over all of them or of a kind without.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// May.
    Allow,
    /// May not.
    Deny,
}

/// Names an access rule until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessId(u64);

/// The access rules of a server: a cheap handle. [`ApiServer::access`](crate::ApiServer::access) gives it.
#[derive(Clone)]
pub struct Access {
    core: Arc<Core>,
}

#[derive(Default)]
pub(crate) struct Rules {
    all: Vec<(AccessId, AccessRule)>,
    next: u64,
}

impl AccessRule {
    /// A rule about everything an identity does.
    pub fn new(effect: Effect, identity: impl Into<String>) -> Self {
        let identity = Some(identity.into());
        Self { effect, identity, verbs: Vec::new(), resource: None, group: None, namespace: None }
    }

    fn fits(&self, facts: &Facts) -> bool {
        says(self.identity.as_deref(), &facts.identity)
            && (self.verbs.is_empty() || self.verbs.contains(&facts.verb))
            && says(self.resource.as_deref(), &full_resource(facts))
            && says(self.group.as_deref(), &facts.group)
            && says(self.namespace.as_deref(), &facts.namespace)
    }
}

impl Access {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Adds a rule; it holds for requests that arrive from now on. Running watches go on, as upstream.
    ///
    /// # Errors
    ///
    /// If [`ACCESS_LIMIT`] rules are there.
    pub fn add(&self, rule: AccessRule) -> Result<AccessId, RuleError> {
        let added = self.core.access(|rules| rules.add(rule));
        self.core.arm();
        added
    }

    /// Takes a rule away. `false`: it wasn't there.
    pub fn remove(&self, id: AccessId) -> bool {
        self.core.access(|rules| {
            let before = rules.all.len();
            rules.all.retain(|(known, _)| *known != id);
            rules.all.len() < before
        })
    }

    /// Takes all rules away: everyone may do everything.
    pub fn clear(&self) {
        self.core.access(|rules| rules.all.clear());
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.core.access(|rules| rules.all.len());
        formatter.debug_struct("Access").field("rules", &rules).finish_non_exhaustive()
    }
}

impl Rules {
    pub(crate) fn add(&mut self, rule: AccessRule) -> Result<AccessId, RuleError> {
        if self.all.len() >= ACCESS_LIMIT {
            return Err(RuleError(format!("there are {ACCESS_LIMIT} access rules already: remove some")));
        }
        self.next += 1;
        let id = AccessId(self.next);
        self.all.push((id, rule));
        Ok(id)
    }

    /// All or none.
    pub(crate) fn extend(&mut self, rules: Vec<AccessRule>) -> Result<(), RuleError> {
        if self.all.len() + rules.len() > ACCESS_LIMIT {
            return Err(RuleError(format!("there would be more than {ACCESS_LIMIT} access rules: remove some")));
        }
        rules.into_iter().try_for_each(|rule| self.add(rule).map(drop))
    }

    pub(crate) fn allows(&self, facts: &Facts) -> bool {
        if !facts.is_resource() {
            return true;
        }
        let rules = || self.all.iter().map(|(_, rule)| rule);
        if rules().any(|rule| rule.effect == Effect::Deny && rule.fits(facts)) {
            return false;
        }
        let mut own =
            rules().filter(|rule| rule.effect == Effect::Allow && says(rule.identity.as_deref(), &facts.identity));
        own.clone().next().is_none() || own.any(|rule| rule.fits(facts))
    }
}

fn full_resource(facts: &Facts) -> String {
    if facts.subresource.is_empty() {
        facts.resource.clone()
    } else {
        format!("{}/{}", facts.resource, facts.subresource)
    }
}

/// Upstream's answer to who may not.
pub(crate) fn forbidden(facts: &Facts) -> Bytes {
    let place = match facts.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let named = if facts.name.is_empty() { String::new() } else { format!(" {:?}", facts.name) };
    let message = format!(
        "{}{named} is forbidden: User {:?} cannot {} resource {:?} in API group {:?} {place}",
        facts.qualified(),
        facts.identity,
        facts.verb.name(),
        full_resource(facts),
        facts.group,
    );
    let mut details = json!({ "kind": facts.resource });
    if !facts.group.is_empty() {
        details["group"] = facts.group.clone().into();
    }
    if !facts.name.is_empty() {
        details["name"] = facts.name.clone().into();
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": "Forbidden", "details": details, "code": 403,
    });
    Bytes::from(status.to_string())
}
