//! How a transfer fails where there is no answer, or only half of one.
//!
//! Comes in: nothing. Goes out: an error that a client in the same process sees as it would see a broken connection; behind
//! a listener the connection is closed instead. Never says anything an API server would say: that is a Status.

use std::fmt;

/// The connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// Nobody accepted the connection. Behind a listener it is accepted and closed without an answer.
    Refused,
    /// The connection was reset, before an answer or after the request had been carried out.
    Reset,
    /// The body ended in the middle.
    Truncated,
}

impl TransportError {
    /// What the operating system calls it.
    pub fn kind(&self) -> std::io::ErrorKind {
        match self {
            Self::Refused => std::io::ErrorKind::ConnectionRefused,
            Self::Reset => std::io::ErrorKind::ConnectionReset,
            Self::Truncated => std::io::ErrorKind::UnexpectedEof,
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "connection refused",
            Self::Reset => "connection reset by peer",
            Self::Truncated => "connection closed before the message was complete",
        })
    }
}

impl std::error::Error for TransportError {}

impl From<TransportError> for std::io::Error {
    fn from(error: TransportError) -> Self {
        Self::new(error.kind(), error)
    }
}
