//! A workload: random writes to one resource, spread over virtual time.
//!
//! Comes in: a seed, how many writes, over how long, over how many names. Goes out: creates, updates and deletes against
//! a server, as one identity makes them. Refusals (a name that is taken, or gone) are part of it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use tokio::time::sleep;
use tower::Service as _;

use crate::server::ApiServer;

/// Random writes to ConfigMaps in one namespace. An update replaces the whole object, labels and all: a controller that
/// writes to the same objects needs a workload of its own.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How many writes are tried.
    pub writes: u32,
    /// Over how long.
    pub within: Duration,
    /// How many different names there are.
    pub names: u32,
}

impl Workload {
    /// Makes all writes; ends after [`Workload::within`]. Says how many were accepted.
    pub async fn run(self, server: &ApiServer, random: &mut fastrand::Rng) -> u32 {
        const MAPS: &str = "/api/v1/namespaces/default/configmaps";
        let mut service = server.service("workload");
        let mut accepted = 0;
        let mean = self.within / self.writes.max(1);
        for _ in 0..self.writes {
            // Many come at once, as a rollout's do, and then none for a while.
            if random.u8(..8) == 0 {
                sleep(mean * random.u32(..=16)).await;
            }
            let name = format!("map-{}", random.u32(..self.names.max(1)));
            let body = json!({ "metadata": { "name": name }, "data": { "value": random.u64(..).to_string() } });
            let (method, path) = match random.u8(..10) {
                0..3 => (Method::POST, MAPS.to_owned()),
                3..9 => (Method::PUT, format!("{MAPS}/{name}")),
                _ => (Method::DELETE, format!("{MAPS}/{name}")),
            };
            let body = if method == Method::DELETE { Bytes::new() } else { Bytes::from(body.to_string()) };
            let request = Request::builder().method(method).uri(path).body(Full::new(body));
            let Ok(answer) = service.call(request.expect("a valid request")).await else { continue };
            accepted += u32::from(answer.status().is_success());
        }
        accepted
    }
}
