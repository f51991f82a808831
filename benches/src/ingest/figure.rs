//! How a client stands: what it has cached, and what that has cost its process.
//!
//! In: this process, and the fields of cached objects. Out: a [`Figure`], which goes as one line of JSON from each client, ours
//! or a peer's, to the benchmark.

use serde::{Deserialize, Serialize};

use crate::usage::{Cpu, Memory};

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

/// CPU and memory of this process.
pub(crate) fn stand(heap_bytes: Option<u64>) -> Result<Figure, BoxError> {
    let (cpu, memory) = (Cpu::of("self")?, Memory::of("self")?);
    Ok(Figure {
        user_cpu_s: cpu.user.as_secs_f64(),
        system_cpu_s: cpu.system.as_secs_f64(),
        rss_kb: memory.resident,
        peak_rss_kb: memory.peak,
        heap_bytes,
        ..Figure::default()
    })
}
