//! The work queue against client-go's, measured in the same run on the same machine.
//!
//! In: which measures, and how large. Out: a line a measure on stdout: our figure, the peer's, and their ratio, from the
//! medians of the rounds, and the raw figures of all rounds; with `--json` one JSON object a measure. The ratio says
//! how many times better we are, so higher is better whatever the unit.
//!
//! A round takes a measure on both sides, one after the other, the first side changing with each round: what slows the
//! machine for a while hits both. Our side runs in this process, the peer in a process a measure. Both have as many
//! threads as they take by default, and the same keys, delays and counts.
//!
//! What each measure is stands with its code: [`single_thread`], [`throughput`], [`wake`], [`delays`]; the peer's in
//! `peers/client-go`.

pub(crate) mod cpu;
mod delays;
pub(crate) mod keys;
mod measures;
pub(crate) mod ours;
mod peer;
mod report;
mod single_thread;
mod throughput;
mod wake;

use clap::Args;
use watchkeeper::BoxError;

use crate::at_least_one;
use measures::{MEASURES, Measure, Subject};
use peer::Peer;
use report::{Rounds, Style};

/// What is measured, and how large.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, value_name = "MEASURE", value_parser = Measure::named, help = only())]
    only: Vec<&'static Measure>,
    /// How often each measure is taken on each side; the median counts.
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    rounds: usize,
    /// How many different keys there are; the measures of delays have a key for each operation.
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one)]
    keys: usize,
    /// How many operations a measure is made of.
    #[arg(long, default_value_t = 1_000_000, value_parser = at_least_one)]
    adds: usize,
    /// How many wake-ups wake_p50 and wake_p99 are made of, a thousand a second.
    #[arg(long, default_value_t = 6_000, value_parser = at_least_one)]
    samples: usize,
    /// Prints a JSON object a line instead of text.
    #[arg(long)]
    json: bool,
}

fn only() -> String {
    format!("Takes this measure only; may be given several times. There are {}", Measure::names())
}

/// Takes the measures, one subject after the other, and prints each as soon as it is there.
pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    let Options { rounds, json, .. } = *options;
    let wanted = |measure: &&Measure| options.only.is_empty() || options.only.contains(measure);
    let measures: Vec<&Measure> = MEASURES.iter().filter(wanted).collect();
    let peer = Peer::build()?;
    let style = if json { Style::Json } else { Style::Text };
    report::start(style, options.rounds);
    let mut rest = measures.as_slice();
    while let Some(Measure { subject, .. }) = rest.first() {
        let (same, others) = rest.split_at(rest.iter().take_while(|measure| measure.subject == *subject).count());
        let size = subject.size(options);
        let taken = compare(*subject, size, rounds, &peer)?;
        report::print(style, same, size, &taken)?;
        rest = others;
    }
    Ok(())
}

/// How large one measure is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// How many different keys there are.
    pub(crate) keys: usize,
    /// How many operations are measured.
    pub(crate) n: usize,
}

/// Takes the figures of a subject on both sides in turn.
fn compare(subject: Subject, size: Size, rounds: usize, peer: &Peer) -> Result<Rounds, BoxError> {
    let mut taken = Rounds::default();
    for round in 0..rounds {
        eprintln!("{subject:?}: round {} of {rounds}", round + 1);
        if round % 2 == 0 {
            taken.ours.push(subject.ours(size)?);
        }
        taken.peer.push(peer.measure(subject, size)?);
        if round % 2 == 1 {
            taken.ours.push(subject.ours(size)?);
        }
    }
    Ok(taken)
}
