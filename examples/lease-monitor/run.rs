//! `run`: one replica against the API server of the kubeconfig or of the pod it runs in.

use tokio_util::sync::CancellationToken;

use crate::cli::{Format, RunArgs};
use crate::election;
use crate::lifetime::bounded;
use crate::logging;
use crate::moment::MachineClock;
use crate::output::Voice;
use crate::replica::{Replica, Setup};
use crate::report::Report;

/// Runs until `--for` is over or a signal comes.
///
/// # Errors
/// Flags, kubeconfig or credentials that can't be used. An unreachable server is none: it is tried again for ever.
pub(crate) async fn run(args: RunArgs) -> Result<(), String> {
    election::timings(&args.election, false)?;
    let identity = election::identity(&args.election, None)?;
    logging::start(args.target.verbose, args.trace_file.as_deref(), identity.as_str())?;
    let connection = args.target.connection().await?;
    let voice = Voice::new(args.output == Format::Json);
    let setup = Setup { clock: MachineClock::start(), voice: voice.clone(), args };
    let address = connection.address();
    let replica = Replica::new(&setup, connection, ("this replica", identity))?;
    let face = replica.face();
    voice.say(&format!("lease-monitor {} watches the Leases of {address}", face.identity));
    voice.say(&format!("it acts while it holds the Lease {}", face.lease.as_str()));
    let report = Report {
        faces: vec![face],
        format: setup.args.output,
        rows: setup.args.rows,
        period: setup.args.table_every,
        clock: setup.clock.clone(),
        voice: voice.clone(),
    };
    let stop = CancellationToken::new();
    let work = async {
        // The report ends with the replica, also if that ends by itself.
        let replica = async {
            let result = replica.run(stop.clone()).await;
            stop.cancel();
            result
        };
        let (result, ()) = futures::future::join(replica, report.run(stop.clone())).await;
        result
    };
    bounded(Box::pin(work), setup.args.span, stop.clone()).await?;
    voice.say("ended cleanly");
    Ok(())
}
