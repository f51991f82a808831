//! Candidates of both kinds on one Lease: started, killed, stopped, and judged in the end.

use std::path::PathBuf;
use std::time::Duration;

use watchkeeper_e2e::candidate::{Candidate, Side};
use watchkeeper_e2e::clock::boot_nanos;
use watchkeeper_e2e::elector::Happened;
use watchkeeper_e2e::exclusive::{Activity, What};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::replica::ReplicaConfig;
use watchkeeper_e2e::wallclock::WallClock;

use crate::history::History;
use crate::{AHEAD, LEASE, TIMINGS};

/// Longest wait for a leader: far more than is right, so that what is asserted is what judges.
const PATIENCE: Duration = Duration::from_secs(30);
const STOP_BOUND: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// In this time a candidate starts and looks at the Lease, also beside a build.
const SETTLE: Duration = Duration::from_secs(2);
/// What two busy cores may add to any step.
const SLACK: Duration = Duration::from_secs(2);

/// Who leads, and since when.
pub(crate) struct Leader {
    pub(crate) candidate: usize,
    pub(crate) side: Side,
    /// What its identity begins with.
    pub(crate) name: String,
    pub(crate) began: u64,
}

/// A time in which a candidate was active; both ends belong to it.
#[derive(Debug)]
struct Span {
    from: u64,
    to: u64,
    name: String,
}

/// All candidates, and what was done to them.
pub(crate) struct Contest {
    folder: Folder,
    kubeconfig: PathBuf,
    audit: PathBuf,
    /// Each with when it was killed.
    candidates: Vec<(Candidate, Option<u64>)>,
    /// When the first was started, in nanoseconds since boot.
    began: u64,
    /// What was seen later than it should have been.
    pub(crate) late: Vec<String>,
}

impl Contest {
    pub(crate) fn new(folder: &Folder, kubeconfig: PathBuf, audit: PathBuf) -> Self {
        Self {
            folder: folder.clone(),
            kubeconfig,
            audit,
            candidates: Vec::new(),
            began: boot_nanos(),
            late: Vec::new(),
        }
    }

    /// Starts one more and returns its number.
    pub(crate) fn start(&mut self, side: Side) -> usize {
        let number = self.candidates.len();
        let user = name(side, number);
        let wall_clock = WallClock::new(&self.folder, &user).expect("a wall clock");
        wall_clock.step_to(AHEAD).expect("steps");
        let config = ReplicaConfig {
            user,
            kubeconfig: self.kubeconfig.clone(),
            lease: ("default".to_owned(), LEASE.to_owned()),
            timings: TIMINGS,
            wall_clock: Some(wall_clock),
        };
        let candidate = Candidate::start(&self.folder, side, config).expect("starts");
        self.candidates.push((candidate, None));
        number
    }

    /// Waits until who was started has looked at the Lease.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(SETTLE).await;
    }

    /// Waits for one who began to lead after `after`.
    pub(crate) async fn next_leader(&mut self, after: u64) -> Leader {
        let leader = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(leader) = self.newest_leader().filter(|leader| leader.began > after) {
                    return leader;
                }
                tokio::time::sleep(POLL).await;
            }
        });
        let leader = leader.await.unwrap_or_else(|_| panic!("nobody leads within {PATIENCE:?}"));
        println!("{} leads", leader.name);
        leader
    }

    fn newest_leader(&mut self) -> Option<Leader> {
        let leader = |(number, (candidate, _)): (usize, &mut (Candidate, _))| {
            let side = if matches!(candidate, Candidate::Go(_)) { Side::Go } else { Side::Ours };
            let began = candidate.began().expect("speaks")?;
            Some(Leader { candidate: number, side, name: name(side, number), began })
        };
        self.candidates.iter_mut().enumerate().filter_map(leader).max_by_key(|leader| leader.began)
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, number: usize) {
        let (candidate, killed) = &mut self.candidates[number];
        candidate.process().kill().await.expect("dies");
        *killed = Some(boot_nanos());
    }

    /// SIGTERM, and waits for its end.
    pub(crate) async fn terminate(&mut self, number: usize) {
        let process = self.candidates[number].0.process();
        let status = process.stop(STOP_BOUND).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(status.success(), "a clean stop ended with {status}: {}", process.log_tail());
    }

    /// What the Lease has said so far.
    pub(crate) fn history(&self) -> History {
        History::read(&self.audit)
    }

    /// Candidate `number`, one of client-go's, was told of a leader with this identity.
    pub(crate) fn expect_seen(&mut self, number: usize, leader: &str) {
        let Candidate::Go(elector) = &self.candidates[number].0 else { panic!("ours isn't told") };
        let said = elector.said().expect("speaks");
        if !said.iter().any(|said| said.what == Happened::NewLeader && said.leader == leader) {
            self.late.push(format!("client-go reads our record and names its holder, {leader}: not yet"));
        }
    }

    /// The second of two times comes at least and at most so long after the first; a busy machine may add to the most.
    pub(crate) fn expect(&mut self, what: &str, (from, to): (u64, u64), least: Duration, most: Duration) {
        assert!(to >= from, "{what}: {:?} too early", Duration::from_nanos(from - to));
        let took = Duration::from_nanos(to - from);
        println!("{what}: {took:.2?} later");
        assert!(least <= took, "{what}: after {took:?}, which is less than {least:?}");
        if took > most + SLACK {
            self.late.push(format!("{what}: after {took:?}, which is more than {most:?}"));
        }
    }

    /// The longest that the server has taken for a write on the Lease of any candidate.
    pub(crate) fn slowest(&self) -> Duration {
        self.history().slowest_since(self.began)
    }

    /// Ends all, and judges who was active when and what the Lease said meanwhile.
    pub(crate) async fn end_and_judge(&mut self, terms: usize) {
        for number in 0..self.candidates.len() {
            if self.candidates[number].0.process().ended().is_none() {
                self.terminate(number).await;
            }
        }
        let mut spans: Vec<Span> = self.candidates.iter_mut().enumerate().flat_map(|(n, it)| spans(n, it)).collect();
        spans.sort_by_key(|span| span.from);
        assert!(spans.len() >= terms, "{} terms, fewer than {terms}: {spans:#?}", spans.len());
        for pair in spans.windows(2) {
            assert!(pair[0].to < pair[1].from, "{} and {} led at one time: {pair:#?}", pair[0].name, pair[1].name);
        }
        let changes = self.history().judge();
        println!("{} terms, {changes} changes of holder, each counted once", spans.len());
        assert!(changes >= spans.len(), "a term without a change of holder: {changes} of them, {spans:#?}");
    }
}

fn name(side: Side, number: usize) -> String {
    match side {
        Side::Ours => format!("ours-{number}"),
        Side::Go => format!("go-{number}"),
    }
}

/// When a candidate was active. What has no end was ended by a kill.
fn spans(number: usize, (candidate, killed): &mut (Candidate, Option<u64>)) -> Vec<Span> {
    let end = |found: Option<u64>| found.or(*killed).expect("each term has ended");
    match candidate {
        Candidate::Go(elector) => {
            let said = elector.said().expect("speaks");
            let find = |what| said.iter().find(|said| said.what == what).map(|said| said.boot_nanos);
            let Some(from) = find(Happened::StartedLeading) else { return Vec::new() };
            vec![Span { from, to: end(find(Happened::StoppedActing)), name: name(Side::Go, number) }]
        }
        Candidate::Ours(replica) => {
            replica.refresh().expect("reads");
            let trace = replica.traces().next().expect("one process");
            let of = |what| trace.activities.iter().filter(move |record| record.what == what);
            let span = |opened: &Activity| {
                let closed = of(What::GateClose).find(|record| record.epoch == opened.epoch);
                let to = end(closed.map(|record| record.boot_nanos));
                // No write outlives its gate by more than the server may take to commit it.
                let mine = trace.activities.iter().filter(|record| record.epoch == opened.epoch);
                let written = mine.filter(|record| record.what == What::WriteEnd).map(|record| record.boot_nanos).max();
                Span {
                    from: opened.boot_nanos,
                    to: written.map_or(to, |at| at.max(to)),
                    name: name(Side::Ours, number),
                }
            };
            of(What::GateOpen).map(span).collect()
        }
    }
}
