//! Answers of the metadata alone.

use serde_json::json;

use super::{MAPS, three};
use crate::conformance::step::Scenario;

const OBJECT: &[(&str, &str)] = &[("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")];
const LIST: &[(&str, &str)] = &[("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")];

pub(super) fn all() -> Vec<Scenario> {
    let read = |name: &str, path: String, headers: &[(&'static str, &str)]| three(name).raw("GET", path, headers, "");
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    vec![
        read("metadata-get", format!("{MAPS}/a"), OBJECT),
        read("metadata-get-as-list", format!("{MAPS}/a"), LIST),
        read("metadata-list", MAPS.into(), LIST),
        read("metadata-list-as-object", MAPS.into(), OBJECT),
        read("metadata-page", format!("{MAPS}?limit=2"), LIST),
        three("metadata-fallback").raw(
            "GET",
            MAPS,
            &[("accept", "application/json;as=Nonsense;g=meta.k8s.io;v=v1,application/json")],
            "",
        ),
        read(
            "metadata-liked-better",
            MAPS.into(),
            &[("accept", "application/json;q=0.1, application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")],
        ),
        read(
            "metadata-liked-less",
            MAPS.into(),
            &[("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1;q=0.1, application/json")],
        ),
        read(
            "metadata-after-a-wildcard",
            MAPS.into(),
            &[("accept", "*/*, application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")],
        ),
        three("metadata-watch")
            .watch_as("w", format!("{MAPS}?watch=1&resourceVersion={{vb}}"), OBJECT)
            .ask("PATCH", format!("{MAPS}/a"), json!({ "data": { "k": "z" } }))
            .read("w", 2),
        three("metadata-watch-list")
            .watch_as("w", format!("{MAPS}?watch=1&timeoutSeconds=1&{initial}"), OBJECT)
            .read_all("w"),
    ]
}
