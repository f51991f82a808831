//! Goal: the order in which watchers hear of a write is the seed's, where that is asked for, and each still hears of all in
//! their order. Method: ten watchers that write down what they get, several seeds, each twice.
#![allow(clippy::disallowed_methods)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{LEASES, call, create, request, server_with};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::task::yield_now;

const WATCHERS: usize = 10;
const WRITES: usize = 5;

/// Who has heard of which write, in the order of hearing.
fn heard(seed: u64, shuffle_dispatch: bool) -> Vec<(usize, usize)> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let server = server_with(|config| (config.seed, config.shuffle_dispatch) = (seed, shuffle_dispatch));
        let heard = Arc::new(Mutex::new(Vec::new()));
        for watcher in 0..WATCHERS {
            let request = request("GET", &format!("{LEASES}?watch=1&resourceVersion=0"), "");
            let mut body = call(&server, request).await.into_body();
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while body.frame().await.is_some() {
                    heard.lock().push((count, watcher));
                    count += 1;
                }
            });
        }
        yield_now().await;
        for number in 0..WRITES {
            create(&server, &format!("lease-{number}"), json!({})).await;
            yield_now().await;
        }
        let heard = heard.lock();
        heard.clone()
    })
}

#[test]
fn watchers_hear_in_an_order_that_the_seed_decides() {
    let in_turn: Vec<(usize, usize)> =
        (0..WRITES).flat_map(|write| (0..WATCHERS).map(move |watcher| (write, watcher))).collect();
    assert_eq!(heard(1, false), in_turn, "first come, first served");
    let mut orders = BTreeSet::new();
    for seed in 0..20 {
        let order = heard(seed, true);
        assert_eq!(order, heard(seed, true), "seed {seed} isn't repeated");
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, in_turn, "each hears of each once");
        orders.insert(order);
    }
    assert_eq!(orders.len(), 20);
}
