//! `list`: the table once.
//!
//! In: an API server. Out: one table or JSON document. A single look observes no change, so the states are estimated
//! from `renewTime` and this machine's clock, and marked so; with `--for` Leases are watched first. Writes nothing.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube_client::Api;
use kube_client::api::ListParams;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use watchkeeper::Connection;
use watchkeeper::informer::{Event, Scope};

use crate::attention::TICK;
use crate::board::Board;
use crate::cli::{Format, ListArgs};
use crate::lifetime::bounded;
use crate::logging;
use crate::moment::MachineClock;
use crate::output::Voice;
use crate::problem;
use crate::table;
use crate::view::{Look, look};

/// How long the API server may take to answer a page.
const PATIENCE: Duration = Duration::from_secs(15);

/// Objects a page.
const PAGE: u32 = 500;

/// Prints the table.
///
/// # Errors
/// The server can't be reached, or doesn't let us list Leases.
pub(crate) async fn run(args: ListArgs) -> Result<(), String> {
    logging::start(args.target.verbose, None, "list")?;
    let connection = args.target.connection().await?;
    let client = connection.client().map_err(|error| problem::chain(&error))?;
    let namespace = args.target.namespace.as_deref();
    let clock = MachineClock::start();
    let board = Arc::new(Board::new(clock.clone()));

    let leases: Api<Lease> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let place = namespace.unwrap_or_default();
    let at = |error: String| {
        format!("{error}; check the API server {} and the kubeconfig that names it", connection.address())
    };
    pages(&leases, ("leases.coordination.k8s.io", place), |object| {
        board.lease(&Event::Added { object: Arc::new(object), initial: true });
    })
    .await
    .map_err(at)?;
    // Nodes only tell orphans from others: without them the table is less, not nothing.
    let nodes: Api<Node> = Api::all(client);
    let known = pages(&nodes, ("nodes", ""), |object| {
        board.node(&Event::Added { object: Arc::new(object), initial: true });
    })
    .await;
    if let Err(error) = &known {
        eprintln!("lease-monitor: {error}; orphaned node Leases can't be told from others");
    }
    board.tick(false, known.is_ok());
    if let Some(span) = args.span {
        watch(&connection, namespace, &board, span).await?;
    }
    print(&args, &board, clock.wall());
    Ok(())
}

/// Lists everything, page by page.
async fn pages<K>(api: &Api<K>, (resource, namespace): (&str, &str), mut each: impl FnMut(K)) -> Result<(), String>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = tokio::time::timeout(PATIENCE, api.list(&parameters))
            .await
            .map_err(|_| format!("cannot list {resource}: no answer within {} s", PATIENCE.as_secs()))?
            .map_err(|error| problem::explain(&error, "list", resource, namespace))?;
        page.items.into_iter().for_each(&mut each);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Watches for `span`, so that changes are observed.
async fn watch(
    connection: &Connection,
    namespace: Option<&str>,
    board: &Arc<Board>,
    span: Duration,
) -> Result<(), String> {
    let scope = match namespace {
        Some(namespace) => Scope::namespaced::<Lease>(namespace),
        None => Scope::all::<Lease>(),
    };
    let mut informer = connection.informer_in::<Lease>(scope).map_err(|error| problem::chain(&error))?;
    let on_board = board.clone();
    informer.add_source(move |event| on_board.lease(event));
    let stop = CancellationToken::new();
    let ticks = async {
        let mut ticks = tokio::time::interval(TICK);
        while !stop.is_cancelled() {
            ticks.tick().await;
            board.tick(false, true);
        }
    };
    let work = async {
        futures::future::join(informer.run(stop.clone()), ticks).await;
        Ok(())
    };
    bounded(Box::pin(work), Some(span), stop.clone()).await
}

fn print(args: &ListArgs, board: &Board, wall: jiff::Timestamp) {
    let voice = Voice::new(args.output == Format::Json);
    let view = look(board, Look { rows: args.rows.unwrap_or(usize::MAX), estimate: Some(wall) });
    match args.output {
        Format::Json => {
            if let Ok(text) = serde_json::to_string(&view) {
                voice.print(&format!("{text}\n"));
            }
        }
        Format::Table => {
            let note = "~ estimated from renewTime and this machine's clock; --for 15s watches and observes instead";
            let marked = view.leases.iter().any(|row| row.estimated);
            let notes: Vec<String> = marked.then(|| note.to_owned()).into_iter().collect();
            voice.print(&table::render(&view, &notes));
        }
    }
}
