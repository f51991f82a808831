//! What a process has used, as Linux tells it.
//!
//! In: a process, by its id or `self`. Out: its CPU time, in the kernel's ticks of 10 ms, and its resident memory.

use std::error::Error;
use std::time::Duration;

type BoxError = Box<dyn Error + Send + Sync>;

const TICK: Duration = Duration::from_millis(10);

/// CPU time since the start of the process.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// Memory in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Cpu {
    pub(crate) fn of(process: &str) -> Result<Self, BoxError> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name before it may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').ok_or("an unreadable stat")?.1.split_whitespace().collect();
        let ticks = |place: usize| -> Result<Duration, BoxError> {
            Ok(TICK * fields.get(place).ok_or("a stat without CPU time")?.parse()?)
        };
        Ok(Self { user: ticks(11)?, system: ticks(12)? })
    }
}

impl Memory {
    pub(crate) fn of(process: &str) -> Result<Self, BoxError> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let kib = |name: &str| -> Result<u64, BoxError> {
            // One that has ended has no memory any more.
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the process has ended")?;
            Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
        };
        Ok(Self { resident: kib("VmRSS:")?, peak: kib("VmHWM:")? })
    }
}
