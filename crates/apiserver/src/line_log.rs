//! A log in lines, for whoever gave the server a place to write them.
//!
//! Comes in: lines, in the order in which things happened. Goes out: each line as a whole, at once. Never has a hole: where a
//! line can't be written it ends, and says so once.

use std::io::Write;

pub(crate) struct LineLog {
    /// What it is called when it ends.
    name: &'static str,
    out: Option<Box<dyn Write + Send>>,
}

impl LineLog {
    /// `None`: nobody wants it.
    pub(crate) fn new(name: &'static str, out: Option<Box<dyn Write + Send>>) -> Self {
        Self { name, out }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.out.is_some()
    }

    /// Writes a line, made only where somebody wants it.
    pub(crate) fn write(&mut self, line: impl FnOnce() -> Vec<u8>) {
        let Some(out) = &mut self.out else { return };
        let mut line = line();
        line.push(b'\n');
        if let Err(error) = out.write_all(&line).and_then(|()| out.flush()) {
            tracing::error!(%error, "the {} can't be written any more", self.name);
            self.out = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// Has room for so many bytes more.
    struct Disk(Arc<Mutex<Vec<u8>>>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.lock();
            if written.len() + bytes.len() > self.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Goal: a full disk leaves a log that ends, not one with a hole.
    #[test]
    fn it_ends_where_a_line_is_missing() {
        let written = Arc::default();
        let mut log = LineLog::new("log", Some(Box::new(Disk(Arc::clone(&written), 8))));
        for line in ["one", "too long", "two"] {
            log.write(|| line.into());
        }
        assert_eq!((written.lock().as_slice(), log.is_wanted()), (&b"one\n"[..], false));
    }
}
