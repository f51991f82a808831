//! The measures of delayed keys: the cost of delaying one, and the memory that it takes until it is due.
//!
//! In: how many keys, all different. Out: CPU nanoseconds, or bytes, a key.
//!
//! client-go hands the key to a goroutine that keeps the heap, so its measure ends when all keys have arrived there: a
//! last key with the shortest delay follows them, and what is due is taken until it comes. The same is done here, so
//! that work that a queue may put off until a worker asks would count, too. CPU time is that of the process.

use std::time::Duration;

use watchkeeper::BoxError;
use watchkeeper_workqueue::{Config, WorkQueue};

use super::Size;
use super::cpu::Cpu;
use super::keys::{Key, delays, keys};
use super::measures::Figure;
use super::ours::{OVER, one_thread};
use crate::ALLOCATOR;

pub(crate) fn insert(size: Size) -> Result<Figure, BoxError> {
    let keys = keys(size.n);
    let queue = WorkQueue::new(Config::default());
    one_thread()?.block_on(async {
        let cpu = Cpu::start();
        delay_all(&queue, &keys).await?;
        Ok(cpu.process_figure(size.n))
    })
}

/// Live heap, without the keys themselves, which are there before. The peer's is what a garbage collection leaves.
#[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
pub(crate) fn bytes(size: Size) -> Result<Figure, BoxError> {
    let keys = keys(size.n);
    let queue = WorkQueue::new(Config::default());
    one_thread()?.block_on(async {
        let before = live_heap();
        let due = delay_all(&queue, &keys).await?;
        let bytes = live_heap().saturating_sub(before) as f64 / (size.n - due).max(1) as f64;
        Ok(Figure { bytes: Some(bytes), ..Figure::default() })
    })
}

/// Delays every key; of those that came due meanwhile, how many.
async fn delay_all(queue: &WorkQueue<Key>, keys: &[Key]) -> Result<usize, BoxError> {
    for (key, delay) in keys.iter().zip(delays()) {
        queue.add_after(key.clone(), delay);
    }
    let last = Key::from("the last key");
    queue.add_after(last.clone(), Duration::from_nanos(1));
    let mut due = 0;
    loop {
        let item = queue.next().await.ok_or(OVER)?;
        let is_last = *item.key() == last;
        item.done();
        if is_last {
            return Ok(due);
        }
        due += 1;
    }
}

fn live_heap() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}
