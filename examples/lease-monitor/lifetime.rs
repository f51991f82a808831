//! How long a command runs: until its time is over, a signal comes, or the work ends by itself.
//!
//! In: the work. Out: its result. The first signal asks for a clean end, the second ends the process with status 1.

use std::convert::Infallible;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use watchkeeper::shutdown::on_signal;

/// Runs `work` to its end, and cancels `stop` after `span` or at the first signal.
///
/// # Errors
/// Those of the work, or that signals can't be handled.
pub(crate) async fn bounded(
    work: impl Future<Output = Result<(), String>>,
    span: Option<Duration>,
    stop: CancellationToken,
) -> Result<(), String> {
    let timer = async {
        match span {
            Some(span) => tokio::time::sleep(span).await,
            None => std::future::pending().await,
        }
        stop.cancel();
        std::future::pending::<Infallible>().await
    };
    // Biased: a result that is there counts. The other two never end but by an error.
    tokio::select! {
        biased;
        result = work => result,
        signal = on_signal(stop.clone()) => match signal {
            Err(error) => Err(format!("signals can't be handled: {error}")),
            Ok(never) => match never {},
        },
        never = timer => match never {},
    }
}
