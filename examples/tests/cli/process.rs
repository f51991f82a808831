//! The program as a child process, with its output at hand; killed when the test is over, however that ends.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Far above what anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Monitor {
    child: Child,
    output: [Arc<Mutex<String>>; 2],
    readers: Vec<JoinHandle<()>>,
    begin: Instant,
}

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// Starts `lease-monitor`, with nothing of this machine's environment that could lead it to a cluster.
pub(crate) fn monitor(arguments: &[&str]) -> Monitor {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lease-monitor"));
    command.args(arguments).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST").env_remove("RUST_LOG");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let output = [Arc::default(), Arc::default()];
    let readers = vec![
        read(child.stdout.take().expect("piped"), Arc::clone(&output[0])),
        read(child.stderr.take().expect("piped"), Arc::clone(&output[1])),
    ];
    Monitor { child, output, readers, begin: Instant::now() }
}

/// A kubeconfig for a server at `port` of loopback.
pub(crate) fn kubeconfig(folder: &Path, port: u16) -> String {
    let path = folder.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n\
         users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    std::fs::write(&path, text).expect("writes");
    path.to_str().expect("utf-8").to_owned()
}

impl Monitor {
    /// Waits until it has said `text`, on stdout or stderr.
    pub(crate) fn wait_for(&self, text: &str) {
        while !self.output.iter().any(|output| output.lock().expect("unpoisoned").contains(text)) {
            assert!(self.begin.elapsed() < PATIENCE, "{text:?} was never said: {:?}", self.output);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM.
    pub(crate) fn signal_terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waits") {
                break status;
            }
            assert!(self.begin.elapsed() < PATIENCE, "it doesn't end: {:?}", self.output);
            std::thread::sleep(Duration::from_millis(20));
        };
        for reader in self.readers.drain(..) {
            reader.join().expect("reads");
        }
        let [stdout, stderr] = self.output.each_ref().map(|output| output.lock().expect("unpoisoned").clone());
        Ended { code: status.code(), stdout, stderr, took: self.begin.elapsed() }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Already ended: nothing happens.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            into.lock().expect("unpoisoned").push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    })
}
