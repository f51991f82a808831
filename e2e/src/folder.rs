//! The temporary folder of one test, and the guard that outlives the test.
//!
//! In: nothing. Out: a folder for data, logs and kubeconfigs; a list of the processes that live in it.
//! Never: survives. `Drop` covers the end of a test and its panic. SIGKILL and Ctrl-C run no `Drop`, and a parent-death
//! signal would need unsafe code (`pre_exec`) and is tied to a thread; so a tiny shell waits for the end of a pipe that only
//! this process holds open. When the pipe ends, for whatever reason, it kills what is still listed and removes the folder.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::HarnessError;

/// Said once when it is on duty, then silent until the pipe ends. Files in `running` are named by process group.
const GUARD: &str = r#"
echo on duty
cat >/dev/null
for file in "$1"/running/*; do
  [ -e "$file" ] && kill -s KILL -- "-${file##*/}" 2>/dev/null
done
tries=0
while ! rm -rf -- "$1" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
"#;

/// A temporary folder that removes itself with its last clone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    guard: Child,
}

impl Folder {
    /// Makes a folder under the system's temporary one and puts the guard on duty.
    ///
    /// # Errors
    /// The folder can't be made, or there is no `sh`.
    pub fn new() -> Result<Self, HarnessError> {
        let folder = tempfile::Builder::new()
            .prefix("watchkeeper-e2e-")
            .tempdir()
            .map_err(HarnessError::io("making a temporary folder"))?;
        std::fs::create_dir(folder.path().join("running")).map_err(HarnessError::io("making a temporary folder"))?;
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "watchkeeper-e2e-guard"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Its own group: Ctrl-C ends the test, and the guard then still has work to do.
            .process_group(0)
            .spawn()
            .map_err(HarnessError::io("starting sh as the guard of a temporary folder"))?;
        if let Some(mut stdout) = guard.stdout.take() {
            let mut on_duty = [0; 8];
            stdout.read_exact(&mut on_duty).map_err(HarnessError::io("waiting for the guard of a temporary folder"))?;
        }
        // From here on the guard is the one that removes it.
        Ok(Self(Arc::new(Inner { path: folder.keep(), guard })))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The path of `name` in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path.join(name)
    }

    /// Lists a process group for the guard.
    pub(crate) fn list(&self, group: u32) -> std::io::Result<()> {
        std::fs::write(self.listed(group), b"")
    }

    /// Takes it from the list; it must have been reaped or be about to be, or its number could be another's.
    pub(crate) fn unlist(&self, group: u32) {
        // Gone already is as good.
        let _ = std::fs::remove_file(self.listed(group));
    }

    fn listed(&self, group: u32) -> PathBuf {
        self.join("running").join(group.to_string())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // The guard only removes the folder now: every process took itself from the list.
        let _ = self.guard.wait();
    }
}
