//! The small living cluster: Leases of every class, and every state within 15 seconds.
//!
//! Five nodes renew (one of them hangs now and then), one has stopped. Two API servers say that they live. Two
//! components elect: one crashes now and then and is taken over, the other releases its Lease and is taken up.
//! In: a client of any API server. Out: ordinary objects; on a real server they stay when the play is over, as
//! those of a real component would (all are in `kube-node-lease`, `kube-system` and `demo`).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_client::api::PostParams;
use kube_client::{Api, Client, Error};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::actor::Actor;
use crate::class::{API_SERVER_LABEL, NODE_LEASES};
use crate::moment::SharedClock;
use crate::problem;
use crate::script::Act::{Hold, Nothing, Release};
use crate::script::{FOR_EVER, Script};

/// The namespace of the electing components.
const DEMO: &str = "demo";

const NODES: [(&str, Script); 6] = [
    ("node-a", Script(&[(FOR_EVER, Hold("node-a"))])),
    ("node-b", Script(&[(FOR_EVER, Hold("node-b"))])),
    ("node-c", Script(&[(FOR_EVER, Hold("node-c"))])),
    ("node-d", Script(&[(FOR_EVER, Hold("node-d"))])),
    ("node-e", Script(&[(6, Hold("node-e")), (4, Nothing)])),
    ("node-stopped", Script(&[(1, Hold("node-stopped")), (FOR_EVER, Nothing)])),
];

const API_SERVERS: [(&str, &str, Script); 2] = [
    (
        "apiserver-k3vq7zt2mw5xbn4rjydh6pfsae",
        "cp-1",
        Script(&[(FOR_EVER, Hold("apiserver-k3vq7zt2mw5xbn4rjydh6pfsae_1"))]),
    ),
    (
        "apiserver-ybd5hw2nq7kmzx4tvjrc3gfeus",
        "cp-2",
        Script(&[(FOR_EVER, Hold("apiserver-ybd5hw2nq7kmzx4tvjrc3gfeus_1"))]),
    ),
];

/// Crashes after 6 s; the other one waits for the lease (6 s) to run out, and takes it.
const CRASHES: Script = Script(&[(6, Hold("payments-x7k2m")), (8, Nothing), (6, Hold("payments-q9d4t")), (8, Nothing)]);

/// Releases when it is updated; the next one comes up some seconds later.
const RELEASES: Script = Script(&[(6, Hold("search-5f6b9")), (4, Release), (6, Hold("search-8c2n1")), (4, Release)]);

/// One line about what is played, for people.
pub(crate) const SUMMARY: &str = "5 nodes that renew (node-e hangs now and then) and one that has stopped, 2 API servers,\n  \
     \x20           and 2 components with two candidates each: demo/payments crashes, demo/search releases its Lease";

/// Plays until `shutdown`.
///
/// # Errors
/// The first objects can't be created: the sentence says why.
pub(crate) async fn play(client: Client, clock: SharedClock, shutdown: CancellationToken) -> Result<(), String> {
    let namespace = Namespace { metadata: named(DEMO), ..Namespace::default() };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    created(namespaces.create(&PostParams::default(), &namespace).await.map(drop))
        .map_err(|error| problem::explain(&error, "create", "namespaces", ""))?;
    let mut actors = elections();
    for (name, script) in NODES {
        let uid = node(&client, name).await.map_err(|error| problem::explain(&error, "create", "nodes", ""))?;
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.to_owned(),
            uid,
            ..OwnerReference::default()
        };
        let metadata =
            ObjectMeta { namespace: Some(NODE_LEASES.to_owned()), owner_references: Some(vec![owner]), ..named(name) };
        actors.push(Actor { metadata, seconds: 8, period: Duration::from_secs(2), elects: false, script });
    }
    let mut tasks = JoinSet::new();
    for actor in actors {
        tasks.spawn(actor.run(client.clone(), clock.clone(), shutdown.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|_| "an actor of the living cluster panicked".to_owned())?;
    }
    Ok(())
}

fn elections() -> Vec<Actor> {
    let mut actors: Vec<Actor> = API_SERVERS
        .into_iter()
        .map(|(name, host, script)| {
            let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            let labels =
                BTreeMap::from([label(API_SERVER_LABEL, "kube-apiserver"), label("kubernetes.io/hostname", host)]);
            let metadata =
                ObjectMeta { namespace: Some("kube-system".to_owned()), labels: Some(labels), ..named(name) };
            Actor { metadata, seconds: 3600, period: Duration::from_secs(10), elects: false, script }
        })
        .collect();
    for (name, seconds, script) in [("payments", 6, CRASHES), ("search", 4, RELEASES)] {
        let metadata = ObjectMeta { namespace: Some(DEMO.to_owned()), ..named(name) };
        actors.push(Actor { metadata, seconds, period: Duration::from_secs(1), elects: true, script });
    }
    actors
}

/// Creates a Node, or finds it; returns its uid.
async fn node(client: &Client, name: &str) -> Result<String, Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = Node { metadata: named(name), ..Node::default() };
    created(nodes.create(&PostParams::default(), &node).await.map(drop))?;
    Ok(nodes.get(name).await?.metadata.uid.unwrap_or_default())
}

/// That it exists already is as good.
fn created(result: Result<(), Error>) -> Result<(), Error> {
    result.or_else(|error| if problem::code(&error) == Some(409) { Ok(()) } else { Err(error) })
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}
