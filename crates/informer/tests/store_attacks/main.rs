//! The store where it is most likely to break: batches across the border of what the writer looks at ahead, odd lists, index
//! functions that read the store they are asked for, and walks whose visitors change what they walk over.
//!
//! Method: everything beside a plain map and, but for `threads`, in one thread, so that each failure comes again. Objects are
//! numbered as they are made, so the very allocation is compared, and counted, so what stays behind is seen.
#![allow(clippy::disallowed_methods, clippy::panic)]

mod batches;
mod model;
mod panics;
mod thing;
mod threads;
mod walks;

/// So many cases: `PROPTEST_CASES`, else 200.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(200, |cases| cases.parse().expect("PROPTEST_CASES is a number"))
}
