//! Planted faults and the checks that must see them. Each check runs in a process of its own, since a failed one may
//! leave its checker in no state to go on with.

use std::process::{Command, Output};

use watchkeeper_workqueue::mutant::{Mutant, VARIABLE};

/// Fails unless the test of this program passes by itself, and fails with the fault planted.
pub(crate) fn must_be_caught(mutant: Mutant, test: &str) {
    let sound = run(test, None);
    assert!(sound.status.success() && text(&sound).contains("1 passed"), "{test} must pass: {}", text(&sound));
    let broken = run(test, Some(mutant));
    let seen = text(&broken);
    assert!(!broken.status.success() && !seen.contains("1 passed"), "{mutant:?} isn't caught by {test}: {seen}");
    let why = seen.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or("it aborted");
    eprintln!("{mutant:?} is caught by {test}: {why}");
}

fn run(test: &str, mutant: Option<Mutant>) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("a running program"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env_remove(VARIABLE);
    // Enough for each fault; a full run of random orders would only take longer.
    command.env("WATCHKEEPER_SCHEDULES", "2000");
    command.envs(mutant.map(|mutant| (VARIABLE, mutant.name())));
    command.output().expect("the program runs again")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
