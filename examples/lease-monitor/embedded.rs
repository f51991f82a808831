//! `--embedded`: everything in one process: an API server, a small living cluster in it, and replicas of the monitor.
//!
//! In: the flags. Out: what all of them do, with a header that explains it. Each replica is a full stack and reaches
//! the server through a loopback socket, as a replica in another process would. Ended in the order in which a real
//! cluster would be taken down: replicas (the acting one releases), then the cluster, then the server.

use futures::future::join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use watchkeeper::Connection;
use watchkeeper_apiserver::{ApiServer, Config, listen};

use crate::cli::{Format, RunArgs};
use crate::cluster;
use crate::election;
use crate::lifetime::bounded;
use crate::logging;
use crate::moment::MachineClock;
use crate::output::Voice;
use crate::problem;
use crate::replica::{Replica, Setup};
use crate::report::Report;

/// Runs until `--for` is over or a signal comes.
///
/// # Errors
/// Flags that can't be used, no loopback port, a replica that ended by itself.
pub(crate) async fn run(args: RunArgs) -> Result<(), String> {
    let timings = election::timings(&args.election, true)?;
    logging::start(args.target.verbose, args.trace_file.as_deref(), "embedded")?;
    let voice = Voice::new(args.output == Format::Json);
    let setup = Setup { clock: MachineClock::start(), voice: voice.clone(), args };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.map_err(|error| format!("no loopback port for the embedded API server: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let connect = |identity: &str| connection(&format!("http://{address}/as/{identity}"));

    let mut replicas = Vec::new();
    for number in 1..=setup.args.replicas {
        let name = format!("replica-{number}");
        let identity = election::identity(&setup.args.election, Some(&name))?;
        replicas.push(Replica::new(&setup, connect(&name)?, (&name, identity))?);
    }
    let report = Report {
        faces: replicas.iter().map(Replica::face).collect(),
        format: setup.args.output,
        rows: setup.args.rows,
        period: setup.args.table_every,
        clock: setup.clock.clone(),
        voice: voice.clone(),
    };
    voice.say(&header(&address.to_string(), replicas.len(), &setup.args, timings.lease_duration.as_secs()));

    let (stop, stop_cluster, stop_server) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let living = connect("living-cluster")?.client().map_err(|error| problem::chain(&error))?;
    let work = async {
        let server = listen::serve(ApiServer::new(Config::default()), listener, stop_server.clone());
        let cluster = async {
            let result = cluster::play(living, setup.clock.clone(), stop_cluster.clone()).await;
            stop.cancel();
            result
        };
        let monitor = async {
            let runs = replicas.into_iter().map(|replica| async {
                let result = replica.run(stop.clone()).await;
                // One that ends by itself ends all.
                stop.cancel();
                result
            });
            let (results, ()) = futures::future::join(join_all(runs), report.run(stop.clone())).await;
            stop_cluster.cancel();
            results.into_iter().collect::<Result<(), String>>()
        };
        let both = async {
            let (cluster, monitor) = futures::future::join(cluster, monitor).await;
            stop_server.cancel();
            monitor.and(cluster)
        };
        futures::future::join(both, server).await.0
    };
    bounded(Box::pin(work), setup.args.span, stop.clone()).await?;
    voice.say("ended cleanly: the acting replica has released its Lease");
    Ok(())
}

fn connection(url: &str) -> Result<Connection, String> {
    let url = url.parse().map_err(|error| format!("{url}: {error}"))?;
    Connection::from_config(kube_client::Config::new(url)).map_err(|error| problem::chain(&error))
}

fn header(address: &str, replicas: usize, args: &RunArgs, lease: u64) -> String {
    format!(
        "lease-monitor, embedded: everything below runs in this process, on made-up machines.\n\
         \n  API server  http://{address}\n  cluster     {}\n  monitor     {replicas} replicas; at most one acts at a time: \
         the holder of the Lease kube-system/{}, which lasts {lease} s.\n              The others watch, and take over when \
         it stops.\n\nEach change of a Lease's state (fresh, late, stale, vacant) is posted as a Kubernetes Event by the \
         acting replica\n(lines that begin with \"event:\"). A term of a replica begins and ends with a line \"term:\". \
         Its epoch only ever grows.\nA table follows every few seconds; the worst Leases come first. Ctrl-C ends it \
         cleanly.\n",
        cluster::SUMMARY,
        args.election.leader_elect_resource_name,
    )
}
