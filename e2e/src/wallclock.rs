//! A wall clock of its own for one process, which a test may step while the process runs.
//!
//! In: the library made of `wallclock/wallclock.c`, from the environment; steps. Out: a command whose process sees them.
//! Works for programs that read the clock through libc, as Rust's do; Go's don't. Never: touches another clock.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::HarnessError;
use crate::error::binary_from_env;
use crate::folder::Folder;

/// Where the preloaded library is.
pub const WALL_CLOCK_LIB: &str = "WATCHKEEPER_WALL_CLOCK_LIB";

/// The offset of one process's wall clock.
#[derive(Clone, Debug)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// A clock that is right, for the process called `name`.
    ///
    /// # Errors
    /// There is no library, or its file can't be written.
    pub fn new(folder: &Folder, name: &str) -> Result<Self, HarnessError> {
        let library = binary_from_env(WALL_CLOCK_LIB, "wall clock library")?;
        let clock = Self { library, file: folder.join(format!("{name}.wallclock")) };
        clock.step_to(0)?;
        Ok(clock)
    }

    /// From now on it is off by `seconds`.
    ///
    /// # Errors
    /// Its file can't be written.
    pub fn step_to(&self, seconds: i64) -> Result<(), HarnessError> {
        let what = || format!("writing {}", self.file.display());
        // In place, by one write: the process has the file mapped.
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&self.file);
        file.and_then(|mut file| file.write_all(&seconds.to_ne_bytes())).map_err(HarnessError::io(what()))
    }

    /// The process that `command` starts goes by this clock.
    pub fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("WATCHKEEPER_WALL_CLOCK_FILE", &self.file);
    }
}
