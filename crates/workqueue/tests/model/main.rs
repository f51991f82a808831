//! The queue against a naive one, over random sequences of calls, under random rules, in virtual time.
//!
//! Goal: every answer, every hand-out and every count is the naive queue's, and no waiting call sleeps on while it has
//! something to come for (no wake-up is lost, the time is always kept). Method: waiting calls are polled by hand, and
//! only when their wakers were used; some are polled without need or dropped at any point.
//!
//! `WATCHKEEPER_CASES` sets how many cases are run; 50,000 by default.
#![allow(clippy::disallowed_methods)]

mod calls;
mod harness;
mod naive;

use proptest::prelude::*;

use crate::harness::Harness;

fn cases() -> u32 {
    let set = std::env::var("WATCHKEEPER_CASES").ok();
    set.map_or(50_000, |cases| cases.parse().expect("WATCHKEEPER_CASES is a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn the_queue_behaves_like_the_naive_one(rules in calls::rules(), calls in calls::calls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        // Polled by hand within one task, many calls would use up that task's budget.
        runtime.block_on(tokio::task::unconstrained(async {
            let mut harness = Harness::new(rules);
            for call in calls {
                harness.call(call).await?;
                harness.settle()?;
            }
            Ok::<(), TestCaseError>(())
        }))?;
    }
}
