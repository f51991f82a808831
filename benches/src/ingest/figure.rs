//! How a client stands: what it has cached, and what that has cost its process.
//!
//! In: this process, and the fields of cached objects. Out: a [`Figure`], which goes as one line of JSON from each client, ours
//! or a peer's, to the benchmark.

use serde::{Deserialize, Serialize};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How it stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Objects cached.
    pub(crate) objects: usize,
    /// Over fields of all of them, to be compared with the peer's.
    pub(crate) checksum: u64,
    /// Until synced.
    pub(crate) wall_s: f64,
    /// Of the process, since its start.
    pub(crate) user_cpu_s: f64,
    pub(crate) system_cpu_s: f64,
    pub(crate) rss_kb: u64,
    pub(crate) peak_rss_kb: u64,
    /// Live bytes on the heap, where they are counted.
    pub(crate) heap_bytes: Option<u64>,
    /// Events that handlers were told.
    pub(crate) events: u64,
}

/// FNV-1a over the fields of one object, a zero byte behind each. Those of all objects are added up.
pub(crate) fn of_object(fields: [&str; 6]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for field in fields {
        for byte in field.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// The CPU time of a process, by its id or `self`: the user's and the system's.
pub(crate) fn cpu(process: &str) -> Result<(f64, f64), BoxError> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').ok_or("an unreadable stat of a process")?.1;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).map(|ticks| ticks / 100.0);
    Ok((ticks(11).ok_or("no user time")?, ticks(12).ok_or("no system time")?))
}

/// CPU and memory of this process.
pub(crate) fn stand(heap_bytes: Option<u64>) -> Result<Figure, BoxError> {
    let (user_cpu_s, system_cpu_s) = cpu("self")?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_ascii_whitespace().next()?.parse().ok()
    };
    Ok(Figure {
        user_cpu_s,
        system_cpu_s,
        rss_kb: kilobytes("VmRSS").ok_or("no VmRSS")?,
        peak_rss_kb: kilobytes("VmHWM").ok_or("no VmHWM")?,
        heap_bytes,
        ..Figure::default()
    })
}
