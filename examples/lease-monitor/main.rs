//! A Lease monitor: judges all Leases of a cluster and posts an Event at each change of state.
//!
//! Try `lease-monitor --embedded --for 30s`. You should see, in this order:
//!
//! * a header that says what runs: an API server, a living cluster, three replicas of the monitor;
//! * one line `term: replica-N acts, epoch E`: at most one replica acts at a time;
//! * for each of the others one line `standby: replica-N stands by; ... leads`, and again when the leader changes;
//! * lines `event: LeaseLate ...`, `LeaseStale`, `LeaseVacant`, `LeaseRecovered`, `LeaseTaken`, `LeaderChanged`: what
//!   the acting replica has posted;
//! * every 5 s a table, the worst Leases first; all four states (fresh, late, stale, vacant) come up within 15 s;
//! * at the end the acting replica's term ends, its Lease is released, and the exit status is 0.
//!
//! Against a real cluster: `lease-monitor list` prints the table once, `lease-monitor` runs one replica.
#![forbid(unsafe_code)]

mod actor;
mod attention;
mod board;
mod class;
mod cli;
mod cluster;
mod connect;
mod duration;
mod election;
mod embedded;
mod health;
mod judge;
mod lifetime;
mod list;
mod load;
mod logging;
mod moment;
mod output;
mod problem;
mod record;
mod replica;
mod report;
mod run;
mod script;
mod simulate;
mod story;
mod table;
mod teller;
mod threshold;
mod trace;
mod view;

use std::process::ExitCode;

use clap::Parser as _;
use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lease-monitor: no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            None if cli.run.embedded => embedded::run(cli.run).await,
            None => run::run(cli.run).await,
            Some(Command::Run(args)) if args.embedded => embedded::run(*args).await,
            Some(Command::Run(args)) => run::run(*args).await,
            Some(Command::List(args)) => list::run(args).await,
            Some(Command::Simulate(args)) => simulate::run(args).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lease-monitor: {error}");
            ExitCode::FAILURE
        }
    }
}
