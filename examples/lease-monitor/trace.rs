//! The activity trace: who was active when, as a file that a checker can judge.
//!
//! In: `tracing` events of the target `watchkeeper::activity` (terms, gate checks, writes, workers; boot-time clock).
//! Out: one JSON object a line, with this process's number and identity added, appended by one `write(2)` a line, so
//! that several processes may share a file and a killed one leaves whole lines. Failing to write is said once.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Once;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};

/// The target the libraries trace their activity under.
pub(crate) const TARGET: &str = "watchkeeper::activity";

/// Writes the activity of this process to a file.
pub(crate) struct ActivityTrace {
    file: File,
    identity: String,
    complained: Once,
}

impl ActivityTrace {
    /// Opens `path` for appending, creating it if needed.
    pub(crate) fn append(path: &Path, identity: &str) -> std::io::Result<ActivityTrace> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(ActivityTrace { file, identity: identity.to_owned(), complained: Once::new() })
    }
}

/// Lets only the activity through, at every level.
pub(crate) struct ActivityOnly;

impl<S> Filter<S> for ActivityOnly {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.target() == TARGET
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        match metadata.target() == TARGET {
            true => tracing::subscriber::Interest::always(),
            false => tracing::subscriber::Interest::never(),
        }
    }
}

impl<S: Subscriber> Layer<S> for ActivityTrace {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        fields.0.insert("pid".into(), std::process::id().into());
        fields.0.insert("identity".into(), self.identity.clone().into());
        event.record(&mut fields);
        let mut line = Value::Object(fields.0).to_string();
        line.push('\n');
        // One write: O_APPEND makes it whole among other processes' lines.
        if let Err(error) = (&self.file).write_all(line.as_bytes()) {
            self.complained.call_once(|| eprintln!("lease-monitor: the activity trace has gaps: {error}"));
        }
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        // A field of the event wins: with several replicas in one process, it knows better who it was.
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// Goal: one line an activity, nothing else. Method: a subscriber of this thread writes to a temporary file.
    #[test]
    fn activity_becomes_lines_of_json_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace");
        let trace = ActivityTrace::append(&path, "me").expect("opens");
        let subscriber = tracing_subscriber::registry().with(trace.with_filter(ActivityOnly));
        tracing::subscriber::with_default(subscriber, || {
            let epoch = format_args!("{}", 12).to_string();
            tracing::trace!(target: TARGET, what = "gate", %epoch, passed = true, boot_nanos = 7_u64);
            tracing::error!("not an activity");
            tracing::trace!(target: TARGET, what = "write-begin", path = "/a \"b\"", bound_nanos = u64::MAX);
        });
        let text = std::fs::read_to_string(&path).expect("reads");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["epoch"], "12");
        assert_eq!(lines[0]["passed"], true);
        assert_eq!(lines[0]["identity"], "me");
        assert_eq!(lines[0]["pid"], std::process::id());
        assert_eq!(lines[1]["bound_nanos"], u64::MAX);
    }
}
