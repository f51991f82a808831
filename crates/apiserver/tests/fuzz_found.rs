//! Goal: what the fuzz test has found stays mended. Method: a test for each.
#![allow(clippy::disallowed_methods)]

mod common;

use common::{Watch, answer, call, get, request, send, server};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// An object could be stored that, two levels further down in a list, no parser of this depth could read.
#[tokio::test(start_paused = true)]
async fn an_object_that_is_as_deep_as_may_be_can_be_listed_and_watched() {
    let server = server();
    let object = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"metadata":{{"name":"deep"}},"data":{open}1{close}}}"#)
    };
    let (code, status) = answer(call(&server, request("POST", MAPS, object(126))).await).await;
    assert_eq!((code, &status["message"]), (400, &json!("the object is more than 125 levels deep")));
    assert_eq!(call(&server, request("POST", MAPS, object(125))).await.status(), 201);
    let uri = format!("{MAPS}/deep");
    for method in ["PUT", "PATCH"] {
        assert_eq!(call(&server, request(method, &uri, object(126))).await.status(), 400);
    }
    assert_eq!(get(&server, MAPS).await.1["items"][0]["metadata"]["name"], "deep");
    let mut watch = Watch::start(&server, &format!("{MAPS}?watch=1")).await;
    assert_eq!(watch.short().await, format!("ADDED deep {}", server.version()));
    assert_eq!(send(&server, "DELETE", &uri, Value::Null).await.0, 200);
}
