//! Free ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use crate::HarnessError;

/// How often a server is started anew on another port because somebody took its port in the meantime.
pub(crate) const PORT_TRIES: usize = 5;

/// A port that was free a moment ago. Whoever starts a server on it must be ready to try another one.
///
/// # Errors
/// None is free.
pub fn free_port() -> Result<u16, HarnessError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(HarnessError::io("looking for a free port"))
}

/// Whether a log says that the port was taken.
pub(crate) fn lost_port(log: &str) -> bool {
    log.contains("address already in use")
}
