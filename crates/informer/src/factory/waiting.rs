//! Waiting: who isn't synced in time, and why, for people. Nothing here acts.

use std::fmt;
use std::time::Duration;

use crate::scope::Scope;
use crate::sync::SyncStatus;

/// Who isn't synced in time, and why.
#[derive(Debug, Clone)]
pub struct FactoryNotSynced {
    /// How long was waited.
    pub within: Duration,
    /// The scopes, and what each is up against.
    pub waiting: Vec<(Scope, Waiting)>,
}

/// What an informer of a factory is up against.
#[derive(Debug, Clone)]
pub enum Waiting {
    /// Its kind isn't there yet.
    ForKind,
    /// It is at work.
    ForSync(Box<SyncStatus>),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForKind => f.write_str("its kind isn't defined yet"),
            Self::ForSync(status) => status.fmt(f),
        }
    }
}

impl fmt::Display for FactoryNotSynced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.waiting.len();
        write!(f, "{count} informer{} not synced within {:?}", if count == 1 { " is" } else { "s are" }, self.within)?;
        self.waiting.iter().try_for_each(|(scope, waiting)| write!(f, "; {scope}: {waiting}"))
    }
}

impl std::error::Error for FactoryNotSynced {}
