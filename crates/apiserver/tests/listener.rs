//! Goal: the same server behind a socket: identities, watches over HTTP, a shutdown that leaves nothing behind. Method:
//! loopback, kube-client and raw requests; nothing waits for wall time.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::Lease;
use kube_client::api::{PostParams, WatchEvent, WatchParams};
use kube_client::core::ObjectMeta;
use kube_client::{Api, Client, ResourceExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::{ApiServer, Config, listen};

async fn start() -> (ApiServer, SocketAddr, CancellationToken, JoinHandle<()>) {
    let server = ApiServer::new(Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(listen::serve(server.clone(), listener, shutdown.clone()));
    (server, address, shutdown, task)
}

fn client(uri: String) -> Client {
    let config = kube_client::Config::new(uri.parse().expect("a URI"));
    Client::try_from(config).expect("a client")
}

fn lease(name: &str) -> Lease {
    Lease { metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }, ..Lease::default() }
}

/// One request on a connection of its own; the whole answer.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn a_client_writes_watches_and_sees_the_end() {
    let (server, address, shutdown, task) = start().await;
    let leases: Api<Lease> = Api::default_namespaced(client(format!("http://{address}/as/bob%3A1")));
    let version = server.version().to_string();
    let events = leases.watch(&WatchParams::default(), &version).await.expect("watching");
    pin_mut!(events);
    for name in ["a", "b", "c"] {
        leases.create(&PostParams::default(), &lease(name)).await.expect("created");
        match events.next().await.expect("goes on").expect("an event") {
            WatchEvent::Added(seen) => assert_eq!(seen.name_any(), name),
            other => panic!("not what was written: {other:?}"),
        }
    }
    assert!(server.writes().iter().all(|write| write.identity == "bob:1"));
    // Told to stop, it ends the watch and returns with no connection left.
    shutdown.cancel();
    task.await.expect("returns");
    assert!(events.next().await.is_none(), "a clean end, not an error");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn identities_come_from_tokens_and_paths() {
    let (server, address, shutdown, task) = start().await;
    let body = r#"{"metadata":{"generateName":"m-"}}"#;
    let post = |path: &str, header: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let maps = "/api/v1/namespaces/default/configmaps";
    let rows = [
        (maps.to_owned(), "", "201", "system:anonymous"),
        (maps.to_owned(), "Authorization: Bearer token-alice\r\n", "201", "alice"),
        (format!("/as/carol{maps}"), "Authorization: Bearer token-alice\r\n", "201", "carol"),
        (maps.to_owned(), "Authorization: Bearer wrong\r\n", "401", ""),
        (maps.to_owned(), "Authorization: Basic x\r\n", "401", ""),
        (maps.to_owned(), "Authorization: Bearer token-\r\n", "401", ""),
    ];
    for (path, header, code, identity) in rows {
        let answer = raw(address, &post(&path, header)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
        if code == "201" {
            assert_eq!(server.writes().last().map(|write| write.identity.clone()).as_deref(), Some(identity));
        }
    }
    let health = raw(address, "GET /as/x/readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(health.ends_with("ok"), "{health}");
    let garbage = raw(address, "what\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    shutdown.cancel();
    task.await.expect("returns");
}

#[tokio::test]
async fn half_open_and_idle_connections_do_not_hold_a_shutdown() {
    let (_server, address, shutdown, task) = start().await;
    let idle = TcpStream::connect(address).await.expect("connects");
    let mut half = TcpStream::connect(address).await.expect("connects");
    half.write_all(b"GET /api/v1/pods HT").await.expect("sends");
    // An answered request shows that the others have been accepted before.
    let answer = raw(address, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("200 OK"));
    shutdown.cancel();
    task.await.expect("returns");
    drop((idle, half));
}
