//! The fuzz one level down: the bytes of connections, in which requests are only what a parser finds in them.
//!
//! Streams of a few requests, changed by chance, cut into pieces by chance, and ended by chance: the server must outlive each,
//! answer in HTTP, and answer the next client as if nothing had been.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::listen::serve_connection;

use super::judge::{Checked, check};
use super::{Fuzz, Raw};
use crate::{Round, play, rounds};

const CONNECTIONS: usize = 150;
/// A client reads at most so much: lists are larger, watches don't end.
const READ_LIMIT: usize = 256 * 1024;
/// More than a body is waited for, less than between two bookmarks.
const PATIENCE: Duration = Duration::from_secs(50);
const HEALTHY: &[u8] = b"GET /api/v1/namespaces/default HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[test]
fn whatever_bytes_come_the_next_client_is_served() {
    let mut answered = 0;
    let rounds = rounds(|seed| {
        play(seed, "whatever_bytes_come", async {
            let mut round = Round::new(seed).await?;
            let mut connections = Connections::default();
            for _ in 0..CONNECTIONS {
                let stream = round.fuzz.stream();
                let version = round.server.version();
                let outcome = connections.play(&mut round, &stream).await;
                answered += outcome.map_err(|why| format!("{why}\n{}", stream.escape_ascii()))?;
                check!(round.server.version() >= version, "versions went back");
                let healthy = connections.exchange(&round, &[HEALTHY], End::Wait).await?;
                check!(healthy.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", healthy.escape_ascii());
            }
            connections.end().await?;
            round.end().await
        });
    });
    println!("{rounds} rounds, {answered} answers");
    assert!(answered > 0, "a fuzz that is never answered finds nothing");
}

/// What a client does when it has sent all.
#[derive(Clone, Copy)]
enum End {
    /// Reads until the server closes, or is silent.
    Wait,
    /// Says that it has said all, and reads.
    Finish,
    /// Goes away.
    Leave,
}

/// The server's ends.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Connections {
    /// Plays one stream; tells how many answers it got.
    async fn play(&mut self, round: &mut Round, stream: &[u8]) -> Checked<u64> {
        let mut pieces = Vec::new();
        let mut rest = stream;
        while !rest.is_empty() {
            let most = if round.fuzz.one_in(2) { 20 } else { 20_000 };
            let (piece, after) = rest.split_at(round.fuzz.random.usize(1..=most).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let end = [End::Wait, End::Finish, End::Leave][round.fuzz.random.usize(..3)];
        let answer = self.exchange(round, &pieces, end).await?;
        let told = answer.is_empty() || answer.starts_with(b"HTTP/1.");
        check!(told, "no HTTP: {}", answer.escape_ascii());
        let heads = answer.windows(9).filter(|window| window.starts_with(b"HTTP/1.") && window[8] == b' ');
        Ok(heads.count() as u64)
    }

    async fn exchange(&mut self, round: &Round, pieces: &[&[u8]], end: End) -> Checked<Vec<u8>> {
        let (client, io) = duplex(8192);
        self.tasks.spawn(serve_connection(round.server.clone(), io, self.shutdown.clone()));
        let (mut reader, mut writer) = tokio::io::split(client);
        let sending = async {
            for piece in pieces {
                // The server may have closed: what it said counts.
                if writer.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if let End::Finish = end {
                let _ = writer.shutdown().await;
            }
        };
        // Whoever leaves doesn't wait for an answer; nobody else sends any longer than it reads.
        let sending = async {
            sending.await;
            if !matches!(end, End::Leave) {
                std::future::pending::<()>().await;
            }
            Vec::new()
        };
        let answer = async {
            tokio::select! {
                biased;
                answer = read(&mut reader) => answer,
                left = sending => left,
            }
        };
        // Nothing is ever waited for that long but what a client owes.
        let answer = tokio::time::timeout(Duration::from_secs(600), answer).await;
        while let Some(ended) = self.tasks.try_join_next() {
            ended.map_err(|error| format!("a connection panicked: {error}"))?;
        }
        answer.map_err(|_| "a client was left alone".to_owned())
    }

    /// Told to stop, all end.
    async fn end(mut self) -> Checked {
        self.shutdown.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.map_err(|error| format!("a connection panicked: {error}"))?;
            }
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.map_err(|_| "a connection stays")?
    }
}

/// What comes until the end, or until nothing has come for a while.
async fn read(reader: &mut tokio::io::ReadHalf<DuplexStream>) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < READ_LIMIT {
        match tokio::time::timeout(PATIENCE, reader.read_buf(&mut all)).await {
            Ok(Ok(count)) if count > 0 => {}
            _ => break,
        }
    }
    all
}

impl Fuzz {
    /// The bytes of one connection.
    fn stream(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..self.random.usize(1..5) {
            let raw = if self.one_in(2) { self.valid() } else { self.any() };
            self.write(&raw, &mut stream);
        }
        while self.one_in(2) {
            self.bytes(&mut stream);
        }
        stream
    }

    fn write(&mut self, raw: &Raw, stream: &mut Vec<u8>) {
        let mut line = |parts: &[&[u8]]| stream.extend(parts.concat());
        line(&[&raw.method, b" ", &raw.path]);
        if !raw.query.is_empty() {
            line(&[b"?", &raw.query]);
        }
        line(&[b" HTTP/1.1\r\nhost: x\r\n"]);
        for (name, value) in raw.headers.iter().filter(|(_, value)| !value.is_empty()) {
            line(&[name, b": ", value, b"\r\n"]);
        }
        if self.random.u32(..3) > 0 {
            // Now and then more is announced than comes, or less.
            let length = if self.random.u32(..10) > 0 { raw.body.len() } else { self.random.usize(..5_000_000) };
            line(&[format!("content-length: {length}\r\n\r\n").as_bytes(), &raw.body]);
            return;
        }
        line(&[b"transfer-encoding: chunked\r\n\r\n"]);
        let size = self.random.usize(1..5000);
        for chunk in raw.body.chunks(size) {
            line(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"]);
        }
        line(&[b"0\r\n\r\n"]);
    }
}
