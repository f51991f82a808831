//! Logs to stderr, and the activity trace to its file.
//!
//! In: `-v` and `--trace-file`. Out: a global subscriber, set once. Without `-v` only warnings are shown: what people
//! want to see (terms, Events, troubles) is said on stdout by the commands themselves.

use std::io::IsTerminal as _;
use std::path::Path;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::trace::{ActivityOnly, ActivityTrace};

/// Starts logging. `RUST_LOG` overrides `-v`.
///
/// # Errors
/// The trace file can't be opened.
pub(crate) fn start(verbose: u8, trace_file: Option<&Path>, identity: &str) -> Result<(), String> {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "info,watchkeeper=debug,watchkeeper_informer=debug,watchkeeper_leader=debug,watchkeeper_workqueue=debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let trace = match trace_file {
        None => None,
        Some(path) => {
            let trace = ActivityTrace::append(path, identity)
                .map_err(|error| format!("the trace file {} can't be opened: {error}", path.display()))?;
            Some(trace.with_filter(ActivityOnly))
        }
    };
    let ansi = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(std::io::stderr).with_filter(filter);
    // Set twice only by tests; then the first one stays.
    let _ = tracing_subscriber::registry().with(trace).with(logs).try_init();
    Ok(())
}
