//! Simulations: many seeds of one scenario, in virtual time, judged by checkers.
//!
//! A [`Scenario`] is a workload and the faults it meets, both drawn from a seed; [`Suite::run`] plays it for a range of
//! seeds, each in a runtime of its own whose time is paused, so that a minute takes milliseconds and nothing happens by
//! chance. A seed that fails is played again without its faults, one by one, and what is left is reported with the line
//! that replays it. [`check`] has the judgements, [`process`] what makes a process of a part of the program: a clock of its
//! own, and a freeze.
//!
//! ```
//! use watchkeeper_apiserver::simulate::{Outcome, Scenario, Suite, check};
//! use watchkeeper_apiserver::{ApiServer, Config};
//!
//! struct Nothing;
//!
//! impl Scenario for Nothing {
//!     type Fault = ();
//!
//!     fn faults(&self, _seed: u64) -> Vec<()> {
//!         Vec::new()
//!     }
//!
//!     async fn run(&self, seed: u64, _faults: &[()]) -> Outcome {
//!         let server = ApiServer::new(Config { seed, ..Config::default() });
//!         Outcome { verdict: check::epochs(&[], &server.writes()), ..Outcome::default() }
//!     }
//! }
//!
//! let report = Suite { seeds: 0..10, ..Suite::new("nothing") }.run(&Nothing);
//! assert!(report.failures.is_empty());
//! ```

pub mod check;
pub mod process;
pub mod suite;
pub mod truth;
pub mod workload;

pub use check::Violation;
pub use suite::{Failed, Outcome, Report, Scenario, Suite};
