//! Several electors, one Lease, one seed: the election in virtual time, with everything that goes wrong.
//!
//! In: a seed, timings, and (to show that the simulation can fail) broken rules. Out: the violations found.
//! Never: real time, real sockets, or randomness that isn't from the seed.
//!
//! Every process has its own clock (its own zero, and a rate within the stated error), its own wire to the server, and a
//! worker set that is as bad as the rules allow: after a loss it goes on for the whole stop bound.

#![allow(clippy::disallowed_methods, reason = "virtual time")]

mod checker;
pub(crate) mod explorer;
mod jumping;
mod named;
mod object;
mod process;
mod scenarios;
mod server;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use checker::Checker;
use object::Object;
use process::{Habits, Process};
use server::{Server, Weather};

use crate::rules::Rules;
use crate::timings::Timings;

/// Timings on the edge of what is safe, for clocks at 0.88 to 1.12 of the true rate: a little more of D, and the arithmetic
/// is wrong.
fn edge() -> Timings {
    let timings = Timings { clock_rate_error: 0.12, ..Timings::default() };
    Timings { renew_deadline: timings.longest_renew_deadline() - Duration::from_millis(1), ..timings }
}

/// What to simulate.
#[derive(Clone)]
struct Plan {
    timings: Timings,
    rules: Rules,
    habits: Habits,
    /// Faults happen during this time; then all is well, and a leader must be found.
    storm: Duration,
}

impl Plan {
    fn new() -> Self {
        Self { timings: edge(), rules: Rules::default(), habits: Habits::default(), storm: Duration::from_secs(150) }
    }
}

/// What a run has found.
#[derive(Debug)]
struct Findings {
    violations: Vec<String>,
    terms: usize,
    /// To the object that all leaders work on.
    writes: u64,
}

/// One run.
struct World {
    plan: Plan,
    random: fastrand::Rng,
    /// Of suspended machines: not from `random`, so that they change nothing else of a seed.
    nights: fastrand::Rng,
    server: Server,
    object: Object,
    checker: Checker,
    processes: Vec<Process>,
    born: u32,
}

impl World {
    fn new(plan: Plan, seed: u64) -> Self {
        let stop_bound = plan.timings.stop_bound;
        let object = Object::new(plan.habits);
        Self {
            plan,
            random: fastrand::Rng::with_seed(seed),
            nights: fastrand::Rng::with_seed(!seed),
            server: Server::new(),
            object,
            checker: Rc::new(RefCell::new(checker::Ledger::new(stop_bound))),
            processes: Vec::new(),
            born: 0,
        }
    }

    /// Starts one more process, on a clock of the given rate.
    fn start(&mut self, rate: f64, weather: Weather) {
        self.born += 1;
        let process = Process::start(
            &self.plan,
            self.born,
            self.random.u64(..),
            rate,
            self.server.wire(weather, self.random.u64(..)),
            &self.object,
            &self.checker,
        );
        self.processes.push(process);
    }

    fn any_rate(&mut self) -> f64 {
        let rho = self.plan.timings.clock_rate_error;
        match self.random.u8(..4) {
            0 => 1.0 - rho,
            1 => 1.0 + rho,
            _ => 1.0 + rho * (2.0 * self.random.f64() - 1.0),
        }
    }

    fn any_weather(&mut self) -> Weather {
        match self.random.u8(..4) {
            0 => Weather::calm(),
            1 => Weather { slow: 0.5, ..Weather::calm() },
            2 => Weather { lost: 0.15, refused: 0.1, ..Weather::calm() },
            _ => Weather { slow: 0.3, lost: 0.1, refused: 0.05 },
        }
    }

    /// One thing that goes wrong.
    fn misfortune(&mut self) {
        let victim = self.random.usize(..self.processes.len());
        let seconds = |random: &mut fastrand::Rng, most: f64| Duration::from_secs_f64(0.1 + random.f64() * most);
        match self.random.u8(..14) {
            0 | 1 => {
                let (length, direction) = (seconds(&mut self.random, 30.0), self.random.u8(..3));
                self.processes[victim].wire.cut(length, direction != 1, direction != 0);
            }
            // Most harmful: an answer that takes long, and then nothing any more.
            2 | 3 => {
                let slow = seconds(&mut self.random, 3.0);
                let length = seconds(&mut self.random, 30.0);
                self.processes[victim].wire.slow_answer_then_cut(slow, length);
            }
            4 | 5 => {
                let length = seconds(&mut self.random, 30.0);
                self.processes[victim].pause(length, self.random.bool());
            }
            6 => {
                self.processes[victim].crash();
                let rate = self.any_rate();
                let weather = self.any_weather();
                self.processes.remove(victim);
                self.start(rate, weather);
            }
            7 => self.processes[victim].hand_over(),
            // SIGTERM and a successor; or a kill in the middle of that.
            13 => {
                let leaving = self.processes.remove(victim);
                leaving.stop();
                if self.random.u8(..4) == 0 {
                    leaving.crash();
                }
                let (rate, weather) = (self.any_rate(), self.any_weather());
                self.start(rate, weather);
            }
            8 => self.server.delete(),
            9 => self.server.edit(|lease| lease["metadata"]["labels"]["touched"] = "again".into()),
            10 => self.server.edit(|lease| lease["spec"]["holderIdentity"] = "".into()),
            11 => self.server.edit(|lease| lease["spec"]["holderIdentity"] = "somebody-else".into()),
            _ => self.server.edit(|lease| lease["spec"]["renewTime"] = "2099-01-01T00:00:00.000000Z".into()),
        }
    }

    /// Now and then a machine is suspended: it stands still, and when it goes on its gate clock has jumped.
    fn night(&mut self) {
        if self.nights.u8(..10) == 0 {
            let victim = self.nights.usize(..self.processes.len());
            let length = Duration::from_secs_f64(0.1 + self.nights.f64() * 5.0);
            let jump = Duration::from_secs_f64(0.1 + self.nights.f64() * 10.0);
            self.processes[victim].suspend(length, jump, self.nights.bool());
        }
    }

    async fn run(mut self) -> Findings {
        for _ in 0..3 + self.random.usize(..3) {
            let (rate, weather) = (self.any_rate(), self.any_weather());
            self.start(rate, weather);
        }
        let begin = process::now();
        while process::now() - begin < self.plan.storm {
            let pause = Duration::from_secs_f64(0.5 + self.random.f64() * 15.0);
            tokio::time::sleep(pause).await;
            self.misfortune();
            self.night();
        }
        for process in &self.processes {
            process.wire.mend();
            process.resume();
        }
        let healed = process::now();
        // Longest: an alien's or another's lease begins now, is waited out by the slowest clock, then caught up with.
        let patience = self.plan.timings.lease_duration.mul_f64(2.0) + Duration::from_secs(20);
        let mut led = false;
        while process::now() - healed < patience && !led {
            tokio::time::sleep(Duration::from_millis(500)).await;
            led = self.checker.borrow().anybody_open();
        }
        let mut ledger = self.checker.borrow_mut();
        if !led {
            ledger.violations.push(format!("I14: nobody leads {patience:?} after all was well again"));
        }
        ledger.violations.extend(self.server.thefts());
        ledger.violations.extend(self.object.violations());
        Findings { violations: ledger.violations.clone(), terms: ledger.terms(), writes: self.object.writes() }
    }
}

/// Runs a future in virtual time that starts now.
fn simulate<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(future))
}

/// Runs one seed.
fn explore(plan: &Plan, seed: u64) -> Findings {
    simulate(async { World::new(plan.clone(), seed).run().await })
}
