//! A server with its objects, and writes to them.
//!
//! Comes in: a size. Goes out: a server of its own for each cell, whose objects are shared by all; what it has at the moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::Service as _;
use watchkeeper_apiserver::{ApiServer, Config, Snapshot, TokioClock};

use crate::phase::{ITEM_LIMIT, SIZES};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Bookmarks come so often that some come in each step.
pub(crate) const BOOKMARKS: Duration = Duration::from_secs(10);

/// Writes of the traffic to objects that nothing touches again: what is lost among them stays lost.
const UNTOUCHED: u32 = 8;

/// The last in the order of keys.
const BROKEN: &str = "zz-broken";

/// Keys with uid and version.
pub(crate) type Present = BTreeMap<String, (String, String)>;

/// The storage of each size, filled once.
pub(crate) struct Stock(Vec<(usize, Snapshot)>);

impl Stock {
    pub(crate) async fn filled() -> Self {
        let mut stock = Vec::new();
        let world = World::over(server());
        let mut there = 0;
        for size in SIZES {
            for number in there..size {
                let value = format!("the value of object {number}, as long as such values are");
                world.create(&format!("map-{number:05}"), &value).await;
            }
            there = size;
            stock.push((size, world.server.snapshot()));
        }
        Self(stock)
    }

    /// A server with so many objects.
    pub(crate) fn world(&self, size: usize) -> World {
        let (_, snapshot) = self.0.iter().find(|(filled, _)| *filled == size).expect("a size of the matrix");
        let server = server();
        server.restore(snapshot);
        server.faults().record();
        World::over(server)
    }
}

fn server() -> ApiServer {
    ApiServer::new(Config {
        bookmark_interval: BOOKMARKS,
        clock: Arc::new(TokioClock::starting_at(Timestamp::UNIX_EPOCH)),
        ..Config::default()
    })
}

pub(crate) struct World {
    pub(crate) server: ApiServer,
    writes: u32,
}

impl World {
    fn over(server: ApiServer) -> Self {
        Self { server, writes: 0 }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Bytes {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).body(Full::new(body)).expect("a sound request");
        let answer = self.server.service("writer").call(request).await.expect("no rule is for the writer");
        let code = answer.status();
        let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
        assert!(code.is_success(), "{path}: {code}");
        body
    }

    /// Stores a map and returns its version.
    async fn store(&self, method: Method, name: &str, data: Value) -> String {
        let path = if method == Method::POST { MAPS.to_owned() } else { format!("{MAPS}/{name}") };
        let body = json!({ "metadata": { "name": name }, "data": { "value": data } });
        let stored: Value = serde_json::from_slice(&self.send(method, &path, Some(body)).await).expect("an object");
        stored["metadata"]["resourceVersion"].as_str().expect("a stored object has a version").to_owned()
    }

    pub(crate) async fn create(&self, name: &str, value: &str) -> String {
        self.store(Method::POST, name, value.into()).await
    }

    /// One write of many: at first new objects only, then each new one is changed and deleted.
    pub(crate) async fn traffic(&mut self) {
        let number = self.writes;
        self.writes += 1;
        let of_three = number.saturating_sub(UNTOUCHED) % 3;
        let name = format!("traffic-{}", number - of_three);
        match of_three {
            0 => drop(self.create(&name, "new").await),
            1 => drop(self.store(Method::PUT, &name, "changed".into()).await),
            _ => drop(self.send(Method::DELETE, &format!("{MAPS}/{name}"), None).await),
        }
    }

    /// The key of the object that can't be decoded or is too large.
    pub(crate) fn broken() -> String {
        format!("default/{BROKEN}")
    }

    pub(crate) async fn store_undecodable(&self) {
        self.store(Method::POST, BROKEN, 7.into()).await;
    }

    pub(crate) async fn store_oversize(&self) {
        self.create(BROKEN, &"x".repeat(ITEM_LIMIT)).await;
    }

    pub(crate) async fn mend(&self) {
        self.store(Method::PUT, BROKEN, "sound".into()).await;
    }

    /// A write beyond the informer's scope.
    pub(crate) async fn write_elsewhere(&self) {
        self.send(Method::POST, "/api/v1/namespaces", Some(json!({ "metadata": { "name": "elsewhere" } }))).await;
    }

    /// What the server has, by a list of its own.
    pub(crate) async fn present(&self) -> Present {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            namespace: String,
            name: String,
            uid: String,
            resource_version: String,
        }
        let list = self.send(Method::GET, "/api/v1/configmaps", None).await;
        let list: List = serde_json::from_slice(&list).expect("a list");
        let entry = |Metadata { namespace, name, uid, resource_version }: Metadata| {
            (format!("{namespace}/{name}"), (uid, resource_version))
        };
        list.items.into_iter().map(|item| entry(item.metadata)).collect()
    }
}
