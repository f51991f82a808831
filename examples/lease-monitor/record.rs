//! What a Lease says: the part of the object that counts as a sign of life when it changes.
//!
//! In: a Lease object. Out: a small [`Record`], so that no object outlives its stay in the cache. A changed label
//! or owner is no renewal, therefore two versions of an object with equal records are one to the judge.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use crate::class::Class;

/// The record of one Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Who holds it; `None` where the field is absent or empty, which is how a holder releases.
    pub(crate) holder: Option<String>,
    /// The holder's wall clock at its last renewal. Compared only with its previous value, never with ours.
    pub(crate) renewed: Option<Timestamp>,
    /// The holder's wall clock when it acquired.
    pub(crate) acquired: Option<Timestamp>,
    /// How often the holder changed, as the holders count it.
    pub(crate) transitions: Option<i32>,
    /// `leaseDurationSeconds` as it stands, valid or not.
    pub(crate) seconds: Option<i32>,
    /// What the Lease is for.
    pub(crate) class: Class,
}

impl Record {
    /// The record of `lease`; absent fields stay absent.
    pub(crate) fn of(lease: &Lease) -> Record {
        let class = Class::of(lease);
        let Some(spec) = &lease.spec else {
            return Record { holder: None, renewed: None, acquired: None, transitions: None, seconds: None, class };
        };
        Record {
            holder: spec.holder_identity.clone().filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.as_ref().map(|time| time.0),
            acquired: spec.acquire_time.as_ref().map(|time| time.0),
            transitions: spec.lease_transitions,
            seconds: spec.lease_duration_seconds,
            class,
        }
    }
}
