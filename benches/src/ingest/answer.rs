//! How a client, ours or a peer's, answers the benchmark that runs it.
//!
//! In: what to say at the moment. Out: a line of JSON at once, and another for each line on stdin until there are no more.

use std::io::BufRead as _;

use serde::Serialize;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Blocks until stdin ends.
pub(crate) fn answer<T: Serialize>(say: impl Fn() -> Result<T, BoxError>) -> Result<(), BoxError> {
    let print = || {
        println!("{}", serde_json::to_string(&say()?)?);
        Ok::<_, BoxError>(())
    };
    print()?;
    std::io::stdin().lock().lines().try_for_each(|line| line.map_err(BoxError::from).and_then(|_| print()))
}
