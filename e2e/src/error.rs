//! What can go wrong in the harness. The text is for whoever reads a failed test.

use std::time::Duration;

/// Why the harness could not do what a test asked for.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A path from the environment is missing.
    #[error("{variable} is not set: it names the path of the {what}. Run the tests through e2e/run, which sets it")]
    NotSet {
        /// The environment variable.
        variable: &'static str,
        /// What it points to.
        what: &'static str,
    },
    /// A file or a system call.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A process has ended although it should run.
    #[error("{name} has ended ({status}) while {waiting_for}; the end of its log:\n{log}")]
    Ended {
        /// The process.
        name: String,
        /// Its exit status.
        status: String,
        /// What was waited for.
        waiting_for: String,
        /// The end of its log.
        log: String,
    },
    /// A deadline has passed.
    #[error("{name}: {waiting_for} took longer than {bound:?}; the end of its log:\n{log}")]
    TooSlow {
        /// The process.
        name: String,
        /// What was waited for.
        waiting_for: String,
        /// The deadline.
        bound: Duration,
        /// The end of its log.
        log: String,
    },
    /// A request to an API server failed.
    #[error("{what}: {source}")]
    Request {
        /// What was asked.
        what: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl HarnessError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Status and message of the answer by which a server refused a request; `None` of any other error.
    pub fn refusal(&self) -> Option<(u16, &str)> {
        let Self::Request { source, .. } = self else { return None };
        let kube_client::Error::Api(status) = source.downcast_ref::<kube_client::Error>()? else { return None };
        Some((status.code, &status.message))
    }

    pub(crate) fn request<E: std::error::Error + Send + Sync + 'static>(
        what: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Request { what, source: Box::new(source) }
    }
}

/// The path in the environment variable `variable`, which names the `what`.
///
/// # Errors
/// The variable is not set.
pub fn binary_from_env(variable: &'static str, what: &'static str) -> Result<std::path::PathBuf, HarnessError> {
    std::env::var_os(variable).map(Into::into).ok_or(HarnessError::NotSet { variable, what })
}
