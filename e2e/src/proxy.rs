//! A TCP proxy between one process and a server, which can hold back what one of them says.
//!
//! In: the server's port on loopback. Out: a port that leads there. Bytes pass as they are, TLS untouched. While a
//! direction is cut its bytes wait here, and go on when the cut ends; but if the sender has hung up by then, the connection is
//! dropped with what it held, as a middlebox does that lost track. A server may therefore be reached late, though never by
//! a request that its sender has given up.

use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::HarnessError;

/// Read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Held back at most; beyond that the sender isn't read.
const MOST_HELD_BYTES: usize = 1024 * 1024;

/// What is held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// What clients send.
    pub requests: bool,
    /// What the server sends.
    pub answers: bool,
}

/// A running proxy. Dropping it ends all of its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    cut: watch::Sender<Cut>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Leads to `target`, a port on loopback. Must be called on the runtime that will run it.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(target: u16) -> Result<Self, HarnessError> {
        let what = "starting a proxy";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(HarnessError::io(what))?;
        let port = listener.local_addr().map_err(HarnessError::io(what))?.port();
        let (cut, seen) = watch::channel(Cut::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, seen));
        Ok(Self { port, cut, _accepting: accepting })
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds back this, and nothing else, from now on. The default lets everything pass.
    pub fn cut(&self, cut: Cut) {
        self.cut.send_replace(cut);
    }
}

async fn accept(listener: TcpListener, target: u16, cut: watch::Receiver<Cut>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, target, cut.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Until both sides have ended, or one has failed: then both do.
async fn connection(client: TcpStream, target: u16, cut: watch::Receiver<Cut>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pass(from_client, to_server, cut.clone(), |cut| cut.requests);
    let answers = pass(from_server, to_client, cut, |cut| cut.answers);
    // However a connection ends, its peers see it themselves.
    let _ = tokio::try_join!(requests, answers);
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut cut: watch::Receiver<Cut>,
    holds: fn(&Cut) -> bool,
) -> io::Result<()> {
    let mut held = Vec::with_capacity(CHUNK_BYTES);
    loop {
        let holding = holds(&cut.borrow_and_update());
        if !holding && !held.is_empty() {
            to.write_all(&held).await?;
            held.clear();
        }
        tokio::select! {
            // Biased: a cut takes effect before what comes after it.
            biased;
            changed = cut.changed() => changed.map_err(io::Error::other)?,
            read = from.read_buf(&mut held), if held.len() < MOST_HELD_BYTES => {
                if read? == 0 {
                    // Checked anew: the cut may have begun while this was read.
                    if holds(&cut.borrow()) {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    to.write_all(&held).await?;
                    return to.shutdown().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_millis(200);

    async fn pair() -> (Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listens");
        let proxy = Proxy::start(listener.local_addr().expect("a port").port()).await.expect("starts");
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.expect("connects");
        let (server, _) = listener.accept().await.expect("is reached");
        (proxy, client, server)
    }

    async fn hears(stream: &mut TcpStream) -> Option<u8> {
        tokio::time::timeout(SOON, stream.read_u8()).await.ok().and_then(Result::ok)
    }

    /// Goal: each direction is held by itself, and goes on, whole and in order, when the cut ends.
    #[tokio::test]
    async fn one_direction_is_held_and_the_other_passes() {
        let (proxy, mut client, mut server) = pair().await;
        for cut in [Cut { requests: true, answers: false }, Cut { requests: false, answers: true }] {
            proxy.cut(cut);
            client.write_all(&[1, 2]).await.expect("sends");
            server.write_all(&[3, 4]).await.expect("sends");
            let (free, held) = if cut.requests { (&mut client, &mut server) } else { (&mut server, &mut client) };
            assert!(hears(free).await.is_some() && hears(free).await.is_some());
            assert_eq!(hears(held).await, None);
            let first = if cut.requests { 1 } else { 3 };
            proxy.cut(Cut::default());
            assert_eq!((hears(held).await, hears(held).await), (Some(first), Some(first + 1)));
        }
    }

    /// Goal: what its sender gave up during a cut never arrives.
    #[tokio::test]
    async fn a_request_given_up_during_a_cut_is_dropped() {
        let (proxy, mut client, mut server) = pair().await;
        proxy.cut(Cut { requests: true, answers: true });
        client.write_all(&[1]).await.expect("sends");
        drop(client);
        tokio::time::sleep(SOON).await;
        proxy.cut(Cut::default());
        assert!(matches!(tokio::time::timeout(SOON, server.read_u8()).await, Ok(Err(_))), "it ends, and says nothing");
    }
}
