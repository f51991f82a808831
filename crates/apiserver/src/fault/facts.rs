//! What a request is about, as rules and access see it: upstream calls this RequestInfo.
//!
//! Comes in: an identity, a method and a URI. Goes out: verb, resource, place and a stable text. Works on paths alone and
//! asks no table of kinds; never looks into a body.

use http::{Method, Uri};
use serde::{Deserialize, Serialize};

use crate::route::percent_decode;

/// What a request wants to do, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// One object, or a path that is no resource.
    Get,
    /// A collection.
    List,
    /// The changes of a collection.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
}

impl Verb {
    /// As upstream writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes anything.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Requests are numbered from 1 as they arrive; 0 came before anybody counted.
    pub(crate) number: u64,
    pub(crate) identity: String,
    pub(crate) verb: Verb,
    pub(crate) group: String,
    /// Empty: not a resource path.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) path: String,
    /// Sorted, still escaped.
    query: Vec<String>,
}

impl Facts {
    pub(crate) fn of(number: u64, identity: &str, method: &Method, uri: &Uri) -> Self {
        let mut query: Vec<String> =
            uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        query.sort();
        let mut facts = Self {
            number,
            identity: identity.to_owned(),
            verb: Verb::Get,
            group: String::new(),
            resource: String::new(),
            namespace: String::new(),
            name: String::new(),
            subresource: String::new(),
            path: uri.path().to_owned(),
            query,
        };
        facts.read_path();
        let collection = facts.is_resource() && facts.name.is_empty();
        facts.verb = match *method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if collection => Verb::DeleteCollection,
            Method::DELETE => Verb::Delete,
            _ if !collection => Verb::Get,
            _ if facts.raw("watch").is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false")) => {
                Verb::Watch
            }
            _ => Verb::List,
        };
        if collection && facts.verb != Verb::Create {
            // Upstream counts a collection narrowed to one name as that object.
            let selector = facts.parameter("fieldSelector").unwrap_or_default();
            let name = selector.strip_prefix("metadata.name=").map(|name| name.trim_start_matches('='));
            facts.name = name.filter(|name| !name.contains(',')).unwrap_or_default().to_owned();
        }
        facts
    }

    fn read_path(&mut self) {
        let segments: Option<Vec<String>> =
            self.path.trim_matches('/').split('/').map(|segment| percent_decode(segment, false)).collect();
        let segments = segments.unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, "status" | "finalize"] | ["namespaces", namespace] => (*namespace, rest),
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let Some((resource, rest)) = rest.split_first() else { return };
        self.group = group.to_owned();
        self.resource = (*resource).to_owned();
        self.namespace = namespace.to_owned();
        self.name = rest.first().copied().unwrap_or_default().to_owned();
        self.subresource = rest.get(1..).unwrap_or_default().join("/");
    }

    pub(crate) fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }

    /// `leases.coordination.k8s.io`; the plural alone in the core group.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// The decoded value of a parameter; empty counts as absent.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.raw(name).and_then(|value| percent_decode(value, true)).filter(|value| !value.is_empty())
    }

    fn raw(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The request in one stable line, without what its body says.
    pub(crate) fn line(&self) -> String {
        let who = self.identity.escape_debug().to_string().replace(' ', "\\u{20}");
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("#{} {who} {} {}{mark}{}", self.number, self.verb.name(), self.path, self.query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(method: Method, uri: &'static str) -> Facts {
        Facts::of(1, "a b", &method, &Uri::from_static(uri))
    }

    #[test]
    fn paths_are_read_as_upstream_reads_them() {
        let rows = [
            (Method::GET, "/api/v1/pods", "list pods ns= name= sub="),
            (Method::GET, "/api/v1/pods?watch=true", "watch pods ns= name= sub="),
            (Method::GET, "/api/v1/pods?watch", "watch pods ns= name= sub="),
            (Method::GET, "/api/v1/pods?watch=0", "list pods ns= name= sub="),
            (Method::GET, "/api/v1/namespaces/n/pods/p", "get pods ns=n name=p sub="),
            (Method::PUT, "/api/v1/namespaces/n/pods/p/status", "update pods ns=n name=p sub=status"),
            (Method::GET, "/api/v1/namespaces/n", "get namespaces ns=n name=n sub="),
            (Method::GET, "/api/v1/namespaces", "list namespaces ns= name= sub="),
            (Method::PUT, "/api/v1/namespaces/n/finalize", "update namespaces ns=n name=n sub=finalize"),
            (Method::DELETE, "/api/v1/namespaces/n/pods", "deletecollection pods ns=n name= sub="),
            (Method::DELETE, "/apis/g/v1/things/t", "delete things.g ns= name=t sub="),
            (Method::GET, "/api/v1/nodes?fieldSelector=metadata.name%3Dx", "list nodes ns= name=x sub="),
            (Method::GET, "/readyz", "get  ns= name= sub="),
            (Method::GET, "/apis/g/v1", "get  ns= name= sub="),
        ];
        for (method, uri, expected) in rows {
            let seen = facts(method, uri);
            let verb = seen.verb.name();
            let (resource, namespace, name) = (seen.qualified(), &seen.namespace, &seen.name);
            assert_eq!(format!("{verb} {resource} ns={namespace} name={name} sub={}", seen.subresource), expected);
        }
        let line = facts(Method::GET, "/api/v1/pods?watch=1&limit=2&a=b").line();
        assert_eq!(line, "#1 a\\u{20}b watch /api/v1/pods?a=b&limit=2&watch=1");
    }
}
