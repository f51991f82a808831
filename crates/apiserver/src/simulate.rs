//! Simulations: many seeds of one scenario, in virtual time, judged by checkers.
//!
//! A scenario is a workload and the faults it meets, both drawn from a seed; a `suite` (with the feature `simulate`, which
//! lets tokio's clock stand still) plays it for a range of
//! seeds, each in a runtime of its own whose time is paused, so that a minute takes milliseconds and nothing happens by
//! chance; the page of `suite` has a whole one. A seed that fails is played again without its faults, one by one, and what is
//! left is reported with the line that replays it. [`check`] has the judgements, [`process`] what makes a process of a part of
//! the program: a clock of its own, and a freeze; [`later`] lets faults end, [`log`] tells what was asked and what fired.
//!
//! The server needs a [`TokioClock`](crate::TokioClock), and [`Config::chronicle`](crate::Config::chronicle) where
//! [`truth`] is asked. Whatever else draws lots or reads a clock has to be given the seed and the run's time.

pub mod check;
pub mod later;
pub mod log;
pub mod process;
#[cfg(feature = "simulate")]
pub mod suite;
pub mod truth;
pub mod workload;

pub use check::Violation;
pub use later::Later;
#[cfg(feature = "simulate")]
pub use suite::{Failed, Outcome, Report, Scenario, Suite};
