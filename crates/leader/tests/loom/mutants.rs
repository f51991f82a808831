//! Each planted fault makes one of the models fail, so the models would see it. In a process of its own: a model that fails leaves loom
//! in no state to go on with.

use std::process::{Command, Output};

use watchkeeper_leader::mutant::{Mutant, VARIABLE};

#[test]
fn every_fault_is_caught() {
    for mutant in Mutant::ALL {
        let model = match mutant {
            Mutant::CancelledFirst => "closings::nothing_passes_a_closed_gate",
            Mutant::EarlyStamp => "closings::an_effect_has_its_stop_bound",
            Mutant::TwoSteps => "renewals::a_late_answer_changes_nothing",
            Mutant::LastAnswer => "renewals::promises_are_kept",
            Mutant::LastReason => "closings::the_first_reason_stays",
            Mutant::ToldAgain => "closings::a_closing_is_told_once",
            Mutant::OpenedUnasked => "closings::a_closed_gate_is_not_opened",
            Mutant::OldRenewal => "renewals::a_doubt_asks_for_a_new_renewal",
        };
        let sound = run(model, None);
        assert!(sound.status.success() && text(&sound).contains("1 passed"), "{model} must pass: {}", text(&sound));
        let broken = run(model, Some(mutant));
        let seen = text(&broken);
        assert!(!broken.status.success() && !seen.contains("1 passed"), "{mutant:?} isn't caught by {model}: {seen}");
        let why = seen.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or("it aborted");
        eprintln!("{mutant:?} is caught by {model}: {why}");
    }
}

fn run(test: &str, mutant: Option<Mutant>) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("a running program"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env_remove(VARIABLE);
    command.envs(mutant.map(|mutant| (VARIABLE, format!("{mutant:?}"))));
    command.output().expect("the program runs again")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
