//! What is said on standard output: whole lines, never interleaved, and never a panic when the reader has gone.
//!
//! In: lines. Out: the same, to stdout or, where stdout is for machines (`-o json`), to stderr. All replicas of a
//! process share one [`Voice`].

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where lines for people go.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    json: bool,
    reader_gone: Arc<AtomicBool>,
}

impl Voice {
    /// A voice; with `json`, remarks go to stderr.
    pub(crate) fn new(json: bool) -> Voice {
        Voice { json, reader_gone: Arc::new(AtomicBool::new(false)) }
    }

    /// The result people or programs asked for, to stdout.
    pub(crate) fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.reader_gone.store(true, Ordering::Relaxed);
        }
    }

    /// A remark on the way: a term, an Event posted.
    pub(crate) fn say(&self, line: &str) {
        match self.json {
            true => eprintln!("{line}"),
            false => self.print(&format!("{line}\n")),
        }
    }

    /// Whether stdout was closed by its reader (`| head`): there is nobody left to print for.
    pub(crate) fn reader_gone(&self) -> bool {
        self.reader_gone.load(Ordering::Relaxed)
    }
}
