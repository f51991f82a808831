//! Goal: every edge is told once per process, an edge from before this process led is told if it is news, a series is
//! renewed at its period and at once in a new term. Method: events by hand, a clock by hand.

use std::sync::Arc;

use super::*;
use crate::moment::{Clock, Moment};
use jiff::Timestamp;
use serde_json::json;
use watchkeeper::informer::Finality;

struct HandClock(Mutex<Duration>);

impl Clock for HandClock {
    fn moment(&self) -> Moment {
        Moment(*self.0.lock())
    }
    fn wall(&self) -> Timestamp {
        Timestamp::from_second(1_000_000).expect("in range") + *self.0.lock()
    }
}

struct Scene {
    clock: Arc<HandClock>,
    board: Board,
    key: ObjectKey,
    last: Option<Arc<Lease>>,
}

fn lease(uid: &str, version: u64, holder: &str) -> Arc<Lease> {
    let lease = json!({
        "metadata": {"namespace": "ns", "name": "lock", "uid": uid, "resourceVersion": version.to_string()},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 4, "acquireTime": "2026-01-01T00:00:00.000000Z",
                 "renewTime": format!("2026-01-01T00:00:{:02}.000000Z", version % 60)},
    });
    Arc::new(serde_json::from_value(lease).expect("a Lease"))
}

impl Scene {
    fn new() -> Scene {
        let clock = Arc::new(HandClock(Mutex::new(Duration::ZERO)));
        Scene { board: Board::new(clock.clone()), clock, key: ObjectKey::new("ns", "lock"), last: None }
    }

    /// Lets time pass, the process ticking all along.
    fn pass(&self, millis: u64) {
        for _ in 0..millis / 500 {
            *self.clock.0.lock() += Duration::from_millis(500);
            self.board.tick(false, true);
        }
    }

    fn see(&mut self, version: u64, holder: &str) {
        let object = lease("u", version, holder);
        let event = match self.last.replace(object.clone()) {
            None => Event::Added { object, initial: true },
            Some(old) => Event::Updated { old, new: object },
        };
        self.board.lease(&event);
    }

    fn tell(&self, epoch: &str) -> Vec<String> {
        let plan = self.board.plan(&self.key, epoch);
        for story in plan.tell.iter().chain(&plan.renew) {
            self.board.told(&self.key, story, epoch);
        }
        let renewed = plan.renew.map(|story| format!("renew {}", story.name));
        plan.tell.into_iter().map(|story| story.name).chain(renewed).collect()
    }
}

#[test]
fn each_edge_is_told_once_and_a_stale_ones_series_is_renewed() {
    let mut scene = Scene::new();
    scene.see(7, "a");
    assert_eq!(scene.tell("1"), [""; 0]);
    assert_eq!(scene.board.plan(&scene.key, "1").again, Some(Duration::from_secs(2)));
    scene.pass(2000);
    assert_eq!(scene.tell("1"), ["lease-monitor.u.late.7"]);
    assert_eq!(scene.tell("1"), [""; 0]);
    scene.pass(2000);
    assert_eq!(scene.tell("1"), ["lease-monitor.u.stale.7"]);
    assert_eq!(scene.board.plan(&scene.key, "1").again, Some(Duration::from_secs(4)));
    scene.pass(4000);
    assert_eq!(scene.tell("1"), ["renew lease-monitor.u.stale.7"]);
    assert_eq!(scene.tell("1"), [""; 0]);
    assert_eq!(scene.tell("2"), ["renew lease-monitor.u.stale.7"], "a new term shows itself at once");
    scene.see(9, "b");
    assert_eq!(scene.tell("2"), ["lease-monitor.u.fresh.7"]);
    scene.pass(500);
    assert_eq!(scene.tell("2"), [""; 0]);
}

#[test]
fn a_new_leader_tells_what_fell_into_the_gap_but_no_old_stories() {
    let mut scene = Scene::new();
    scene.see(7, "a");
    scene.pass(5000);
    scene.see(8, "b");
    scene.pass(1000);
    let gap = ["late.7", "stale.7", "fresh.7"].map(|part| format!("lease-monitor.u.{part}"));
    assert_eq!(scene.tell("1"), gap);

    let mut scene = Scene::new();
    scene.see(7, "a");
    scene.pass(5000);
    for version in 8..40 {
        scene.see(version, "b");
        scene.pass(1000);
    }
    assert_eq!(scene.tell("1"), [""; 0]);
    scene.see(41, "");
    scene.pass(100_000);
    assert_eq!(scene.tell("1"), ["lease-monitor.u.vacant.41"], "what still stands is told, however old");
}

#[test]
fn a_deleted_event_is_told_anew() {
    let mut scene = Scene::new();
    scene.see(7, "");
    let plan = scene.board.plan(&scene.key, "1");
    scene.board.told(&scene.key, &plan.tell[0], "1");
    assert_eq!(scene.tell("1"), [""; 0]);
    scene.board.untold(&scene.key, &plan.tell[0]);
    assert_eq!(scene.tell("1"), ["lease-monitor.u.vacant.7"]);
}

#[test]
fn a_process_that_was_paused_or_cut_off_does_not_accuse_others() {
    let mut scene = Scene::new();
    scene.see(7, "a");
    scene.see(8, "a");
    *scene.clock.0.lock() += Duration::from_secs(60);
    scene.see(9, "a");
    assert_eq!(scene.tell("1"), [""; 0], "paused");
    for _ in 0..100 {
        *scene.clock.0.lock() += Duration::from_millis(500);
        scene.board.tick(true, true);
    }
    assert_eq!(scene.tell("1"), [""; 0], "cut off");
    scene.pass(2500);
    assert_eq!(scene.tell("1"), ["lease-monitor.u.late.9"], "and looks again");
}

#[test]
fn a_new_uid_is_a_new_life_and_a_deleted_lease_is_forgotten() {
    let mut scene = Scene::new();
    scene.see(7, "a");
    scene.pass(5000);
    scene.board.lease(&Event::Deleted { last: lease("u", 7, "a"), finality: Finality::Observed });
    assert_eq!(scene.tell("1"), [""; 0]);
    scene.board.lease(&Event::Added { object: lease("v", 20, "a"), initial: false });
    assert_eq!(scene.tell("1"), [""; 0]);
    scene.pass(2000);
    assert_eq!(scene.tell("1"), ["lease-monitor.v.late.20"]);
}
