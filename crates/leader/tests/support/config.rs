//! The one place of these tests that makes a configuration.

use watchkeeper_leader::{ElectorConfig, Identity, Timings};

/// The namespace and the name of the Lease that all of them stand for.
pub(crate) const PLACE: (&str, &str) = ("default", "the-lease");

pub(crate) fn config(identity: Identity, timings: Timings, first_install: bool, seed: u64) -> ElectorConfig {
    ElectorConfig { timings, first_install, seed, ..ElectorConfig::new(PLACE.0, PLACE.1, identity) }
}
