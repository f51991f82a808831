//! The record of mutating requests: a bounded ring, and a line each for whoever gave the server a place to write them.
//!
//! Comes in: one record a request, in the order of the decisions. Goes out: the newest records, and JSON lines. Never holds
//! what an object contains, only its epoch annotation.

use std::collections::VecDeque;
use std::io::Write;

use serde::Serialize;

use crate::line_log::LineLog;

/// How the annotation begins in which a gated write carries the epoch of its term; the place of the Lease follows.
pub const EPOCH_PREFIX: &str = "epoch.watchkeeper.dev/";

/// One mutating request and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteRecord {
    /// The resourceVersion after the write. `None`: refused, or a dry run. A write that changed nothing has the version
    /// the object already had.
    pub version: Option<u64>,
    /// `create`, `update`, `patch`, `delete` or `deletecollection` (whose name is empty, and whose version is that of the last
    /// object deleted).
    pub verb: &'static str,
    /// `coordination.k8s.io/leases`; the plural alone in the core group.
    pub resource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty where the request was refused before it had a name.
    pub name: String,
    /// Who asked.
    pub identity: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// The epoch annotation of the object as stored; `None` without one, and after a deletion.
    pub epoch: Option<String>,
    /// Boot time of the decision, see [`Clock::boot_nanos`](crate::clock::Clock::boot_nanos).
    pub boot_nanos: u64,
}

pub(crate) struct Audit {
    records: VecDeque<WriteRecord>,
    limit: usize,
    log: LineLog,
}

impl Audit {
    pub(crate) fn new(limit: usize, log: Option<Box<dyn Write + Send>>) -> Self {
        Self { records: VecDeque::new(), limit: limit.max(1), log: LineLog::new("audit log", log) }
    }

    pub(crate) fn record(&mut self, record: WriteRecord) {
        self.log.write(|| serde_json::to_vec(&record).expect("a record has only text and numbers"));
        if self.records.len() == self.limit {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub(crate) fn records(&self) -> Vec<WriteRecord> {
        self.records.iter().cloned().collect()
    }
}
