//! The command line: what can be asked, in the spelling of the field's own flags.
//!
//! In: arguments. Out: [`Cli`], or clap's message and exit status 2. Whether numbers fit together is checked where
//! they are used: the election's arithmetic lives in one place, in the leader crate.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Watches all Leases of a cluster and posts an Event whenever one gets late, stale or vacant, or recovers.
///
/// However many replicas run, at most one acts at a time; a Lease says which. Try it without a cluster: lease-monitor --embedded
#[derive(Debug, Parser)]
#[command(name = "lease-monitor", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch, judge and post Events while holding the Lease (the default)
    Run(Box<RunArgs>),
    /// Print the table once
    List(ListArgs),
    /// Play a small living cluster against an API server: Leases that renew, stop, are released and taken over
    Simulate(SimulateArgs),
}

/// Which API server, and how much to say.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// Kubeconfig file; by default $KUBECONFIG, then the pod's service account, then ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; by default its current one
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Only Leases of this namespace; by default all
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Log more to stderr: -v what happens, -vv details, -vvv everything
    #[arg(short, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    Table,
    /// One JSON document a line
    Json,
}

/// `run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) election: ElectionArgs,
    /// Start an API server and a small living cluster inside this process; no other set-up is needed
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
    pub(crate) embedded: bool,
    /// With --embedded: how many replicas of the monitor run, each with its own connection and identity
    #[arg(long, value_name = "COUNT", default_value_t = 3, requires = "embedded", conflicts_with_all = ["kubeconfig", "context"], value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) replicas: u8,
    /// End cleanly after this time, such as 30s; by default on SIGTERM or SIGINT
    #[arg(long = "for", value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) span: Option<Duration>,
    /// How many Leases are worked on at once
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) workers: u16,
    /// Time between two tables
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::duration::parse)]
    pub(crate) table_every: Duration,
    /// Rows of a table; the worst Leases come first, the rest is counted
    #[arg(long, value_name = "COUNT", default_value_t = 40)]
    pub(crate) rows: usize,
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Append this process's activity (terms, gate checks, writes, workers) to FILE, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace_file: Option<PathBuf>,
}

/// Who may act: the Lease of the monitor itself.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Leader election")]
pub(crate) struct ElectionArgs {
    /// The readable part of this replica's identity (a random part is added); by default $POD_NAME, then the host name
    #[arg(long, value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// L: how long others wait after the last change they saw, whole seconds [default: 15s; embedded: 4s]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) leader_elect_lease_duration: Option<Duration>,
    /// D: how long this replica may act after its last good renewal was sent [default: 10s; embedded: 2.2s]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) leader_elect_renew_deadline: Option<Duration>,
    /// R: time between renewals [default: 2s; embedded: 500ms]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) leader_elect_retry_period: Option<Duration>,
    /// Name of the Lease
    #[arg(long, value_name = "NAME", default_value = "lease-monitor")]
    pub(crate) leader_elect_resource_name: String,
    /// Namespace of the Lease; by default that of the pod, else kube-system
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) leader_elect_resource_namespace: Option<String>,
    /// T: deadline of each request about the Lease [default: 3s; embedded: 1s]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) request_timeout: Option<Duration>,
    /// J: how long work may go on after the gate has closed, before the process is ended [default: 2s; embedded: 1s]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) stop_bound: Option<Duration>,
    /// rho: the largest error of any replica's clock rate
    #[arg(long, value_name = "FRACTION", default_value_t = 1.0 / 12.0)]
    pub(crate) clock_rate_error: f64,
    /// Declare that no other replica has ever run, so that a missing Lease isn't waited out (embedded: declared)
    #[arg(long)]
    pub(crate) first_install: bool,
}

/// `list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Watch for this long before printing, so that states are observed and not estimated
    #[arg(long = "for", value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) span: Option<Duration>,
    /// Rows of the table; the worst Leases come first, the rest is counted [default: all]
    #[arg(long, value_name = "COUNT")]
    pub(crate) rows: Option<usize>,
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// `simulate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// End after this time; by default on SIGTERM or SIGINT
    #[arg(long = "for", value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) span: Option<Duration>,
    /// Instead of the small cluster: this many node Leases, renewed one after the other
    #[arg(long, value_name = "COUNT", requires = "renewals_per_second")]
    pub(crate) leases: Option<u32>,
    /// How many renewals a second --leases makes in all
    #[arg(long, value_name = "COUNT", requires = "leases", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) renewals_per_second: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_and_flags_are_those_of_the_field() {
        let line = "lease-monitor --embedded --for 30s --leader-elect-lease-duration 1m --leader-elect-resource-name x -o json";
        let cli = Cli::try_parse_from(line.split(' ')).expect("parses");
        assert!(cli.command.is_none() && cli.run.embedded);
        assert_eq!(cli.run.span, Some(Duration::from_secs(30)));
        assert_eq!(cli.run.election.leader_elect_lease_duration, Some(Duration::from_secs(60)));
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "lease-monitor --nonsense",
            "lease-monitor --for 30",
            "lease-monitor --embedded --kubeconfig x",
            "lease-monitor --embedded --context x",
            "lease-monitor --embedded --replicas 0",
            "lease-monitor run --replicas 2",
            "lease-monitor run --replicas 2 --kubeconfig x",
            "lease-monitor run --replicas 2 --context x",
            "lease-monitor list --replicas 3",
            "lease-monitor simulate --leases 5",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
