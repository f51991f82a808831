//! A candidate of either kind, for tests in which both stand.

use crate::HarnessError;
use crate::elector::Elector;
use crate::folder::Folder;
use crate::process::Process;
use crate::replica::{Replica, ReplicaConfig};

/// Whose election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `lease-monitor`.
    Ours,
    /// client-go's `leaderelection`.
    Go,
}

/// A process that stands.
#[derive(Debug)]
pub enum Candidate {
    /// Of ours.
    Ours(Box<Replica>),
    /// Of client-go's.
    Go(Elector),
}

impl Candidate {
    /// Starts one. No two of a test may have the same user; client-go's has no wall clock of its own.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(folder: &Folder, side: Side, config: ReplicaConfig) -> Result<Self, HarnessError> {
        Ok(match side {
            Side::Ours => Self::Ours(Box::new(Replica::start(folder, config)?)),
            Side::Go => {
                let ReplicaConfig { user, kubeconfig, lease, timings, .. } = config;
                Self::Go(Elector::start(folder, &user, kubeconfig, (&lease, timings))?)
            }
        })
    }

    /// Its newest process.
    pub fn process(&mut self) -> &mut Process {
        match self {
            Self::Ours(replica) => &mut replica.process,
            Self::Go(elector) => &mut elector.process,
        }
    }

    /// When it began to lead last: its gate opened, or its work began.
    ///
    /// # Errors
    /// Its trace or its lines can't be read.
    pub fn began(&mut self) -> Result<Option<u64>, HarnessError> {
        match self {
            Self::Go(elector) => elector.began(),
            Self::Ours(replica) => {
                replica.refresh()?;
                Ok(replica.newest_term().map(|(opened, _)| opened))
            }
        }
    }
}
