//! Requests for the fuzz test: valid ones over all kinds and verbs, and what chance makes of them.

pub(crate) mod judge;
mod mutate;
mod raw;
mod streams;

use fastrand::Rng;
use serde_json::{Value, json};

pub(crate) use raw::{Ending, Raw};

/// One resource of the server, as its discovery documents tell.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) base: String,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

const NAMES: &[&str] = &["b", "b", "d.e", "default"];
const NAMESPACES: &[&str] = &["kube-system", "a", "missing"];
const SUBRESOURCES: &[&str] = &["/status", "/status", "/status", "/finalize", "/binding", "/scale", "/a/b"];
const MEDIA: &[&str] = &[
    "application/json",
    "application/json; charset=utf-8",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
    "application/json;as=Table;g=meta.k8s.io;v=v1",
    "*/*;q=0.1, ;;=,",
];
const PARAMETERS: &[&str] = &[
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "labelSelector",
    "fieldSelector",
    "watch",
    "timeoutSeconds",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "dryRun",
    "timeout",
    "propagationPolicy",
    "gracePeriodSeconds",
    "orphanDependents",
    "fieldManager",
    "fieldValidation",
    "pretty",
    "force",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "3",
    "5",
    "10",
    "true",
    "false",
    "-1",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "NotOlderThan",
    "Exact",
    "All",
    "Background",
    "Foreground",
    "Orphan",
    "5s",
    "-5s",
    "9999999999999h",
    "1h1h1h",
    "0.0000001ns",
    ".s",
    "app%3Da",
    "app+in+(a,b),!x",
    "app%20notin%20(",
    "a,b,,c",
    "!",
    "metadata.name%3Da",
    "metadata.namespace!%3Ddefault",
    "spec.nodeName%3D",
    "a%3D%3D%3Db",
    "%00",
    "%ff",
    "%f0%9f%98%80",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiJhXHUwMDAwIn0",
];
/// Chance, and what it draws on.
pub(crate) struct Fuzz {
    pub(crate) random: Rng,
    pub(crate) resources: Vec<Resource>,
    /// Versions, uids and continue tokens that the server has told.
    pub(crate) told: Vec<String>,
}

impl Fuzz {
    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.random.usize(..all.len())]
    }

    /// One request in so many.
    pub(crate) fn one_in(&mut self, count: u32) -> bool {
        self.random.u32(..count) == 0
    }

    /// A request, as a client may well send it or with what chance makes of it.
    pub(crate) fn any(&mut self) -> Raw {
        let mut raw = self.valid();
        while self.one_in(2) {
            self.mutate(&mut raw);
        }
        raw
    }

    /// A request that a client may well send.
    pub(crate) fn valid(&mut self) -> Raw {
        let at = self.random.usize(..self.resources.len());
        let resource = self.resources[at].clone();
        let namespace = if self.one_in(6) { self.pick(NAMESPACES) } else { "default" };
        let name = if self.one_in(3) { self.pick(NAMES) } else { "a" };
        let mut path = resource.base.clone();
        if resource.namespaced && !self.one_in(12) {
            path += &format!("/namespaces/{namespace}");
        }
        path += &format!("/{}", resource.plural);
        let verb = self.random.u32(..14);
        let below = if self.one_in(5) { self.pick(SUBRESOURCES) } else { "" };
        let one = format!("{path}/{name}{below}");
        let object = self.object(&resource, if resource.namespaced { Some(namespace) } else { None }, name);
        let (method, path, media, body) = match verb {
            0..=2 | 12 => ("POST", path, "application/json", object.to_string()),
            3 => ("PUT", one, "application/json", object.to_string()),
            4 => ("PATCH", one, "application/merge-patch+json", self.merge_patch().to_string()),
            5 => ("PATCH", one, "application/json-patch+json", self.json_patch().to_string()),
            6 => ("DELETE", one, "application/json", self.delete_options()),
            7 if self.one_in(6) => ("DELETE", path, "application/json", self.delete_options()),
            7 | 8 => ("GET", one, "", String::new()),
            _ => ("GET", path, "", String::new()),
        };
        let mut query = String::new();
        let parameters = if method == "GET" { self.random.u32(..5) } else { self.random.u32(..2) };
        for _ in 0..parameters {
            let (parameter, value) = (self.pick(PARAMETERS), self.value());
            query += &format!("{}{parameter}={value}", if query.is_empty() { "" } else { "&" });
        }
        let mut headers = vec![(b"content-type".to_vec(), media.as_bytes().to_vec())];
        if self.one_in(10) {
            headers.push((b"accept".to_vec(), self.pick(MEDIA).as_bytes().to_vec()));
        }
        let (method, path, query) = (method.into(), path.into_bytes(), query.into_bytes());
        Raw { method, path, query, headers, body: body.into_bytes(), ending: Ending::End }
    }

    fn value(&mut self) -> String {
        if !self.told.is_empty() && self.one_in(3) {
            return self.told[self.random.usize(..self.told.len())].clone();
        }
        self.pick(VALUES).to_owned()
    }

    fn object(&mut self, resource: &Resource, namespace: Option<&str>, name: &str) -> Value {
        let mut metadata = json!({ "name": name, "labels": { "app": name } });
        if self.one_in(10) {
            metadata["resourceVersion"] = json!(self.value());
        }
        if self.one_in(8) {
            metadata["finalizers"] = json!(["example.com/a", self.pick(VALUES)]);
        }
        if self.one_in(8) {
            let [name, uid] = ["o", "u"];
            metadata["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid }]);
        }
        if self.one_in(12) {
            metadata["generateName"] = json!(name);
            metadata["name"] = json!("");
        }
        let mut object = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "data": { "a": "b" },
            "spec": { "replicas": self.random.u32(..3), "nodeName": name }, "status": { "phase": name },
        });
        match resource.kind.as_str() {
            "Lease" => {
                let time = "2026-01-02T03:04:05.000006Z";
                object["spec"] = json!({ "holderIdentity": name, "leaseDurationSeconds": 15, "renewTime": time });
            }
            "LeaseCandidate" => {
                object["spec"] = json!({
                    "leaseName": "l", "strategy": "OldestEmulationVersion", "binaryVersion": "1.36.0",
                    "emulationVersion": "1.36.0",
                });
            }
            "Event" => {
                object["involvedObject"] = json!({ "namespace": namespace, "name": name, "kind": "Pod" });
                object["regarding"] = object["involvedObject"].clone();
                object["eventTime"] = json!("2026-01-02T03:04:05.000006Z");
                for member in ["reportingController", "reportingComponent", "reportingInstance", "action", "reason"] {
                    object[member] = json!("example.com/a");
                }
                object["type"] = json!("Normal");
            }
            "Pod" if self.one_in(2) => object = json!({ "target": { "kind": "Node", "name": name }, "metadata": {} }),
            _ => {}
        }
        object
    }

    fn merge_patch(&mut self) -> Value {
        let label = self.pick(VALUES);
        let mut patch = json!({ "metadata": { "labels": { "app": label } }, "data": { "b": label } });
        if self.one_in(3) {
            patch["metadata"]["finalizers"] = if self.one_in(2) { Value::Null } else { json!(["example.com/x"]) };
        }
        patch
    }

    fn json_patch(&mut self) -> Value {
        let operations = ["add", "remove", "replace", "move", "copy", "test", "grow"];
        let pointers =
            ["", "/", "/metadata/labels/app", "/data/a", "/data/-", "/spec", "/metadata", "/x~1y~0z", "/~2", "a"];
        let count = self.random.usize(1..5);
        let one = |fuzz: &mut Self| {
            let (op, path, from) = (fuzz.pick(&operations), fuzz.pick(&pointers), fuzz.pick(&pointers));
            json!({ "op": op, "path": path, "from": from, "value": fuzz.pick(VALUES) })
        };
        (0..count).map(|_| one(self)).collect()
    }

    fn delete_options(&mut self) -> String {
        match self.random.u32(..4) {
            0 => {
                json!({ "propagationPolicy": self.pick(VALUES), "preconditions": { "resourceVersion": self.value() } })
                    .to_string()
            }
            1 => json!({ "kind": "DeleteOptions", "gracePeriodSeconds": 0, "dryRun": ["All"] }).to_string(),
            _ => String::new(),
        }
    }
}
