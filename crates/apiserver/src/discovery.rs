//! What clients ask before they ask for objects: groups, resources, version, health.
//!
//! Comes in: a path. Goes out: a document made from the table of kinds. Only the plain (not aggregated) discovery documents
//! are served, and no OpenAPI.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::kinds::{self, Kind, Subresource};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// The Kubernetes minor version whose behaviour is the model.
const MINOR: u32 = 36;

/// The media type and body of the document at `path`, if there is one.
pub(crate) fn answer(path: &str) -> Option<(&'static str, Bytes)> {
    let path = if path == "/" { path } else { path.trim_end_matches('/') };
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let document = match segments.as_slice() {
        ["healthz" | "livez" | "readyz"] => return Some((TEXT, Bytes::from_static(b"ok"))),
        [""] => json!({ "paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"] }),
        ["version"] => version(),
        ["api"] => json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
        ["apis"] => {
            let groups: Vec<Value> = groups().map(|row| group(row, false)).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["apis", name] => group(groups().find(|row| row.group == *name)?, true),
        ["api", version] => resources("", version)?,
        ["apis", name, version] => resources(name, version)?,
        _ => return None,
    };
    Some((JSON, Bytes::from(document.to_string())))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": MINOR.to_string(),
        "gitVersion": format!("v1.{MINOR}.0+watchkeeper.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// One row for each group but the core one.
fn groups() -> impl Iterator<Item = &'static Kind> {
    let mut seen = "";
    kinds::all().map(|(_, row)| row).filter(move |row| std::mem::replace(&mut seen, row.group) != row.group)
}

fn group(row: &Kind, typed: bool) -> Value {
    // The row is the group's first: its version is the preferred one.
    let mut versions: Vec<Value> = Vec::new();
    for (_, other) in kinds::all().filter(|(_, other)| other.group == row.group) {
        let version = json!({ "groupVersion": other.api_version(), "version": other.version });
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    let preferred = versions.first().cloned().unwrap_or_default();
    let mut group = json!({ "name": row.group, "versions": versions, "preferredVersion": preferred });
    if typed {
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
    }
    group
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let rows: Vec<&Kind> =
        kinds::all().map(|(_, row)| row).filter(|row| row.group == group && row.version == version).collect();
    let group_version = rows.first()?.api_version();
    let mut resources = Vec::new();
    for row in rows {
        let verbs: Vec<&str> = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
            .into_iter()
            .filter(|verb| *verb != "deletecollection" || row.delete_collection)
            .collect();
        let mut resource = json!({
            "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind,
            "verbs": verbs,
        });
        for (member, names) in [("shortNames", row.short_names), ("categories", row.categories)] {
            if !names.is_empty() {
                resource[member] = json!(names);
            }
        }
        resources.push(resource);
        resources.extend(row.subresources.iter().map(|subresource| below(row, *subresource)));
    }
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    }))
}

fn below(row: &Kind, subresource: Subresource) -> Value {
    let (kind, verbs): (_, &[&str]) = match subresource {
        Subresource::Status => (row.kind, &["get", "patch", "update"]),
        Subresource::Finalize => (row.kind, &["update"]),
        Subresource::Binding => ("Binding", &["create"]),
    };
    json!({
        "name": format!("{}/{}", row.plural, subresource.name()), "singularName": "", "namespaced": row.namespaced,
        "kind": kind, "verbs": verbs,
    })
}
