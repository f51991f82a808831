//! Goal: behind a socket a fault of the connection is one of the connection. Method: loopback, raw requests, no waiting but
//! for the listener's own shutdown.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::fault::{Action, Rule, RuleId};
use watchkeeper_apiserver::{ApiServer, Config, listen};

async fn start() -> (ApiServer, SocketAddr, CancellationToken, JoinHandle<()>) {
    let server = ApiServer::new(Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(listen::serve(server.clone(), listener, shutdown.clone()));
    (server, address, shutdown, task)
}

/// What comes back on a connection that is kept open by the client, until the server closes it.
async fn raw(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn add(server: &ApiServer, action: Action) -> RuleId {
    server.faults().add(Rule::new("rule", action)).expect("added")
}

#[tokio::test]
async fn connections_end_without_an_answer_or_within_one() {
    let (server, address, shutdown, task) = start().await;
    let path = "/api/v1/namespaces";
    for action in [Action::Refuse, Action::ResetBeforeHeaders] {
        let id = add(&server, action);
        assert_eq!(raw(address, path).await, "");
        server.faults().remove(id);
    }
    for action in [Action::Truncate { after_bytes: 30 }, Action::PartialPage { after_items: 1 }] {
        let id = add(&server, action);
        let answer = raw(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("transfer-encoding: chunked"), "{answer}");
        assert!(answer.contains("NamespaceList") && !answer.ends_with("0\r\n\r\n"), "a body without its end: {answer}");
        server.faults().remove(id);
    }
    add(&server, Action::CloseConnection);
    let answer = raw(address, path).await;
    assert!(answer.contains("connection: close") && answer.ends_with("]}\n"), "{answer}");
    let fired = server.faults().fired();
    assert_eq!((fired.total(), fired.action("closeConnection")), (5, 1));
    shutdown.cancel();
    task.await.expect("returns");
}

#[tokio::test]
async fn who_hangs_up_is_let_go_and_a_frozen_server_can_be_shut_down() {
    let (server, address, shutdown, task) = start().await;
    let id = add(&server, Action::HangBeforeHeaders);
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sends");
    let logged = async |end: &str| {
        while !server.faults().log().iter().any(|line| line.ends_with(end)) {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, logged("hangBeforeHeaders")).await.expect("hangs");
    drop(stream);
    tokio::time::timeout(patience, logged("-> dropped")).await.expect("let go");
    server.faults().remove(id);
    server.faults().freeze();
    let waiting = tokio::spawn(raw(address, "/readyz"));
    while server.faults().waiting() == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    tokio::time::timeout(patience, task).await.expect("in time").expect("returns");
    assert_eq!(waiting.await.expect("ends"), "");
}
