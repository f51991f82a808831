//! What a server can be told at its start.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// Settings of an [`ApiServer`](crate::ApiServer). Each default says why it is what it is.
pub struct Config {
    /// Decides uids, generated names, the lengths of watches that ask for none, and the chance in faults: two runs with one
    /// seed are alike.
    pub seed: u64,
    /// Front ends over the one log, at least one; see [`replica`](crate::replica).
    pub replicas: usize,
    /// Changes kept for each kind, at least one. 10,000 are ten seconds of the busiest load this server is made for.
    pub history: usize,
    /// Makes what is older than this too old, as [`ApiServer::compact`](crate::ApiServer::compact) does, to within a
    /// sixteenth of it and at the next write. A real cluster compacts its storage every five minutes, while its watch
    /// caches reach back at least 75 s. None, the default: never by age.
    pub compact_after: Option<Duration>,
    /// Whether all writes are remembered for ever, without their content, for simulations to compare with
    /// ([`Truth`](crate::simulate::truth::Truth)). Not bounded; off by default.
    pub chronicle: bool,
    /// Events that may wait for a watcher that doesn't read, at least one: what comes later ends its stream after these,
    /// if it has waited for [`Config::watch_patience`] too. 20 are both of upstream's channels at their smallest. Nothing
    /// is held for a watcher: this bounds how far behind it may be, not memory.
    pub watch_buffer: usize,
    /// How long an event waits for room among a watcher's. Upstream: at most 100 ms.
    pub watch_patience: Duration,
    /// Largest request body in bytes. Upstream's limit is 3 MiB.
    pub body_limit: usize,
    /// Writes that [`ApiServer::writes`](crate::ApiServer::writes) remembers.
    pub audit_records: usize,
    /// Lines that [`Faults::log`](crate::fault::Faults::log) remembers.
    pub fault_log: usize,
    /// How often a watch that allows bookmarks gets one. Upstream: about a minute.
    pub bookmark_interval: Duration,
    /// Whether watches may ask for `sendInitialEvents`. Switched off, the server answers 422 as one before 1.34 does.
    pub streaming_lists: bool,
    /// Whether those who wait for one write are woken in an order that the seed decides, rather than in the order in which
    /// they came. Off by default; simulations switch it on to see other orders.
    pub shuffle_dispatch: bool,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Gets one JSON line for each mutating request, in the order in which they were decided.
    pub audit_log: Option<Box<dyn Write + Send>>,
    /// Gets the lines of [`Faults::log`](crate::fault::Faults::log) as they come, from the first request on.
    pub event_log: Option<Box<dyn Write + Send>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            replicas: 1,
            history: 10_000,
            compact_after: None,
            chronicle: false,
            watch_buffer: 20,
            watch_patience: Duration::from_millis(100),
            body_limit: 3 * 1024 * 1024,
            audit_records: 10_000,
            fault_log: 10_000,
            bookmark_interval: Duration::from_secs(60),
            streaming_lists: true,
            shuffle_dispatch: false,
            clock: Arc::new(SystemClock),
            audit_log: None,
            event_log: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("seed", &self.seed)
            .field("replicas", &self.replicas)
            .field("history", &self.history)
            .field("compact_after", &self.compact_after)
            .field("chronicle", &self.chronicle)
            .field("watch_buffer", &self.watch_buffer)
            .field("watch_patience", &self.watch_patience)
            .field("body_limit", &self.body_limit)
            .field("audit_records", &self.audit_records)
            .field("fault_log", &self.fault_log)
            .field("bookmark_interval", &self.bookmark_interval)
            .field("streaming_lists", &self.streaming_lists)
            .field("shuffle_dispatch", &self.shuffle_dispatch)
            .field("clock", &self.clock)
            .field("audit_log", &self.audit_log.is_some())
            .field("event_log", &self.event_log.is_some())
            .finish()
    }
}
