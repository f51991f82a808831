//! What has happened: a bounded log in stable text, and counts.
//!
//! Comes in: lines and firings. Goes out: the newest lines, all of them for whoever wants to write them, and how often each rule and each kind of action took effect.
//! Reads no clock; never holds what a body says.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use super::rule::Rule;
use crate::line_log::LineLog;

/// Names of rules that are counted; those after them are counted by action only.
const NAMES: usize = 4096;

/// A longer line is cut.
const LINE_LIMIT: usize = 4096;

/// How often faults took effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    /// By the name of the rule.
    pub by_rule: BTreeMap<String, u64>,
    /// By [`Action::kind`](super::Action::kind).
    pub by_action: BTreeMap<&'static str, u64>,
}

impl Fired {
    /// How often rules of this name took effect.
    pub fn rule(&self, name: &str) -> u64 {
        self.by_rule.get(name).copied().unwrap_or_default()
    }

    /// How often an action of this kind took effect.
    pub fn action(&self, kind: &str) -> u64 {
        self.by_action.get(kind).copied().unwrap_or_default()
    }

    /// How often anything did.
    pub fn total(&self) -> u64 {
        self.by_action.values().sum()
    }
}

pub(crate) struct Record {
    lines: VecDeque<String>,
    limit: usize,
    log: LineLog,
    pub(crate) fired: Fired,
}

impl Record {
    pub(crate) fn new(limit: usize, log: Option<Box<dyn Write + Send>>) -> Self {
        let log = LineLog::new("event log", log);
        Self { lines: VecDeque::new(), limit: limit.max(1), log, fired: Fired::default() }
    }

    /// Whether somebody waits for the lines.
    pub(crate) fn is_wanted(&self) -> bool {
        self.log.is_wanted()
    }

    pub(crate) fn line(&mut self, mut line: String) {
        if line.len() > LINE_LIMIT {
            let end = (0..=LINE_LIMIT).rev().find(|at| line.is_char_boundary(*at));
            line.truncate(end.unwrap_or_default());
        }
        self.log.write(|| line.as_bytes().to_vec());
        if self.lines.len() == self.limit {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    pub(crate) fn fire(&mut self, rule: &Rule) {
        *self.fired.by_action.entry(rule.action.kind()).or_default() += 1;
        if let Some(count) = self.fired.by_rule.get_mut(&rule.name) {
            *count += 1;
        } else if self.fired.by_rule.len() < NAMES {
            self.fired.by_rule.insert(rule.name.clone(), 1);
        }
    }
}
