//! A whole controller in a simulated cluster: informer, queue, election and reconciler, against an API server in the same
//! process that fails on purpose, in virtual time.
//!
//! In: a seed, or none for 7. Out: what went wrong and where it ended; an error if the end is not what it should be. It takes no
//! socket, and its minutes pass in milliseconds.
//!
//! ```text
//! cargo run --example simulated-controller -- 42
//! ```

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::{Api, ListParams, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;
use watchkeeper::leader::{ElectorConfig, Identity, Timings, VirtualClock};
use watchkeeper::{
    Action, BoxError, Connection, Controller, ElectorOn, Failure, Manager, ManagerConfig, Reconciler, Request,
};
use watchkeeper_apiserver::fault::Script;
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};

const OBJECTS: usize = 20;
/// The first watch ends with an error after three events, and the server carries out five updates of which nobody hears.
const FAULTS: &str = r#"{ "rules": [
  { "name": "compacted", "match": { "verbs": ["watch"], "resource": "configmaps" }, "budget": { "count": 1 },
    "action": { "errorEvent": { "afterEvents": 3, "status": { "code": 410 } } } },
  { "name": "lost answers", "match": { "verbs": ["update"], "resource": "configmaps" }, "budget": { "count": 5 },
    "action": "resetAfterCommit" }
] }"#;

struct Greeter;

#[async_trait]
impl Reconciler<ConfigMap> for Greeter {
    async fn reconcile(&self, request: Request<ConfigMap>) -> Result<Action, Failure> {
        let Some(map) = request.object else { return Ok(Action::Done) };
        let mut map = (*map).clone();
        if map.data.get_or_insert_default().insert("greeting".into(), "hello".into()).is_none() {
            let maps: Api<ConfigMap> = Api::namespaced(request.client.client(), request.key.namespace());
            maps.replace(request.key.name(), &PostParams::default(), &map).await?;
        }
        Ok(Action::Done)
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let seed = std::env::args()
        .nth(1)
        .map_or(Ok(7), |text| text.parse().map_err(|_| format!("{text:?} is no seed: give a number")))?;
    let clock = Arc::new(TokioClock::starting_at("2026-01-01T00:00:00Z".parse()?));
    let server = ApiServer::new(Config { seed, clock, ..Config::default() });
    server.faults().load(Script::parse(FAULTS)?)?;

    let (timings, identity) = (Timings::default(), Identity::from_parts("greeter", 1, seed.into())?);
    let elector =
        ElectorConfig { timings, first_install: true, seed, ..ElectorConfig::new("default", "greeter", identity) };
    let reached = server.clone();
    let connection = Connection::in_process("default", move || reached.service("greeter"));
    let mut config = ManagerConfig::new(connection.clone(), elector);
    config.clock = Arc::new(VirtualClock::new());
    config.elector_on = ElectorOn::ThisRuntime;
    let mut informer = connection.informer::<ConfigMap>()?;
    let controller = Controller::new("greeter", &mut informer, Greeter).workers(2);
    let manager = Manager::new(config).informer(informer).controller(controller);

    let maps: Api<ConfigMap> = Api::default_namespaced(kube_client::Client::new(server.service("user"), "default"));
    let stop = CancellationToken::new();
    let user = async {
        for number in 0..OBJECTS {
            let metadata = ObjectMeta { name: Some(format!("map-{number}")), ..ObjectMeta::default() };
            maps.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await?;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        stop.cancel();
        Ok::<_, kube_client::Error>(())
    };
    let (ended, created) = futures::join!(manager.run(stop.clone()), user);
    ended?;
    created?;

    let all = maps.list(&ListParams::default()).await?.items;
    let greeted = all.iter().filter(|map| map.data.as_ref().is_some_and(|data| data["greeting"] == "hello")).count();
    let fired = server.faults().fired();
    println!("seed {seed}: faults {fired:?}, {greeted} of {OBJECTS} objects greeted, version {}", server.version());
    assert_eq!((greeted, fired.rule("compacted"), fired.rule("lost answers")), (OBJECTS, 1, 5));
    Ok(())
}
