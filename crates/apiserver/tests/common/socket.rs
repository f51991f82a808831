//! A server behind a loopback socket, and HTTP/1.1 by hand: what is sent and what comes back, byte for byte.

use std::net::SocketAddr;

use bytes::BytesMut;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::{ApiServer, Config, listen};

/// A server that listens.
pub(crate) struct Served {
    pub(crate) server: ApiServer,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let server = ApiServer::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(listen::serve(server.clone(), listener, shutdown.clone()));
        Self { server, address, shutdown, task }
    }

    pub(crate) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        stream.set_nodelay(true).expect("loopback can do without delay");
        let (reader, writer) = stream.into_split();
        let reader = Reader { stream: reader, rest: BytesMut::new() };
        Client { reader, writer: Writer { stream: writer }, events: BytesMut::new() }
    }

    /// Somebody else's request, on a connection of its own, gets this code.
    pub(crate) async fn check(&self, request: &str, code: u16) -> Value {
        let mut client = self.connect().await;
        client.send(request.as_bytes()).await;
        let (got, body) = client.answer().await.expect("an answer");
        assert_eq!(got, code, "{body}");
        body
    }

    /// Somebody else is answered.
    pub(crate) async fn check_healthy(&self) {
        self.check(&get("/api/v1/namespaces/default"), 200).await;
    }

    /// Told to stop, it returns with no connection left.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.task.await.expect("returns");
    }
}

/// A client's end of a connection.
pub(crate) struct Client {
    reader: Reader,
    writer: Writer,
    /// Of a watch, what has come and isn't a whole event yet.
    events: BytesMut,
}

pub(crate) struct Reader {
    stream: OwnedReadHalf,
    rest: BytesMut,
}

pub(crate) struct Writer {
    stream: OwnedWriteHalf,
}

impl Client {
    pub(crate) fn split(&mut self) -> (&mut Reader, &mut Writer) {
        (&mut self.reader, &mut self.writer)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.writer.send(bytes).await;
    }

    /// Whether all could be sent.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.writer.stream.write_all(bytes).await.is_ok()
    }

    /// Nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.writer.stream.shutdown().await.expect("still open");
    }

    pub(crate) async fn answer(&mut self) -> Option<(u16, Value)> {
        self.reader.answer().await
    }

    /// The status of an answer whose body is read as events.
    pub(crate) async fn stream_head(&mut self) -> u16 {
        let head = self.reader.head().await.expect("a head");
        assert!(head.text.contains("transfer-encoding: chunked"), "{}", head.text);
        head.code
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn event(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.events.iter().position(|byte| *byte == b'\n') {
                return Some(serde_json::from_slice(&self.events.split_to(end + 1)).expect("an event a line"));
            }
            let chunk = self.reader.chunk().await.filter(|chunk| !chunk.is_empty())?;
            self.events.unsplit(chunk);
        }
    }
}

impl Writer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sends");
    }
}

struct Head {
    code: u16,
    text: String,
}

impl Reader {
    /// Status and body (JSON, or text) of the next answer; `None`: there is none.
    pub(crate) async fn answer(&mut self) -> Option<(u16, Value)> {
        let head = self.head().await?;
        let body = match head.text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()) {
            Some(length) => self.exactly(length.parse().expect("a length")).await?,
            None => {
                let mut body = BytesMut::new();
                loop {
                    let chunk = self.chunk().await.expect("a chunk");
                    if chunk.is_empty() {
                        break body;
                    }
                    body.extend_from_slice(&chunk);
                }
            }
        };
        let text = || json!(String::from_utf8_lossy(&body));
        Some((head.code, serde_json::from_slice(&body).unwrap_or_else(|_| text())))
    }

    async fn head(&mut self) -> Option<Head> {
        let text = self.until(b"\r\n\r\n").await?;
        let text = String::from_utf8(text.to_vec()).expect("a head is text");
        let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Some(Head { code, text: text.to_ascii_lowercase() })
    }

    /// An empty chunk ends a body.
    async fn chunk(&mut self) -> Option<BytesMut> {
        let size = self.until(b"\r\n").await?;
        let size = std::str::from_utf8(&size).expect("text").trim();
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        let mut chunk = self.exactly(size + 2).await?;
        chunk.truncate(size);
        Some(chunk)
    }

    async fn until(&mut self, end: &[u8]) -> Option<BytesMut> {
        loop {
            if let Some(at) = self.rest.windows(end.len()).position(|window| window == end) {
                return Some(self.rest.split_to(at + end.len()));
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<BytesMut> {
        while self.rest.len() < count {
            self.more().await?;
        }
        Some(self.rest.split_to(count))
    }

    /// `None` at the end; a reset is as good an end as any.
    async fn more(&mut self) -> Option<()> {
        self.rest.reserve(64 * 1024);
        match self.stream.read_buf(&mut self.rest).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// This process's memory, where the system tells.
pub(crate) fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Thousands of connections need as many files, at both ends.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a process may use what it is allowed to");
}
