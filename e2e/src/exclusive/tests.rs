//! Goal: the checker accepts what is right and names what is wrong. Method: a story of three terms is told as the
//! traces and the log would tell it, and one thing at a time is changed in it.

#![allow(clippy::disallowed_methods)]

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Seconds to nanoseconds since boot.
fn at(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

fn demands() -> Demands {
    let second = Duration::from_secs(1);
    let takeover = TakeoverBound {
        lease: 6 * second,
        clock_rate_error: 1.0 / 12.0,
        retry: second / 2,
        jitter: 0.2,
        round_trip: second,
        sync: second,
        slack: second,
    };
    Demands { takeover, terms: 3, writes: 3 }
}

/// Evidence under construction. Process r0 has pid 100, r1 101 and so on.
#[derive(Clone, Default)]
struct Story(Evidence);

impl Story {
    fn process(&mut self, number: u32) -> &mut ProcessTrace {
        let pid = 100 + number;
        let found = self.0.processes.iter().position(|process| process.pid == pid);
        let index = found.unwrap_or_else(|| {
            self.0.processes.push(ProcessTrace { pid, user: format!("r{number}"), activities: Vec::new() });
            self.0.processes.len() - 1
        });
        &mut self.0.processes[index]
    }

    fn record(&mut self, number: u32, epoch: u128, what: What, when: f64, fill: impl FnOnce(&mut Activity)) {
        let process = self.process(number);
        let mut record = Activity::new(what, Epoch(epoch), at(when), process.pid);
        fill(&mut record);
        process.activities.push(record);
    }

    fn gate(&mut self, number: u32, epoch: u128, when: f64, passed: bool) {
        self.record(number, epoch, What::Gate, when, |record| record.passed = Some(passed));
    }

    fn worker(&mut self, number: u32, epoch: u128, what: What, when: f64) {
        self.record(number, epoch, what, when, |record| record.key = Some("default/lease".into()));
    }

    fn write_begin(&mut self, number: u32, epoch: u128, when: f64, request: u64) {
        self.record(number, epoch, What::WriteBegin, when, |record| {
            record.request = Some(request);
            record.verb = Some("POST".into());
            record.bound_nanos = Some(at(when + 1.0));
        });
    }

    fn write_end(&mut self, number: u32, epoch: u128, when: f64, request: u64, status: u16) {
        self.record(number, epoch, What::WriteEnd, when, |record| {
            record.request = Some(request);
            record.status = Some(status);
        });
    }

    fn commit(&mut self, number: u32, epoch: u128, version: u128, name: &str) {
        self.0.writes.push(WriteRecord {
            version: Some(version),
            verb: "create".into(),
            resource: "events.k8s.io/events".into(),
            namespace: "default".into(),
            name: name.into(),
            epoch: Some(Epoch(epoch)),
            code: 201,
            identity: format!("r{number}"),
            boot_nanos: None,
        });
    }

    fn disturb(&mut self, number: u32, signal: Signal, when: f64) {
        self.0.disturbances.push(Disturbance { signal, boot_nanos: at(when), pid: 100 + number });
    }

    /// A term that opens at `when`, writes an Event half a second later, and closes after `lasts` if it does.
    fn term(&mut self, number: u32, epoch: u128, when: f64, lasts: Option<f64>) {
        self.record(number, epoch, What::TermBegin, when - 0.1, |_| {});
        self.record(number, epoch, What::GateOpen, when, |_| {});
        self.gate(number, epoch, when + 0.4, true);
        self.worker(number, epoch, What::WorkerStart, when + 0.4);
        self.gate(number, epoch, when + 0.5, true);
        self.write_begin(number, epoch, when + 0.5, 1);
        self.write_end(number, epoch, when + 0.6, 1, 201);
        self.worker(number, epoch, What::WorkerEnd, when + 0.7);
        self.commit(number, epoch, epoch + 5, &format!("event-{epoch}"));
        if let Some(lasts) = lasts {
            self.record(number, epoch, What::GateClose, when + lasts, |_| {});
            self.record(number, epoch, What::TermEnd, when + lasts + 0.1, |_| {});
        }
    }

    /// r0 is killed, r1 stopped for 12 s while it works, r2 ended by SIGTERM, r1 again.
    fn clean() -> Self {
        let mut story = Self::default();
        story.term(0, 9, 10.0, None);
        story.disturb(0, Signal::Kill, 15.0);
        story.term(1, 20, 22.0, None);
        story.gate(1, 20, 25.0, true);
        story.worker(1, 20, What::WorkerStart, 25.0);
        story.disturb(1, Signal::Stop, 25.1);
        story.term(2, 100, 32.0, Some(10.0));
        story.disturb(1, Signal::Continue, 37.0);
        story.gate(1, 20, 37.1, false);
        story.record(1, 20, What::GateClose, 37.1, |_| {});
        story.worker(1, 20, What::WorkerEnd, 37.2);
        story.disturb(2, Signal::Terminate, 41.5);
        story.term(1, 200, 43.0, None);
        story
    }

    fn rules(&self) -> Vec<Rule> {
        let broken = check(&self.0, &demands()).err().unwrap_or_default();
        broken.into_iter().map(|violation| violation.rule).collect()
    }
}

#[test]
fn a_clean_story_passes_and_is_summed_up() {
    let summary = check(&Story::clean().0, &demands()).expect("nothing is wrong");
    assert_eq!((summary.terms, summary.writes, summary.takeovers), (4, 4, 3));
    assert_eq!(summary.gate_checks, (9, 10));
    assert_eq!(summary.slowest_takeover, Duration::from_secs(7));
}

#[test]
fn nothing_at_all_proves_nothing() {
    assert_eq!(Story::default().rules(), [Rule::TooLittleEvidence]);
}

#[test]
fn too_few_terms_and_a_log_that_is_not_there_prove_nothing() {
    let mut story = Story::default();
    story.term(0, 9, 10.0, None);
    assert_eq!(story.rules(), [Rule::TooLittleEvidence]);
    let mut story = Story::clean();
    story.0.writes.clear();
    assert!(story.rules().contains(&Rule::TooLittleEvidence));
    assert!(story.rules().contains(&Rule::LogIncomplete));
}

#[test]
fn a_planted_overlap_is_found() {
    let mut story = Story::clean();
    story.worker(2, 100, What::WorkerStart, 41.0);
    story.worker(2, 100, What::WorkerEnd, 43.2);
    assert_eq!(story.rules(), [Rule::Overlap]);
}

#[test]
fn a_worker_that_a_kill_cut_short_was_active_until_the_kill() {
    let mut story = Story::clean();
    story.worker(0, 9, What::WorkerStart, 14.0);
    assert_eq!(story.rules(), []);
}

#[test]
fn a_worker_that_never_ends_in_a_living_process_overlaps() {
    let mut story = Story::clean();
    story.worker(2, 100, What::WorkerStart, 35.0);
    story.record(2, 100, What::TermEnd, 60.0, |_| {});
    assert_eq!(story.rules(), [Rule::Overlap]);
}

#[test]
fn a_passed_check_after_the_pause_is_activity_again() {
    let mut story = Story::clean();
    story.gate(1, 20, 37.05, true);
    assert_eq!(story.rules(), [Rule::Overlap]);
}

#[test]
fn a_worker_goes_on_after_a_pause_that_the_gate_outlived() {
    let mut story = Story::clean();
    story.worker(2, 100, What::WorkerStart, 34.0);
    story.disturb(2, Signal::Stop, 34.5);
    story.disturb(2, Signal::Continue, 34.8);
    story.gate(2, 100, 34.9, true);
    story.worker(2, 100, What::WorkerEnd, 43.5);
    // The short pause also asks for a takeover; its bound has not been missed by the one at 43 s.
    assert_eq!(story.rules(), [Rule::Overlap]);
}

#[test]
fn an_unanswered_write_is_active_until_its_bound() {
    // Sent 0.3 s before the kill; the bound is one second later, and the next gate opens before or after that.
    for (opens, expected) in [(15.6, vec![Rule::Overlap]), (22.0, vec![])] {
        let mut story = Story::default();
        story.term(0, 9, 10.0, None);
        story.gate(0, 9, 14.7, true);
        story.write_begin(0, 9, 14.7, 2);
        story.disturb(0, Signal::Kill, 15.0);
        story.term(1, 20, opens, Some(2.0));
        story.term(2, 30, opens + 3.0, None);
        assert_eq!(story.rules(), expected, "gate opens at {opens} s");
    }
}

#[test]
fn an_answer_read_after_the_pause_counts_at_the_bound_and_a_lost_one_too() {
    for status in [201, 0, 504] {
        let mut story = Story::clean();
        story.gate(1, 20, 25.05, true);
        story.write_begin(1, 20, 25.05, 2);
        story.write_end(1, 20, 37.1, 2, status);
        story.commit(1, 20, 40, "event-20-b");
        assert_eq!(story.rules(), [], "status {status}");
    }
}

#[test]
fn a_planted_late_write_is_found() {
    let mut story = Story::clean();
    story.write_begin(1, 20, 37.15, 7);
    assert_eq!(story.rules(), [Rule::UngatedWrite, Rule::Overlap]);
}

#[test]
fn a_write_after_a_pause_needs_a_new_check() {
    let mut story = Story::clean();
    let resumed = at(37.0);
    story.process(1).activities.retain(|record| record.epoch != Epoch(20) || record.boot_nanos < resumed);
    story.write_begin(1, 20, 37.15, 7);
    assert_eq!(story.rules(), [Rule::UngatedWrite, Rule::Overlap]);
}

#[test]
fn a_record_of_a_stopped_process_is_a_wrong_harness() {
    let mut story = Story::clean();
    story.gate(1, 20, 30.0, false);
    assert_eq!(story.rules(), [Rule::ActiveWhileStopped]);
    // A gate that lapses during the stop is reported afterwards, with the time of its deadline: no activity.
    let mut story = Story::clean();
    story.record(1, 20, What::GateClose, 30.0, |_| {});
    assert!(!story.rules().contains(&Rule::ActiveWhileStopped));
}

#[test]
fn an_older_epoch_after_a_newer_one_is_found_on_one_object_and_on_two() {
    let mut story = Story::clean();
    story.commit(1, 20, 150, "another-event");
    assert_eq!(story.rules(), [Rule::LateCommit]);
    let mut story = Story::clean();
    story.commit(1, 20, 150, "event-100");
    story.0.writes.last_mut().expect("just added").verb = "update".into();
    assert_eq!(story.rules(), [Rule::StaleUpdate, Rule::LateCommit]);
}

#[test]
fn epochs_are_compared_as_numbers() {
    // "9" is more than "100" as text: the clean story has both, and passes. Here they are the wrong way round.
    let mut story = Story::default();
    story.term(0, 100, 10.0, Some(2.0));
    story.term(1, 9, 20.0, Some(2.0));
    story.term(2, 200, 30.0, None);
    assert_eq!(story.rules(), [Rule::EpochNotIncreasing]);
}

#[test]
fn a_commit_after_a_later_gate_is_found_by_the_clock_of_the_server() {
    let mut story = Story::clean();
    story.0.writes[1].boot_nanos = Some(at(32.2));
    assert_eq!(story.rules(), [Rule::LateCommit]);
}

#[test]
fn a_planted_double_event_is_found() {
    let mut story = Story::clean();
    story.commit(1, 200, 300, "event-9");
    assert_eq!(story.rules(), [Rule::DuplicateEvent]);
    story.0.writes.last_mut().expect("just added").code = 409;
    assert_eq!(story.rules(), [], "a refused one is what should happen");
}

#[test]
fn a_planted_term_without_writes_is_found() {
    let mut story = Story::clean();
    for record in &mut story.process(2).activities {
        record.status = record.status.map(|_| 409);
    }
    assert_eq!(story.rules(), [Rule::TermWithoutWrites]);
}

#[test]
fn a_planted_slow_takeover_is_found() {
    let mut story = Story::clean();
    story.0.disturbances[0].boot_nanos = at(11.0);
    assert_eq!(story.rules(), [Rule::SlowTakeover]);
}

#[test]
fn no_takeover_is_a_slow_one() {
    let mut story = Story::clean();
    story.disturb(1, Signal::Kill, 44.0);
    assert_eq!(story.rules(), [Rule::SlowTakeover]);
}

#[test]
fn a_cut_needs_a_takeover_and_its_end_none() {
    let mut story = Story::clean();
    story.disturb(1, Signal::Reconnect, 43.5);
    assert_eq!(story.rules(), []);
    story.disturb(1, Signal::CutOff, 44.0);
    assert_eq!(story.rules(), [Rule::SlowTakeover]);
}

#[test]
fn a_standby_may_be_disturbed_without_a_takeover() {
    let mut story = Story::clean();
    story.disturb(0, Signal::Terminate, 44.0);
    assert_eq!(story.rules(), []);
}

#[test]
fn one_epoch_has_one_holder_and_only_he_writes_under_it() {
    let mut story = Story::clean();
    story.gate(2, 200, 44.0, true);
    assert!(story.rules().contains(&Rule::SharedEpoch));
    let mut story = Story::clean();
    story.commit(2, 200, 300, "another-event");
    assert_eq!(story.rules(), [Rule::ForeignEpoch]);
}

#[test]
fn a_term_that_was_won_and_never_opened_takes_no_part() {
    // Paused between the write that won and its answer, for longer than the lease.
    let mut story = Story::clean();
    story.record(2, 15, What::TermBegin, 23.0, |_| {});
    assert_eq!(story.rules(), []);
}

#[test]
fn a_trace_is_read_up_to_a_torn_last_line() {
    let line = r#"{"what":"gate","epoch":"12","boot_nanos":7,"pid":3,"identity":"r0","passed":true}"#;
    let read = read_trace(&format!("{line}\n{line}\n{}", &line[..20])).expect("reads");
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].what, read[0].epoch, read[0].passed), (What::Gate, Epoch(12), Some(true)));
    let error = read_trace(&format!("{line}\n{}\n", &line[..20])).expect_err("a torn line inside");
    assert_eq!(error.line, 2);
    assert!(read_trace("{\"what\":\"gaet\",\"epoch\":\"1\",\"boot_nanos\":7,\"pid\":3}\n").is_err(), "an unknown step");
}

#[test]
fn both_audit_logs_are_read_to_the_same_form() {
    let embedded = concat!(
        r#"{"version":123,"verb":"create","resource":"events.k8s.io/events","namespace":"default","name":"e","#,
        r#""identity":"r0","code":201,"epoch":"45","bootNanos":9}"#,
        "\n",
        r#"{"version":null,"verb":"create","resource":"events.k8s.io/events","namespace":"default","name":"e","#,
        r#""identity":"r0","code":409,"epoch":null,"bootNanos":10}"#,
        "\n"
    );
    let real = concat!(
        r#"{"kind":"Event","stage":"ResponseComplete","verb":"create","user":{"username":"r0","groups":["g"]},"#,
        r#""objectRef":{"resource":"events","namespace":"default","apiGroup":"events.k8s.io","apiVersion":"v1"},"#,
        r#""responseStatus":{"metadata":{},"code":201},"requestObject":{"metadata":{"name":"e"}},"responseObject":"#,
        r#"{"metadata":{"name":"e","resourceVersion":"123","annotations":{"epoch.watchkeeper.dev/default.lease":"45"}}}}"#,
        "\n",
        r#"{"kind":"Event","stage":"ResponseComplete","verb":"create","user":{"username":"r0"},"#,
        r#""objectRef":{"resource":"events","namespace":"default","name":"e","apiGroup":"events.k8s.io"},"#,
        r#""responseStatus":{"status":"Failure","code":409},"requestObject":{"metadata":{"name":"e","annotations":"#,
        r#"{"epoch.watchkeeper.dev/default.lease":"45"}}},"responseObject":{"kind":"Status","code":409}}"#,
        "\n"
    );
    let mut embedded = read_embedded_audit(embedded).expect("reads");
    let real = read_kubernetes_audit(real).expect("reads");
    assert_eq!(embedded[0].boot_nanos, Some(9));
    embedded.iter_mut().for_each(|write| write.boot_nanos = None);
    assert_eq!(embedded, real);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Goal: overlaps are found exactly where they are. Model: any two of the terms, told as intervals, intersect.
    #[test]
    fn overlaps_are_those_of_the_intervals(lengths in prop::collection::vec((0_u64..8, 1_u64..8), 2..8)) {
        let mut evidence = Evidence::default();
        let mut intervals = Vec::new();
        let mut begin = 0;
        for (index, (gap, length)) in lengths.into_iter().enumerate() {
            // Each begins after the one before has begun, but perhaps not after it has ended.
            begin += gap + 1;
            let end = begin + length;
            intervals.push((begin, end));
            let record = |what, at: u64| Activity::new(what, Epoch(index as u128), at * SECOND, index as u32);
            let activities = vec![
                record(What::GateOpen, begin), record(What::WorkerStart, begin), record(What::WorkerEnd, end)
            ];
            evidence.processes.push(ProcessTrace { pid: index as u32, user: format!("r{index}"), activities });
        }
        let intersect = |a: &(u64, u64), b: &(u64, u64)| a.0 <= b.1 && b.0 <= a.1;
        let expected = intervals.iter().enumerate().any(|(index, a)| {
            intervals[index + 1..].iter().any(|b| intersect(a, b))
        });
        let found = check(&evidence, &demands()).err().unwrap_or_default();
        prop_assert_eq!(found.iter().any(|violation| violation.rule == Rule::Overlap), expected);
    }
}
