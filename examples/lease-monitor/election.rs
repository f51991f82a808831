//! From the flags to who this replica is in the election, and by which numbers.
//!
//! In: [`ElectionArgs`], the environment. Out: an `ElectorConfig` whose timings have been checked: the error shows the
//! numbers. The defaults are upstream's, or shorter ones for the embedded run, chosen so that the check passes.

use std::time::Duration;

use watchkeeper::leader::{ElectorConfig, Identity, Timings};

use crate::cli::ElectionArgs;

/// The file in a pod that names its namespace.
const POD_NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Short timings for the embedded run: D 2.2 s is below (1 - 1/12) * (4 s / (1 + 1/12) - 1 s) = 2.47 s.
fn embedded() -> Timings {
    Timings {
        lease_duration: Duration::from_secs(4),
        renew_deadline: Duration::from_millis(2200),
        retry_period: Duration::from_millis(500),
        request_timeout: Duration::from_secs(1),
        stop_bound: Duration::from_secs(1),
        ..Timings::default()
    }
}

/// The timings asked for, checked.
///
/// # Errors
/// Numbers that don't fit together, or none at all.
pub(crate) fn timings(args: &ElectionArgs, in_embedded: bool) -> Result<Timings, String> {
    let defaults = if in_embedded { embedded() } else { Timings::default() };
    let timings = Timings {
        lease_duration: args.leader_elect_lease_duration.unwrap_or(defaults.lease_duration),
        renew_deadline: args.leader_elect_renew_deadline.unwrap_or(defaults.renew_deadline),
        retry_period: args.leader_elect_retry_period.unwrap_or(defaults.retry_period),
        request_timeout: args.request_timeout.unwrap_or(defaults.request_timeout),
        stop_bound: args.stop_bound.unwrap_or(defaults.stop_bound),
        clock_rate_error: args.clock_rate_error,
        ..defaults
    };
    timings.check().map_err(|error| format!("the election timings don't fit together: {error}"))?;
    Ok(timings)
}

/// Who this replica is; `replica` stands in for the host's name where several run in one process.
///
/// # Errors
/// A readable part that can't be used.
pub(crate) fn identity(args: &ElectionArgs, replica: Option<&str>) -> Result<Identity, String> {
    let readable = match (&args.identity, replica) {
        (Some(identity), Some(replica)) if !identity.is_empty() => format!("{identity}-{replica}"),
        (Some(identity), _) => identity.clone(),
        (None, Some(replica)) => replica.to_owned(),
        (None, None) => std::env::var("POD_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(host_name),
    };
    Identity::generate(&readable).map_err(|error| format!("--identity {readable:?} can't be used: {error}"))
}

/// The whole configuration of one replica's elector.
///
/// # Errors
/// Timings that don't fit together, no randomness.
pub(crate) fn elector(args: &ElectionArgs, identity: Identity, in_embedded: bool) -> Result<ElectorConfig, String> {
    let mut seed = [0_u8; 8];
    getrandom::fill(&mut seed).map_err(|error| format!("the system gives no random numbers: {error}"))?;
    let config = ElectorConfig {
        timings: timings(args, in_embedded)?,
        first_install: args.first_install || in_embedded,
        seed: u64::from_le_bytes(seed),
        ..ElectorConfig::new(lease_namespace(args, in_embedded), args.leader_elect_resource_name.clone(), identity)
    };
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

/// The namespace asked for, else the pod's, else `kube-system`, where the control plane's own locks are.
pub(crate) fn lease_namespace(args: &ElectionArgs, in_embedded: bool) -> String {
    let pod = || std::fs::read_to_string(POD_NAMESPACE_FILE).ok().map(|text| text.trim().to_owned());
    let pod = || std::env::var("POD_NAMESPACE").ok().or_else(pod).filter(|namespace| !namespace.is_empty());
    let inferred = || if in_embedded { None } else { pod() };
    args.leader_elect_resource_namespace.clone().or_else(inferred).unwrap_or_else(|| "kube-system".to_owned())
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "lease-monitor".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    fn args(line: &str) -> ElectionArgs {
        let words = std::iter::once("lease-monitor").chain(line.split_whitespace());
        Cli::try_parse_from(words).expect("parses").run.election
    }

    #[test]
    fn both_sets_of_defaults_are_safe() {
        assert!(timings(&args(""), false).is_ok());
        assert!(timings(&args(""), true).is_ok());
    }

    #[test]
    fn inconsistent_timings_show_their_numbers() {
        let error = timings(&args("--leader-elect-renew-deadline 14s"), false).expect_err("D is too long");
        assert!(error.contains("14s") && error.contains("15s"), "{error}");
    }

    #[test]
    fn an_empty_identity_is_refused_and_a_good_one_gets_a_random_part() {
        let empty = ElectionArgs { identity: Some(String::new()), ..args("") };
        assert!(identity(&empty, None).is_err());
        assert!(identity(&empty, Some("replica-1")).is_err());
        let named = args("--identity web-1");
        let (one, other) = (identity(&named, None).expect("fine"), identity(&named, None).expect("fine"));
        assert!(one.to_string().starts_with("web-1_") && one != other);
        assert!(identity(&named, Some("replica-2")).expect("fine").to_string().starts_with("web-1-replica-2_"));
    }

    #[test]
    fn the_lease_lives_in_kube_system_unless_told() {
        assert_eq!(lease_namespace(&args(""), true), "kube-system");
        assert_eq!(lease_namespace(&args("--leader-elect-resource-namespace x"), false), "x");
    }
}
