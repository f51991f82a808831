//! Signals: the first SIGTERM or SIGINT asks for a clean stop, the second ends the process.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Waits for a signal, cancels `stop`, then waits for a second one and exits with status 1 at once. Never returns otherwise; meant to
/// be raced against the work. Cancel safe: a signal that arrives while nobody polls is seen at the next poll.
/// Upstream: `kubernetes/apiserver:pkg/server/signal.go`.
///
/// # Errors
/// The operating system refuses a signal handler.
pub async fn on_signal(stop: CancellationToken) -> std::io::Result<std::convert::Infallible> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut times = 0;
    loop {
        // Either signal counts the same.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        times += 1;
        if times == 2 {
            tracing::warn!("second signal: ending at once, without releasing the Lease");
            std::process::exit(1);
        }
        tracing::info!("signal received: stopping; a second one ends at once");
        stop.cancel();
    }
}
