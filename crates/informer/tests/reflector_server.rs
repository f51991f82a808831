//! Reflector and list-watch against the embedded API server, in process, and against an answer made by hand.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::{Api, DeleteParams, ListParams, PostParams};
use kube_client::client::Body;
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::fault::{Action, Illegal, Rule};
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};
use watchkeeper_informer::list_watch::{ListAt, ListRequest, WatchRequest, WatchStart};
use watchkeeper_informer::request_error::{Awaited, RequestError};
use watchkeeper_informer::{
    Cached, Deadlines, InformerConfig, InformerHandle, KubeListWatch, ListWatch, ReflectorConfig, Scope, Shard,
    ShardBy, SharedInformer, Verdict,
};

struct Rig {
    server: ApiServer,
    api: Api<ConfigMap>,
    informer: InformerHandle<ConfigMap>,
}

impl Rig {
    async fn start(server: Config, reflector: ReflectorConfig) -> Self {
        let server = ApiServer::new(Config {
            clock: Arc::new(TokioClock::starting_at(k8s_openapi::jiff::Timestamp::UNIX_EPOCH)),
            ..server
        });
        let client = kube_client::Client::new(server.service("alice"), "default");
        let api = Api::namespaced(client.clone(), "default");
        let source = KubeListWatch::new(client, Scope::all::<ConfigMap>(), Deadlines::default());
        let informer = SharedInformer::new(Arc::new(source), InformerConfig { reflector, ..InformerConfig::default() });
        let handle = informer.handle();
        let rig = Self { server, api, informer: handle };
        for number in 0..7 {
            rig.create(&format!("first-{number}")).await;
        }
        tokio::spawn(informer.run(CancellationToken::new()));
        rig
    }

    async fn create(&self, name: &str) {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        self.api.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn delete(&self, name: &str) {
        self.api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// What is cached, and whether it is what a fresh list shows.
    async fn assert_equal(&self) {
        let mut cached: Vec<_> = self.informer.lister().list();
        cached.sort_by(|a, b| a.name().cmp(b.name()));
        let cached: Vec<_> = cached.iter().map(|object| (object.name(), object.version())).collect();
        let listed = self.api.list(&ListParams::default()).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|object| (object.name(), object.version())).collect();
        assert_eq!(cached, listed);
    }
}

/// Goal: first sync, changes, cut watches, and a compaction while disconnected end with the cache equal to a fresh
/// list, with a bounded number of requests. Method: with streaming lists, without them, and with a server that refuses
/// them; pages smaller than the data.
#[tokio::test(start_paused = true)]
async fn converges_with_the_embedded_server() {
    for (streaming_lists, streaming_list) in [(true, true), (false, true), (true, false)] {
        let reflector = ReflectorConfig { page_size: 3, streaming_list, ..ReflectorConfig::default() };
        let rig = Rig::start(Config { streaming_lists, ..Config::default() }, reflector).await;
        rig.informer.synced().await.expect("it runs");
        rig.assert_equal().await;
        rig.create("second").await;
        rig.delete("first-3").await;
        sleep(Duration::from_secs(1)).await;
        rig.assert_equal().await;

        rig.server.close_watches();
        rig.create("third").await;
        sleep(Duration::from_secs(3)).await;
        rig.assert_equal().await;

        rig.server.close_watches();
        rig.delete("first-4").await;
        rig.create("first-4").await;
        rig.delete("first-5").await;
        rig.server.compact(rig.server.version());
        sleep(Duration::from_secs(10)).await;
        rig.assert_equal().await;
        let status = rig.informer.sync_status().reflector().clone();
        assert_eq!(status.paged_because.is_some(), streaming_list && !streaming_lists, "{status:?}");
        assert!(status.counts.replacements == 2 && status.counts.watches <= 8, "{:?}", status.counts);
        assert!(status.counts.unchanged >= 5, "{:?}", status.counts);
    }
}

/// Goal: an event that the server lost is found by an audit, and made good; before it, nothing shows it.
#[tokio::test(start_paused = true)]
async fn a_lost_event_is_found() {
    let rig = Rig::start(Config::default(), ReflectorConfig::default()).await;
    rig.informer.synced().await.expect("it runs");
    sleep(Duration::from_secs(1)).await;
    let objects = 7;
    assert_eq!(rig.informer.audit().await, Verdict::Agrees { objects });
    let drop = Rule::new("lost", Action::Illegal(Illegal::Drop { after_events: 0 }));
    let rule = rig.server.faults().add(drop).unwrap();
    rig.server.close_watches();
    sleep(Duration::from_secs(5)).await;
    rig.create("lost").await;
    rig.create("told").await;
    sleep(Duration::from_secs(100)).await;
    assert!(rig.server.faults().remove(rule));
    assert_eq!(rig.informer.lister().list().len(), objects + 1, "the event was lost");
    let found = rig.informer.audit().await;
    assert_eq!(found, Verdict::Differs { missing: 1, stale: 0, phantoms: 0 });
    sleep(Duration::from_secs(5)).await;
    rig.assert_equal().await;
    assert_eq!(rig.informer.audit().await, Verdict::Agrees { objects: objects + 2 });
}

/// Goal: shards share the objects of a server that knows nothing of shards: each object is in one cache, from the list or from
/// the watch, and an audit takes what isn't wanted for nothing lost.
#[tokio::test(start_paused = true)]
async fn shards_share_the_objects() {
    for streaming_lists in [true, false] {
        let rig = Rig::start(Config { streaming_lists, ..Config::default() }, ReflectorConfig::default()).await;
        let mut shards = Vec::new();
        for index in 0..3 {
            let shard = Some(Shard::of(ShardBy::Uid, index, 3).unwrap());
            let client = kube_client::Client::new(rig.server.service("alice"), "default");
            let scope = Scope { shard, ..Scope::all::<ConfigMap>() };
            let source = KubeListWatch::new(client, scope, Deadlines::default());
            let informer = SharedInformer::<ConfigMap>::new(Arc::new(source), InformerConfig::default());
            shards.push(informer.handle());
            tokio::spawn(informer.run(CancellationToken::new()));
        }
        sleep(Duration::from_secs(5)).await;
        for number in 0..40 {
            rig.create(&format!("second-{number}")).await;
        }
        rig.delete("first-1").await;
        sleep(Duration::from_secs(5)).await;
        let mut all: Vec<_> = shards.iter().flat_map(InformerHandle::keys).collect();
        all.sort();
        let mut expected = rig.informer.keys();
        expected.sort();
        assert_eq!((all.len(), all), (46, expected));
        for shard in &shards {
            let objects = shard.keys().len();
            assert!(objects > 5);
            assert_eq!(shard.audit().await, Verdict::Agrees { objects });
            assert!(shard.sync_status().reflector().counts.unwanted > 0);
        }
    }
}

/// Goal: an idle watch lives by its bookmarks: ten hours cost a few requests an hour and no list.
#[tokio::test(start_paused = true)]
async fn an_idle_watch_lives_by_bookmarks() {
    let rig = Rig::start(Config::default(), ReflectorConfig { audit: None, ..ReflectorConfig::default() }).await;
    rig.informer.synced().await.expect("it runs");
    for _ in 0..120 {
        sleep(Duration::from_secs(300)).await;
        rig.server.compact(rig.server.version());
    }
    let counts = rig.informer.sync_status().reflector().counts;
    assert_eq!((counts.replacements, counts.lists, counts.backoffs), (1, 0, 0));
    assert!((60..=121).contains(&counts.watches), "{counts:?}");
}

type Answer = UnsyncBoxBody<Bytes, Infallible>;
type Seen = Arc<Mutex<Vec<String>>>;

/// A client whose every request is recorded and answered by `answer`; `None` never answers.
fn by_hand(answer: impl Fn() -> Option<http::Response<Answer>> + Clone + Send + 'static) -> (KubeListWatch, Seen) {
    let seen = Seen::default();
    let record = seen.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let encoding = request.headers()["accept-encoding"].to_str().unwrap().to_owned();
        record.lock().push(format!("{} {} {encoding}", request.method(), request.uri()));
        let answer = answer();
        async move {
            match answer {
                Some(answer) => Ok::<_, Infallible>(answer),
                None => std::future::pending().await,
            }
        }
    });
    let client = kube_client::Client::new(service, "default");
    (KubeListWatch::new(client, Scope::all::<ConfigMap>(), Deadlines::default()), seen)
}

fn respond(code: u16, body: &str) -> http::Response<Answer> {
    let body = Full::new(Bytes::from(body.to_owned())).boxed_unsync();
    http::Response::builder().status(code).header("retry-after", "7").body(body).unwrap()
}

/// Goal: what is sent is what the API asks for, without compression.
#[tokio::test(start_paused = true)]
async fn what_is_sent() {
    let list = r#"{"items":[],"metadata":{"resourceVersion":"42"}}"#;
    let (source, seen) = by_hand(move || Some(respond(200, list)));
    let page = ListRequest { limit: Some(500), continue_token: Some("a/b=".to_owned()), at: ListAt::Newest };
    drop(source.list(&page).await.unwrap());
    drop(source.watch(&WatchRequest { start: WatchStart::InitialEvents, timeout_seconds: 300 }).await.unwrap());
    drop(source.watch(&WatchRequest { start: WatchStart::After("9".into()), timeout_seconds: 301 }).await.unwrap());
    assert_eq!(source.newest_version().await.unwrap().as_str(), "42");
    let watch = "GET /api/v1/configmaps?watch=true&allowWatchBookmarks=true&timeoutSeconds=";
    assert_eq!(
        *seen.lock(),
        [
            "GET /api/v1/configmaps?limit=500&continue=a%2Fb%3D identity".to_owned(),
            format!("{watch}300&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion= identity"),
            format!("{watch}301&resourceVersion=9 identity"),
            "GET /api/v1/configmaps?limit=1 identity".to_owned(),
        ]
    );
}

/// Goal: a refusal is one typed error however its body looks, and no body that isn't a Status shows anywhere.
#[tokio::test(start_paused = true)]
async fn refusals() {
    let status = "{\n  \"kind\": \"Status\",\n  \"reason\": \"TooManyRequests\",\n  \"message\": \"later\"\n}\n";
    for (body, message) in [(status, "later"), ("<html>canary</html>", "")] {
        let (source, _) = by_hand(move || Some(respond(429, body)));
        let request = WatchRequest { start: WatchStart::InitialEvents, timeout_seconds: 300 };
        let Err(RequestError::Refused(refusal)) = source.watch(&request).await else { panic!("not refused") };
        assert_eq!((refusal.code, refusal.message.as_str()), (429, message));
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
        assert!(!format!("{refusal:?}").contains("canary"));
    }
}

/// Goal: no headers, silence in a body, an endless error body: each ends by its deadline.
#[tokio::test(start_paused = true)]
async fn deadlines() {
    let deadlines = Deadlines::default();
    let (source, _) = by_hand(|| None);
    let request = WatchRequest { start: WatchStart::InitialEvents, timeout_seconds: 30 };
    let timed_out = |waited_for, bound| RequestError::TimedOut { waited_for, bound };
    assert_eq!(
        source.list(&ListRequest::default()).await.err(),
        Some(timed_out(Awaited::Answer, deadlines.list_answer))
    );
    assert_eq!(source.watch(&request).await.err(), Some(timed_out(Awaited::Answer, deadlines.watch_answer)));
    assert!(source.newest_version().await.is_err());

    let endless = |code: u16| {
        let first = futures::stream::iter([Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b"{}")))]);
        let body = StreamBody::new(first.chain(futures::stream::pending())).boxed_unsync();
        http::Response::builder().status(code).body(body).unwrap()
    };
    let (source, _) = by_hand(move || Some(endless(200)));
    let mut body = source.watch(&request).await.unwrap();
    assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"{}"))));
    let bound = Duration::from_secs(30) + deadlines.watch_margin;
    assert_eq!(body.next().await, Some(Err(timed_out(Awaited::End, bound))));
    assert_eq!(body.next().await, None);

    // A line that creeps: never silent, and never at its end.
    let (source, _) = by_hand(|| {
        let creeping = futures::stream::unfold((), |()| async {
            sleep(Duration::from_secs(20)).await;
            Some((Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b" "))), ()))
        });
        Some(http::Response::new(StreamBody::new(creeping).boxed_unsync()))
    });
    let body = source.list(&ListRequest::default()).await.unwrap();
    let pieces: Vec<_> = body.collect().await;
    assert_eq!((pieces.len(), pieces.last()), (16, Some(&Err(timed_out(Awaited::End, deadlines.list_whole)))));

    let (source, _) = by_hand(move || Some(endless(500)));
    assert!(matches!(source.watch(&request).await.err(), Some(RequestError::Refused(refusal)) if refusal.code == 500));
}
