//! The one place of these tests that makes a configuration.

use watchkeeper_leader::{ElectorConfig, Identity, Timings};

/// The namespace and the name of the Lease that all of them stand for.
pub(crate) const PLACE: (&str, &str) = ("default", "the-lease");

pub(crate) fn config(identity: Identity, timings: Timings, first_install: bool, seed: u64) -> ElectorConfig {
    ElectorConfig {
        lease_namespace: PLACE.0.to_owned(),
        lease_name: PLACE.1.to_owned(),
        identity,
        timings,
        first_install,
        seed,
    }
}
