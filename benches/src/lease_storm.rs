//! How the Lease monitor bears many Leases: 10,000 of them, renewed 1,000 times a second, for two minutes.
//!
//! In: the size of the storm, and the monitor's program. Out: a report on stdout; an error where the monitor did not
//! keep up or its memory grew. The embedded API server and the renewing hands run in this process, the monitor in
//! another one, reached over loopback HTTP. Measured of the monitor: whether it sees every renewal, how late, its CPU
//! time a renewal (as a ratio to a floor in the same run: decoding the same Lease with serde_json) and its resident
//! memory over time.
//!
//! ```text
//! cargo build --release --bin lease-monitor
//! cargo run --release -p watchkeeper-benches -- lease-storm
//! ```

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube_client::Client;
use kube_client::api::{Api, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;
use watchkeeper::BoxError;
use watchkeeper_apiserver::ApiServer;

use crate::usage::{Cpu, Memory};

const NAMESPACE: &str = "kube-node-lease";
/// Renewals are sent in this many bursts a second.
const BURSTS: u32 = 50;

/// The size of the storm.
#[derive(Args)]
pub(crate) struct Storm {
    /// How many Leases there are.
    #[arg(long, default_value_t = 10_000)]
    leases: usize,
    /// How many of them are renewed each second.
    #[arg(long, default_value_t = 1_000)]
    renewals: u32,
    /// For how many seconds.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// The monitor's program; by default the one beside this program.
    #[arg(long)]
    monitor: Option<PathBuf>,
}

/// What the monitor said last of itself.
#[derive(Clone, Copy, Default)]
struct Said {
    changes: u64,
    lag_millis: i64,
    fresh: u64,
}

/// Lets the storm blow over the monitor, and reports.
pub(crate) async fn run(storm: Storm) -> Result<(), BoxError> {
    let program = match &storm.monitor {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("lease-monitor"),
    };
    if !program.exists() {
        return Err(format!(
            "{} does not exist; build it: cargo build --release --bin lease-monitor",
            program.display()
        )
        .into());
    }

    let server = ApiServer::new(Default::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(watchkeeper_apiserver::listen::serve(server.clone(), listener, stop.clone()));
    let client = Client::new(server.service("kubelet"), NAMESPACE);
    let api: Api<Lease> = Api::namespaced(client, NAMESPACE);
    let mut leases = create(&api, storm.leases).await?;
    let floor = floor(&leases[0])?;

    let folder = std::env::temp_dir().join(format!("lease-storm-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let kubeconfig = folder.join("kubeconfig");
    write_kubeconfig(&kubeconfig, &format!("http://{address}"))?;
    let (mut monitor, said) = start_monitor(&program, &kubeconfig)?;
    println!(
        "{} Leases, {} renewals a second, {} s; monitor is process {}",
        storm.leases,
        storm.renewals,
        storm.seconds,
        monitor.id()
    );
    let outcome = blow(&storm, &api, &mut leases, monitor.id(), &said).await;
    _ = monitor.kill();
    _ = monitor.wait();
    stop.cancel();
    serving.await?;
    std::fs::remove_dir_all(&folder)?;
    report(&storm, outcome?, floor)
}

/// One line a ten seconds, and what the run as a whole was like.
struct Outcome {
    sent: u64,
    seen: u64,
    worst_lag_millis: i64,
    cpu: Duration,
    memory: Vec<u64>,
}

async fn blow(
    storm: &Storm,
    api: &Api<Lease>,
    leases: &mut [Lease],
    pid: u32,
    said: &Arc<Mutex<Said>>,
) -> Result<Outcome, BoxError> {
    let look = || *said.lock().expect("no holder of this lock panics");
    let pid = pid.to_string();
    let cpu = || Cpu::of(&pid).map(|cpu| cpu.user + cpu.system);
    let resident = || Memory::of(&pid).map(|memory| memory.resident);
    // The monitor first reads everything: the storm begins when it has.
    let ready = Instant::now() + Duration::from_secs(30);
    while look().fresh == 0 && Instant::now() < ready {
        renew(api, &mut leases[0]).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (seen_before, cpu_before) = (look().changes, cpu()?);
    let (mut sent, mut next, mut memory, mut worst_lag_millis) = (0_u64, 0, Vec::new(), 0);
    let per_burst = (storm.renewals / BURSTS).max(1) as usize;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / BURSTS);
    println!("{:>8} {:>10} {:>10} {:>8} {:>12} {:>8}", "seconds", "sent", "seen", "lag ms", "memory MiB", "cpu s");
    for tick in 0..storm.seconds * u64::from(BURSTS) {
        ticks.tick().await;
        for _ in 0..per_burst {
            renew(api, &mut leases[next]).await?;
            next = (next + 1) % leases.len();
            sent += 1;
        }
        if tick % u64::from(BURSTS) == 0 {
            memory.push(resident()?);
            worst_lag_millis = worst_lag_millis.max(look().lag_millis);
        }
        if tick % (10 * u64::from(BURSTS)) == 0 {
            let Said { changes, lag_millis, .. } = look();
            let (mib, busy) = (resident()? / 1024, cpu()?.saturating_sub(cpu_before));
            println!(
                "{:>8} {sent:>10} {:>10} {lag_millis:>8} {mib:>12} {:>8.1}",
                tick / u64::from(BURSTS),
                changes - seen_before,
                busy.as_secs_f64()
            );
        }
    }
    let busy = cpu()?.saturating_sub(cpu_before);
    // The monitor says what it saw once a few seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    Ok(Outcome { sent, seen: look().changes - seen_before, worst_lag_millis, cpu: busy, memory })
}

fn report(storm: &Storm, outcome: Outcome, floor: Duration) -> Result<(), BoxError> {
    let Outcome { sent, seen, worst_lag_millis, cpu, memory } = outcome;
    let third = memory.len() / 3;
    let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len().max(1) as f64 / 1024.0;
    let (early, late) = (mean(&memory[third..2 * third]), mean(&memory[2 * third..]));
    let each = cpu / u32::try_from(sent.max(1))?;
    println!("renewals sent            {sent} ({:.0} a second)", sent as f64 / storm.seconds as f64);
    println!("changes seen             {seen} ({:.2} % of those sent)", 100.0 * seen as f64 / sent as f64);
    println!("worst lag reported       {worst_lag_millis} ms");
    println!(
        "monitor CPU              {:.1} % of one core, {each:?} a renewal",
        100.0 * cpu.as_secs_f64() / storm.seconds as f64
    );
    println!(
        "ratio to the floor       {:.1} (floor: {floor:?} to decode the Lease with serde_json)",
        each.as_secs_f64() / floor.as_secs_f64()
    );
    println!("memory, middle third     {early:.1} MiB");
    println!("memory, last third       {late:.1} MiB ({:+.1} %)", 100.0 * (late - early) / early);
    if (seen as f64) < 0.99 * sent as f64 {
        return Err("the monitor did not keep up".into());
    }
    if late > 1.05 * early {
        return Err("the monitor's memory grew".into());
    }
    Ok(())
}

async fn create(api: &Api<Lease>, count: usize) -> Result<Vec<Lease>, BoxError> {
    let mut leases = Vec::with_capacity(count);
    for number in 0..count {
        let name = format!("node-{number:05}");
        let lease = Lease {
            metadata: ObjectMeta { name: Some(name.clone()), ..Default::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(name),
                lease_duration_seconds: Some(40),
                renew_time: Some(now()),
                ..Default::default()
            }),
        };
        leases.push(api.create(&PostParams::default(), &lease).await?);
    }
    Ok(leases)
}

async fn renew(api: &Api<Lease>, lease: &mut Lease) -> Result<(), BoxError> {
    lease.spec.get_or_insert_default().renew_time = Some(now());
    let name = lease.metadata.name.clone().unwrap_or_default();
    *lease = api.replace(&name, &PostParams::default(), lease).await?;
    Ok(())
}

fn now() -> MicroTime {
    MicroTime(jiff::Timestamp::now())
}

/// Time to decode one of these Leases, the least that any monitor must do.
fn floor(lease: &Lease) -> Result<Duration, BoxError> {
    let text = serde_json::to_vec(lease)?;
    let rounds = 20_000;
    let started = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(serde_json::from_slice::<Lease>(std::hint::black_box(&text))?);
    }
    Ok(started.elapsed() / rounds)
}

fn write_kubeconfig(path: &Path, server: &str) -> Result<(), BoxError> {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: storm\nclusters:\n- name: storm\n  cluster: {{server: \"{server}\"}}\n\
         users:\n- name: storm\n  user: {{token: token-storm}}\ncontexts:\n- name: storm\n  context: {{cluster: storm, user: storm}}\n"
    );
    Ok(std::fs::File::create(path)?.write_all(text.as_bytes())?)
}

fn start_monitor(program: &Path, kubeconfig: &Path) -> Result<(Child, Arc<Mutex<Said>>), BoxError> {
    let mut child = Command::new(program)
        .args(["run", "--identity", "storm", "--first-install", "-o", "json", "--kubeconfig"])
        .arg(kubeconfig)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let said = Arc::new(Mutex::new(Said::default()));
    let (sink, lines) = (said.clone(), BufReader::new(child.stdout.take().ok_or("no stdout")?));
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let Ok(view) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            let number = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
            let fresh = view["states"]["fresh"].as_u64().or(view["states"]["Fresh"].as_u64()).unwrap_or_default();
            *sink.lock().expect("no holder of this lock panics") = Said {
                changes: number(&view["changes"]),
                lag_millis: view["lagMillis"].as_i64().unwrap_or_default(),
                fresh,
            };
        }
    });
    Ok((child, said))
}
