//! What the server says was written, in one form for both servers.
//!
//! In: the audit log of kube-apiserver (level RequestResponse) or of the embedded server. Out: one record a write.

use serde::Deserialize;
use serde_json::Value;

use super::trace::{Epoch, ReadError, read_lines};

/// How the annotation begins that gated writes carry.
const EPOCH: &str = "epoch.watchkeeper.dev/";

/// One write that the server has answered.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteRecord {
    /// Version of the object after the write; `None` if it was refused. Versions order all writes of one server.
    pub version: Option<u128>,
    /// create, update, patch or delete.
    pub verb: String,
    /// `group/plural`, or `plural` in the core group.
    pub resource: String,
    /// Empty if cluster scoped.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Epoch in the annotations of the stored object.
    pub epoch: Option<Epoch>,
    /// HTTP status of the answer.
    pub code: u16,
    /// Who the server took the writer for.
    pub identity: String,
    /// When it was committed, in nanoseconds since boot, if the server says so.
    pub boot_nanos: Option<u64>,
}

impl WriteRecord {
    /// Whether the server stored it.
    pub fn committed(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The object, for messages and as a map key.
    pub fn object(&self) -> String {
        format!("{} {}/{}", self.resource, self.namespace, self.name)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EmbeddedLine {
    version: Option<u64>,
    verb: String,
    resource: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    name: Option<String>,
    identity: String,
    code: u16,
    epoch: Option<Epoch>,
    boot_nanos: Option<u64>,
}

/// Reads the log that `watchkeeper-apiserver --audit-log` writes.
///
/// # Errors
/// The first line that is no record.
pub fn read_embedded_audit(text: &str) -> Result<Vec<WriteRecord>, ReadError> {
    let lines: Vec<EmbeddedLine> = read_lines(text)?;
    let record = |line: EmbeddedLine| WriteRecord {
        version: line.version.map(u128::from),
        verb: line.verb,
        resource: line.resource,
        namespace: line.namespace.unwrap_or_default(),
        name: line.name.unwrap_or_default(),
        epoch: line.epoch,
        code: line.code,
        identity: line.identity,
        boot_nanos: line.boot_nanos,
    };
    Ok(lines.into_iter().map(record).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditEvent {
    verb: String,
    user: AuditUser,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    #[serde(default)]
    request_object: Value,
    #[serde(default)]
    response_object: Value,
}

#[derive(Deserialize)]
struct AuditUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Default, Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

/// Reads the log that kube-apiserver writes with `--audit-log-path` (one stage a request).
///
/// # Errors
/// The first line that is no audit event.
pub fn read_kubernetes_audit(text: &str) -> Result<Vec<WriteRecord>, ReadError> {
    let events: Vec<AuditEvent> = read_lines(text)?;
    Ok(events.into_iter().map(AuditEvent::into_record).collect())
}

impl AuditEvent {
    fn into_record(self) -> WriteRecord {
        let stored = (200..300).contains(&self.response_status.code);
        let metadata = if stored { &self.response_object["metadata"] } else { &Value::Null };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let ObjectRef { resource, namespace, name, api_group } = self.object_ref;
        // A create's path has no name.
        let name = [Some(name), text(&metadata["name"]), text(&self.request_object["metadata"]["name"])];
        WriteRecord {
            version: metadata["resourceVersion"].as_str().and_then(|version| version.parse().ok()),
            epoch: epoch(metadata).and_then(|epoch| epoch.parse().ok()).map(Epoch),
            verb: self.verb,
            resource: if api_group.is_empty() { resource } else { format!("{api_group}/{resource}") },
            namespace,
            name: name.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_default(),
            code: self.response_status.code,
            identity: self.user.username,
            boot_nanos: None,
        }
    }
}

fn epoch(metadata: &Value) -> Option<&str> {
    let mut annotations = metadata["annotations"].as_object()?.iter();
    annotations.find(|(name, _)| name.starts_with(EPOCH))?.1.as_str()
}
