//! The bytes of a connection, and how either side ends it.
//!
//! Comes in: any stream of bytes. Goes out: the same, but the end of what a client sends is told only when everything that is
//! ready has been sent to it, and the last answer reaches a client that is still sending. Never holds bytes back.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// So long a closed connection reads on what its client has still to send: a connection with unread bytes in it is reset,
/// and with it goes the answer.
const LINGER: Duration = Duration::from_millis(500);

/// One end of a connection.
pub(crate) struct Socket<I> {
    io: I,
    /// Don't linger.
    leave: CancellationToken,
    /// The client sends nothing more, and hyper hasn't been told.
    ended: bool,
    /// Something was sent since the end was seen.
    sent: bool,
    /// The client doesn't read.
    blocked: bool,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<I> Socket<I> {
    pub(crate) fn new(io: I, leave: CancellationToken) -> Self {
        Self { io, leave, ended: false, sent: false, blocked: false, linger: None }
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.blocked = result.is_pending();
        self.sent |= result.is_ready();
        result
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Socket<I> {
    /// hyper drops a request at the end of input, answered or not. Upstream cancels what isn't decided by then, and sends
    /// what is: so the end is told once the output has come to rest.
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut socket.io).poll_read(context, buffer))?;
        if buffer.filled().len() > before || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let rests = socket.ended && !socket.sent && !socket.blocked;
        if rests {
            return Poll::Ready(Ok(()));
        }
        (socket.ended, socket.sent) = (true, false);
        if !socket.blocked {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let result = Pin::new(&mut socket.io).poll_write(context, bytes);
        socket.wrote(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let result = Pin::new(&mut socket.io).poll_write_vectored(context, slices);
        socket.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if socket.linger.is_none() {
            ready!(Pin::new(&mut socket.io).poll_shutdown(context))?;
        }
        let until = socket.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut rest = [0; 4096];
        while !socket.leave.is_cancelled() && until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut rest);
            match ready!(Pin::new(&mut socket.io).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
