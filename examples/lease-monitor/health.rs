//! Whether this replica sees the cluster: one line for each change, not for each try.
//!
//! In: the state of the informers, asked each tick. Out: lines for people (what is wrong and what to grant or check),
//! and whether the board's view is cut off. Retrying, and how often, is the informers' business.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use watchkeeper::informer::InformerHandle;

use crate::problem;

/// What is said of one informer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// A word for the kind of trouble: a new line is due when it changes.
    pub(crate) class: String,
    /// The sentence.
    pub(crate) message: String,
}

/// Watches the watchers.
pub(crate) struct Health {
    name: String,
    leases: InformerHandle<Lease>,
    nodes: InformerHandle<Node>,
    said: Said,
    cut_off: bool,
}

impl Health {
    /// Of the replica called `name`.
    pub(crate) fn new(name: &str, leases: InformerHandle<Lease>, nodes: InformerHandle<Node>) -> Health {
        Health { name: name.to_owned(), leases, nodes, said: Said::default(), cut_off: false }
    }

    /// Looks, and returns what is to be said.
    pub(crate) fn look(&mut self) -> Vec<String> {
        let leases = trouble(&self.leases);
        self.cut_off = leases.is_some();
        let lines =
            [self.said.change("leases.coordination.k8s.io", leases), self.said.change("nodes", trouble(&self.nodes))];
        lines.into_iter().flatten().map(|line| format!("watch: {}: {line}", self.name)).collect()
    }

    /// Whether Leases can't be watched at present.
    pub(crate) fn cut_off(&self) -> bool {
        self.cut_off
    }

    /// Whether all Nodes have been listed.
    pub(crate) fn nodes_known(&self) -> bool {
        self.nodes.has_synced()
    }
}

/// What was said last about each resource; pure.
#[derive(Debug, Default)]
struct Said(BTreeMap<&'static str, String>);

impl Said {
    /// A line, if the class of trouble has changed.
    fn change(&mut self, resource: &'static str, trouble: Option<Trouble>) -> Option<String> {
        match trouble {
            None => self.0.remove(resource).map(|_| format!("{resource} can be watched again")),
            Some(trouble) if self.0.get(resource) == Some(&trouble.class) => None,
            Some(Trouble { class, message }) => {
                let line = match class.as_str() {
                    "forbidden" => problem::forbidden("list and watch", resource, "in the watched namespaces"),
                    "unauthorized" => format!("cannot watch {resource}: {}", problem::UNAUTHORIZED),
                    _ => format!("cannot watch {resource}: {message}; trying again until it works"),
                };
                self.0.insert(resource, class);
                Some(line)
            }
        }
    }
}

fn trouble<K: watchkeeper::informer::Cached>(handle: &InformerHandle<K>) -> Option<Trouble> {
    let failing = handle.sync_status().reflector().failing.clone()?;
    Some(Trouble { class: failing.class.to_owned(), message: failing.message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_per_change_and_not_per_try() {
        let mut said = Said::default();
        let trouble = |class: &str, message: &str| Some(Trouble { class: class.into(), message: message.into() });
        assert_eq!(said.change("nodes", None), None);
        let first = said.change("nodes", trouble("unreachable", "refused")).expect("a change");
        assert!(first.contains("cannot watch nodes: refused"));
        assert_eq!(said.change("nodes", trouble("unreachable", "refused, try 2")), None);
        let second = said.change("nodes", trouble("forbidden", "no")).expect("a change");
        assert!(
            second.contains("not allowed to list and watch nodes") && second.contains(r#"verbs: ["list", "watch"]"#)
        );
        assert!(said.change("nodes", None).is_some_and(|line| line.contains("again")));
        assert_eq!(said.change("nodes", None), None);
    }
}
