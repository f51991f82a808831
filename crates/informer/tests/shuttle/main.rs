//! Random orders of the store's one writer and its readers, and of the processor, its handlers and those who come and go. Run by
//! `crates/workqueue/check-models`.
//!
//! Method: shuttle runs each scene again and again, choosing at random who is next whenever a thread or a task touches a lock
//! or an atomic of the store, of a mailbox or of the registry. `WATCHKEEPER_SCHEDULES` says how often, `WATCHKEEPER_SEED` where the
//! choices start. That the scenes would see a mistake is shown by planting some.
#![cfg(watchkeeper_shuttle)]
#![allow(missing_docs, reason = "a test")]

use std::process::Command;
use std::sync::Arc;

use shuttle::Runner;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use watchkeeper_informer::mutant::{Mutant, VARIABLE};

mod handlers;
mod store;
#[path = "../thing/mod.rs"]
mod thing;

/// Half of the orders are of a fair choice; in the others a thread runs until it can't, but for two points where another does.
fn explore(name: &str, scene: impl Fn() + Send + Sync + 'static) {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
    };
    let (seed, schedules) = (number("WATCHKEEPER_SEED", 1), number("WATCHKEEPER_SCHEDULES", 20_000) / 4);
    let (scene, each) = (Arc::new(scene), usize::try_from(schedules).expect("a number") / 2);
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let scene = Arc::clone(&scene);
        Runner::new(scheduler, shuttle::Config::default()).run(move || scene())
    };
    let explored = run(Box::new(RandomScheduler::new_from_seed(seed, each)))
        + run(Box::new(PctScheduler::new_from_seed(seed, 3, each)));
    println!("{name}: {explored} schedules");
}

/// Each of these faults is seen by one of the scenes. Method: the scenes again, in a process with the fault.
fn find(mutants: &[Mutant], scenes: &[&str]) {
    if std::env::var(VARIABLE).is_ok() {
        return;
    }
    for mutant in mutants {
        let is_caught = scenes.iter().find(|scene| {
            let mut run = Command::new(std::env::current_exe().expect("this program"));
            run.args([scene, "--exact", "--test-threads=1"]).env(VARIABLE, format!("{mutant:?}"));
            run.env("WATCHKEEPER_SCHEDULES", "20000");
            !run.output().expect("it runs").status.success()
        });
        let scene = is_caught.unwrap_or_else(|| panic!("nothing sees {mutant:?}"));
        println!("{mutant:?} is caught by {scene}");
    }
}
