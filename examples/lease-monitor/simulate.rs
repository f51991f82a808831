//! `simulate`: plays the small living cluster, or a large one's load, against an API server.

use tokio_util::sync::CancellationToken;

use crate::cli::SimulateArgs;
use crate::cluster;
use crate::lifetime::bounded;
use crate::load::{self, Load};
use crate::logging;
use crate::moment::MachineClock;
use crate::output::Voice;
use crate::problem;

/// Plays until `--for` is over or a signal comes.
///
/// # Errors
/// A kubeconfig that can't be used, objects that can't be created.
pub(crate) async fn run(args: SimulateArgs) -> Result<(), String> {
    logging::start(args.target.verbose, None, "simulate")?;
    let connection = args.target.connection().await?;
    let client = connection.client().map_err(|error| problem::chain(&error))?;
    let voice = Voice::new(false);
    let clock = MachineClock::start();
    let stop = CancellationToken::new();
    let result = match args.leases.zip(args.renewals_per_second) {
        Some((leases, per_second)) => {
            voice.say(&format!("renewing {leases} Leases, {per_second} times a second, on {}", connection.address()));
            let work = load::run(client, Load { leases, per_second }, (clock, voice.clone()), stop.clone());
            bounded(Box::pin(work), args.span, stop.clone()).await
        }
        None => {
            voice.say(&format!("playing on {}: {}", connection.address(), cluster::SUMMARY));
            bounded(Box::pin(cluster::play(client, clock, stop.clone())), args.span, stop.clone()).await
        }
    };
    result.map_err(|error| format!("{error} (API server: {})", connection.address()))?;
    voice.say("ended cleanly");
    Ok(())
}
