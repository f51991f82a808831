//! Tests of the election's Events: whole electors in paused time on an embedded API server, whose Events API can be spoiled.
#![allow(clippy::disallowed_methods)]

use http::{Request, Response};
use kube_client::client::Body;
use tokio::time::{Instant, sleep};
use watchkeeper_apiserver::{ApiServer, Config};

use super::*;
use crate::bucket::Buckets;
use crate::candidacy::{Candidacy, End};
use crate::clock::VirtualClock;
use crate::electors::{Electors, Stand};
use crate::identity::Identity;
use crate::log::Log;
use crate::objects::{Kind, LEASES};

const SECOND: Duration = Duration::from_secs(1);

/// What the Events API does with a request.
#[derive(Clone, Copy)]
enum Does {
    Serves,
    Answers(u16),
    Hangs,
    /// A server that asks to be left alone for a day.
    PutsOff,
}

/// When requests for Events came.
type Asked = Arc<Mutex<Vec<Instant>>>;

fn client(server: &ApiServer, does: Does) -> (Client, Asked) {
    let (server, asked) = (Client::new(server.service("a"), "default"), Asked::default());
    let log = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (server, log) = (server.clone(), log.clone());
        async move {
            let about_events = request.uri().path().ends_with("/events");
            if about_events {
                log.lock().push(Instant::now());
            }
            match does {
                Does::Answers(status) if about_events => {
                    let body = json!({"message": "as planned"}).to_string();
                    Ok(Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap())
                }
                Does::PutsOff if about_events => {
                    Ok(Response::builder().status(503).header("retry-after", "86400").body(Body::empty()).unwrap())
                }
                Does::Hangs if about_events => std::future::pending().await,
                _ => server.send(request).await,
            }
        }
    });
    (Client::new(service, "default"), asked)
}

fn config() -> ElectorConfig {
    ElectorConfig {
        first_install: true,
        ..ElectorConfig::new("default", "the-lease", Identity::from_parts("me", 1, 1).unwrap())
    }
}

struct Running {
    candidacies: Vec<Candidacy>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(client: Client, stand: Stand) -> Running {
    let (electors, mut candidacies) = Electors::new(vec![stand], Arc::new(VirtualClock::new())).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(electors.run(client, shutdown.clone()));
    Running { candidacies: candidacies.remove(0), shutdown, task }
}

fn times(log: &Log, part: &str) -> usize {
    log.lines().iter().filter(|line| line.contains(part)).count()
}

async fn list(server: &ApiServer, what: &'static Kind) -> Vec<Value> {
    let objects = Objects::new(what, Client::new(server.service("hand"), "default"), "default".to_owned());
    let list = objects.ask(Method::GET, About::New, None, SECOND).await.unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Goal: a term makes two Events with upstream's words on its very Lease, and the second one survives the shutdown.
/// Method: one term on the embedded server, whose validation they pass.
#[tokio::test(start_paused = true)]
async fn a_term_makes_two_events() {
    let server = ApiServer::new(Config::default());
    let (client, _) = client(&server, Does::Serves);
    let mut running = start(client, Stand::Alone(config()));
    let standing = running.candidacies[0].next_term().await.unwrap();
    sleep(5 * SECOND).await;
    running.shutdown.cancel();
    standing.end(End::Release).await;
    running.task.await.unwrap();
    let lease = &list(&server, &LEASES).await[0]["metadata"];
    let mut events = list(&server, &EVENTS).await;
    events.sort_by_key(|event| event["message"].as_str().unwrap_or_default().to_owned());
    let messages: Vec<_> = events.iter().map(|event| event["message"].as_str().unwrap()).collect();
    let me = config().identity;
    assert_eq!(messages, [format!("{me} became leader"), format!("{me} stopped leading")]);
    for event in &events {
        let about = &event["involvedObject"];
        assert_eq!((&event["reason"], &event["type"]), (&json!("LeaderElection"), &json!("Normal")));
        assert_eq!((&about["kind"], &about["apiVersion"]), (&json!("Lease"), &json!("coordination.k8s.io/v1")));
        assert_eq!((&about["namespace"], &about["name"]), (&json!("default"), &json!("the-lease")));
        assert_eq!((&about["uid"], &event["source"]["component"]), (&lease["uid"], &json!("the-lease")));
    }
}

/// Goal: who doesn't want Events, has none; a bucket's Lease has its own, and the replica's presence has none. Method: both kinds of stand.
#[tokio::test(start_paused = true)]
async fn events_are_of_terms_only() {
    let server = ApiServer::new(Config::default());
    let (plain, asked) = client(&server, Does::Serves);
    let mut running = start(plain, Stand::Alone(ElectorConfig { events: false, ..config() }));
    running.candidacies[0].next_term().await.unwrap().end(End::Release).await;
    running.shutdown.cancel();
    running.task.await.unwrap();
    assert!(asked.lock().is_empty());

    let (client, asked) = client(&server, Does::Serves);
    let mut running = start(client, Stand::Shared(config(), Buckets::new(1).unwrap()));
    let standing = running.candidacies[0].next_term().await.unwrap();
    sleep(30 * SECOND).await;
    running.shutdown.cancel();
    standing.end(End::Release).await;
    running.task.await.unwrap();
    assert_eq!(asked.lock().len(), 2);
    let about = |event: &Value| event["involvedObject"]["name"] == "the-lease.00-of-01";
    assert!(list(&server, &EVENTS).await.iter().all(about));
}

/// Goal: a refusal is said once, with the rule that is missing, is not tried again, and costs no term. Method: 403 for three terms.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_said_once() {
    let log = Log::new();
    let _listening = tracing::subscriber::set_default(log.clone());
    let server = ApiServer::new(Config::default());
    let (client, asked) = client(&server, Does::Answers(403));
    let mut running = start(client, Stand::Alone(config()));
    for _ in 0..3 {
        running.candidacies[0].next_term().await.unwrap().end(End::Release).await;
    }
    running.shutdown.cancel();
    running.task.await.unwrap();
    assert_eq!(asked.lock().len(), 6);
    assert_eq!(times(&log, r#"apiGroups [""], resources [events], verbs [create] in namespace default"#), 1);
}

/// Goal: an Events API that doesn't answer delays neither a renewal nor a release, and the end by two seconds only.
/// Method: a minute of a term while it hangs; the Lease's writes on the server.
#[tokio::test(start_paused = true)]
async fn a_hanging_events_api_delays_nothing() {
    let server = ApiServer::new(Config::default());
    let (client, asked) = client(&server, Does::Hangs);
    let mut running = start(client, Stand::Alone(config()));
    let standing = running.candidacies[0].next_term().await.unwrap();
    standing.open().unwrap();
    let before = server.writes().len();
    sleep(60 * SECOND).await;
    assert!(standing.term().is_open());
    assert!(server.writes().len() - before >= 29, "{}", server.writes().len() - before);
    // Three tries of three seconds with ten between them, then it is given up.
    assert_eq!(asked.lock().len(), 3);
    let begin = Instant::now();
    running.shutdown.cancel();
    standing.end(End::Release).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    running.task.await.unwrap();
    assert_eq!(begin.elapsed(), LAST_WORDS);
    assert_eq!(list(&server, &LEASES).await[0]["spec"]["holderIdentity"], "");
}

/// Goal: an outage that ends within the tries costs no Event, and a broken server is asked three times, not more. Method: 500 throughout.
#[tokio::test(start_paused = true)]
async fn no_storm_of_tries() {
    let server = ApiServer::new(Config::default());
    let (client, asked) = client(&server, Does::Answers(500));
    let mut running = start(client, Stand::Alone(config()));
    let standing = running.candidacies[0].next_term().await.unwrap();
    sleep(60 * SECOND).await;
    let gaps: Vec<_> = asked.lock().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [PAUSE; 2]);
    running.shutdown.cancel();
    standing.end(End::Release).await;
    running.task.await.unwrap();
    // The end has one try.
    assert_eq!(asked.lock().len(), 4);
}

/// Goal: a server that asks for a long pause gets a longer one, not the end of all Events. Method: a day asked for.
#[tokio::test(start_paused = true)]
async fn a_pause_has_its_bound() {
    let server = ApiServer::new(Config::default());
    let (client, asked) = client(&server, Does::PutsOff);
    let mut running = start(client, Stand::Alone(config()));
    let _standing = running.candidacies[0].next_term().await.unwrap();
    sleep(600 * SECOND).await;
    let gaps: Vec<_> = asked.lock().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [LONGEST_PAUSE; 2]);
}

/// Goal: what doesn't fit is dropped at once, counted, and said. Method: more news than fit while nobody sends, then all are sent.
#[tokio::test(start_paused = true)]
async fn a_full_queue_drops() {
    let log = Log::new();
    let _listening = tracing::subscriber::set_default(log.clone());
    let server = ApiServer::new(Config::default());
    let (client, asked) = client(&server, Does::Serves);
    let queue = EventQueue::new();
    let recorder = queue.recorder(&config()).unwrap();
    for number in 0..MOST_WAITING + 7 {
        recorder.over(Timestamp::from_second(i64::try_from(number).unwrap()).unwrap());
    }
    let over = CancellationToken::new();
    over.cancel();
    queue.run(client, over).await;
    assert_eq!(asked.lock().len(), MOST_WAITING);
    assert_eq!(list(&server, &EVENTS).await.len(), MOST_WAITING);
    assert!(log.says("dropped=7"));
}

/// Goal: every name is one that an object can have, whatever the Lease is called. Method: the longest Lease.
#[tokio::test(start_paused = true)]
async fn names_are_names() {
    for name in ["a", &"x".repeat(253)] {
        let whose =
            Whose { namespace: "ns".to_owned(), name: name.to_owned(), identity: "me".to_owned(), timeout: SECOND };
        let news = |what| News { whose: Arc::new(whose), lease: Subject::default(), what, at: Timestamp::UNIX_EPOCH };
        assert!(crate::objects::is_name(&news(BECAME).name()), "{name}");
    }
}
