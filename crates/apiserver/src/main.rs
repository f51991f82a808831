//! `watchkeeper-apiserver`: the embedded API server as a program.
//!
//! Comes in: flags. Goes out: one line with the address once it is ready, a kubeconfig, and, if asked for, the audit log and
//! the log of requests and faults.
//! Refuses addresses that others could reach unless told otherwise: it knows no passwords.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use watchkeeper_apiserver::fault::Script;
use watchkeeper_apiserver::{ApiServer, Config, listen};

/// Whom the kubeconfig speaks for.
const ADMIN: &str = "admin";

/// Longest script in bytes.
const SCRIPT_LIMIT: u64 = 1024 * 1024;
/// How the program ends when its arguments are no good.
const USAGE: u8 = 2;

/// An embedded Kubernetes API server for tests and demonstrations: no TLS, no authentication, nothing kept on disk.
#[derive(Debug, Parser)]
#[command(name = "watchkeeper-apiserver", version)]
struct Flags {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write a kubeconfig for this server to FILE (readable by you alone)
    #[arg(long, value_name = "FILE")]
    write_kubeconfig: Option<PathBuf>,
    /// Append one JSON line for each create, update, patch and delete to FILE
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Append one line for each request, and for each rule of --faults that takes effect, to FILE
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    /// Listen on an address that other machines may reach
    #[arg(long)]
    allow_non_loopback: bool,
    /// Read what goes wrong on purpose, and who may do what, from FILE (JSON; see the crate's module `fault`)
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Seed of uids, generated names and the chance in faults; random if not given
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let script = match flags.faults.as_deref().map_or_else(|| Ok(Script::default()), read_script) {
        Ok(script) => script,
        Err(error) => return failed(&error, ExitCode::from(USAGE)),
    };
    match run(flags, script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string(), ExitCode::FAILURE),
    }
}

fn failed(error: &str, code: ExitCode) -> ExitCode {
    eprintln!("watchkeeper-apiserver: {error}");
    code
}

fn run(flags: Flags, script: Script) -> Result<(), Box<dyn Error>> {
    if !flags.listen.ip().is_loopback() && !flags.allow_non_loopback {
        return Err(format!(
            "{} is not a loopback address, and this server lets everyone do everything: listen on 127.0.0.1, or pass \
             --allow-non-loopback if you mean it",
            flags.listen
        )
        .into());
    }
    let seed = match flags.seed {
        Some(seed) => seed,
        None => random_seed()?,
    };
    let audit_log = open_log("audit log", flags.audit_log.as_deref())?;
    let event_log = open_log("event log", flags.event_log.as_deref())?;
    let server = ApiServer::new(Config { seed, audit_log, event_log, ..Config::default() });
    server.faults().load(script)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(server, flags))
}

async fn serve(server: ApiServer, flags: Flags) -> Result<(), Box<dyn Error>> {
    // Signals first: who sees the ready line may stop us at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener =
        TcpListener::bind(flags.listen).await.map_err(|error| format!("can't listen on {}: {error}", flags.listen))?;
    let address = listener.local_addr()?;
    if let Some(path) = &flags.write_kubeconfig {
        write_kubeconfig(path, address)
            .map_err(|error| format!("can't write the kubeconfig {}: {error}", path.display()))?;
    }
    let shutdown = CancellationToken::new();
    let stop_on_signal = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    };
    // A reader that has gone away is no reason not to serve.
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "watchkeeper-apiserver is ready on http://{address}").and_then(|()| stdout.flush());
    drop(stdout);
    tokio::join!(listen::serve(server.clone(), listener, shutdown.clone()), stop_on_signal);
    for name in server.faults().never_fired() {
        eprintln!("watchkeeper-apiserver: the rule {name:?} never took effect: no request was one that it is for");
    }
    Ok(())
}

fn random_seed() -> Result<u64, Box<dyn Error>> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness for a seed (pass --seed): {error}"))?;
    Ok(u64::from_ne_bytes(bytes))
}

fn read_script(path: &Path) -> Result<Script, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(SCRIPT_LIMIT + 1).read_to_string(&mut text));
    read.map_err(|error| format!("can't read the faults {}: {error}", path.display()))?;
    if text.len() as u64 > SCRIPT_LIMIT {
        return Err(format!("the faults {} have more than {SCRIPT_LIMIT} bytes: write less", path.display()));
    }
    Script::parse(&text).map_err(|error| {
        format!("the faults {} are not usable: {error}; mend the file and start again", path.display())
    })
}

/// A place for lines, if a path says where.
fn open_log(name: &str, path: Option<&Path>) -> Result<Option<Box<dyn Write + Send>>, String> {
    let Some(path) = path else { return Ok(None) };
    let open = OpenOptions::new().create(true).append(true).open(path);
    let file = open.map_err(|error| format!("can't open the {name} {}: {error}", path.display()))?;
    Ok(Some(Box::new(file)))
}

/// Written beside its place and moved there, so that nobody ever reads half of it.
fn write_kubeconfig(path: &Path, address: SocketAddr) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(kubeconfig(address).as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Best effort: the error that matters is the one above.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: watchkeeper
  cluster:
    server: http://{address}
users:
- name: {ADMIN}
  user:
    token: {prefix}{ADMIN}
contexts:
- name: watchkeeper
  context:
    cluster: watchkeeper
    user: {ADMIN}
current-context: watchkeeper
",
        prefix = listen::TOKEN_PREFIX
    )
}
