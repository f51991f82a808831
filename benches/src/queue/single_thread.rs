//! The measures of one thread: CPU time of operations that nobody else contends for.
//!
//! In: how many keys and operations. Out: nanoseconds an operation. A key is added by reference, so it is cloned when
//! the queue takes it in and when it is handed out; the peer's strings are only pointed at. The keys cycle.

use std::hint::black_box;

use watchkeeper::BoxError;
use watchkeeper_workqueue::{Config, KeyId, WorkQueue};

use super::Size;
use super::cpu::Cpu;
use super::keys::{Key, keys};
use super::measures::Figure;
use super::ours::{OVER, exponential, filled, one_thread};

/// A key goes through an empty queue: add by its handle, next, done.
pub(crate) fn cycle(size: Size) -> Result<Figure, BoxError> {
    let queue = WorkQueue::new(Config::default());
    let handles: Vec<KeyId<Key>> = keys(size.keys).into_iter().map(|key| queue.intern(key)).collect();
    one_thread()?.block_on(async {
        let cpu = Cpu::start();
        for handle in handles.iter().cycle().take(size.n) {
            handle.add();
            queue.next().await.ok_or(OVER)?.done();
        }
        Ok(cpu.figure(size.n))
    })
}

/// The same, but the queue is given the key each time, and forgets it each time.
pub(crate) fn cycle_plain_key(size: Size) -> Result<Figure, BoxError> {
    let keys = keys(size.keys);
    let queue = WorkQueue::new(Config::default());
    one_thread()?.block_on(async {
        let cpu = Cpu::start();
        for key in keys.iter().cycle().take(size.n) {
            queue.add_ref(key);
            queue.next().await.ok_or(OVER)?.done();
        }
        Ok(cpu.figure(size.n))
    })
}

/// All keys are queued, and are added again.
pub(crate) fn duplicate_add(size: Size) -> Result<Figure, BoxError> {
    let keys = keys(size.keys);
    let queue = filled(Config::default(), &keys);
    let cpu = Cpu::start();
    for key in keys.iter().cycle().take(size.n) {
        queue.add_ref(key);
    }
    let figure = cpu.figure(size.n);
    (queue.snapshot().ready == size.keys).then_some(figure).ok_or_else(|| "not every add met a queued key".into())
}

/// A key in a worker's hands fails once and is forgotten; the limiter is the one per key of the default.
pub(crate) fn limiter(size: Size) -> Result<Figure, BoxError> {
    let keys = keys(size.keys);
    let queue = filled(exponential(), &keys);
    one_thread()?.block_on(async {
        let mut items = Vec::with_capacity(size.keys);
        for _ in 0..size.keys {
            items.push(queue.next().await.ok_or(OVER)?);
        }
        let cpu = Cpu::start();
        let mut next = 0;
        for _ in 0..size.n {
            let item = &mut items[next];
            black_box(item.back_off());
            item.forget();
            next = if next + 1 == size.keys { 0 } else { next + 1 };
        }
        Ok(cpu.figure(size.n))
    })
}
