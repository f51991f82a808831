//! Goal: whatever is sent is answered, clearly, and never harms the server or what it keeps.
//! Method: requests drawn from a seed, most of them changed by chance, in rounds with a server each, in paused time; each
//! answer is judged, and at the end of a round all that is stored is read again in every way. The same as bytes of connections
//! is in `fuzz/streams.rs`.
//!
//! `WATCHKEEPER_FUZZ_SECONDS` says how long (5), `WATCHKEEPER_FUZZ_SEED` where it begins (0), `WATCHKEEPER_SEED` repeats one round.
#![allow(clippy::disallowed_methods, clippy::panic, reason = "a test reads the clock and fails by panicking")]

mod common;
mod fuzz;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use futures::{FutureExt, StreamExt, stream};
use fuzz::judge::{Checked, check, events, judge_status};
use fuzz::{Ending, Fuzz, Raw, Resource};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use tower::ServiceExt;
use watchkeeper_apiserver::fault::{Action, Matcher, Rule};
use watchkeeper_apiserver::service::BoxError;
use watchkeeper_apiserver::{AccessRule, ApiServer, Body, Config, Effect, TokioClock};

const REQUESTS: usize = 1500;
const BODY_LIMIT: usize = 128 * 1024;
/// No object is larger than the largest body and what the server adds to it.
const OBJECT_LIMIT: usize = BODY_LIMIT + 16 * 1024;
const PIECE: usize = 4096;
const MEMORY_LIMIT_KIB: u64 = 1024 * 1024;
const HELD: usize = 4;

#[test]
fn whatever_is_sent_is_answered_and_harms_nothing() {
    let mut answers = [0_u64; 6];
    let rounds = rounds(|seed| round(seed, &mut answers));
    println!("{rounds} rounds, answers by hundreds: {answers:?}");
    assert!(answers[2] > 0 && answers[4] > 0, "a fuzz that only fails finds nothing: {answers:?}");
    if let Some(resident) = common::socket::resident_kib() {
        assert!(resident < MEMORY_LIMIT_KIB, "{resident} KiB");
    }
}

/// Plays rounds as long as it is asked to, or the one; tells how many.
fn rounds(mut round: impl FnMut(u64)) -> u64 {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let only = number("WATCHKEEPER_SEED");
    let seconds = number("WATCHKEEPER_FUZZ_SECONDS").unwrap_or(5);
    let first = only.or_else(|| number("WATCHKEEPER_FUZZ_SEED")).unwrap_or(0);
    let started = Instant::now();
    println!("first seed {first}");
    let mut seed = first;
    loop {
        round(seed);
        seed = seed.wrapping_add(1);
        if only.is_some() || started.elapsed() >= Duration::from_secs(seconds) {
            return seed.wrapping_sub(first);
        }
    }
}

/// A round in paused time; a failure says how to see it again.
fn play(seed: u64, test: &str, round: impl Future<Output = Checked>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let outcome = runtime.expect("a runtime").block_on(AssertUnwindSafe(round).catch_unwind());
    let outcome = outcome.unwrap_or_else(|_| Err("a panic".to_owned()));
    let again = format!("WATCHKEEPER_SEED={seed} cargo test -p watchkeeper-apiserver --test fuzz_requests {test}");
    outcome.unwrap_or_else(|why| panic!("{why}\nagain: {again}"));
}

fn round(seed: u64, answers: &mut [u64; 6]) {
    play(seed, "whatever_is_sent", async {
        let mut round = Round::new(seed).await?;
        for _ in 0..REQUESTS {
            let raw = round.fuzz.any();
            let sent = AssertUnwindSafe(round.send(&raw)).catch_unwind().await;
            let code = sent.unwrap_or_else(|_| Err("a panic".to_owned())).map_err(|why| format!("{why}\n{raw:?}"))?;
            answers[usize::from(code / 100).min(5)] += 1;
        }
        round.end().await
    });
}

/// One server and what was seen of it.
struct Round {
    server: ApiServer,
    fuzz: Fuzz,
    version: u64,
    held: Vec<Body>,
}

impl Round {
    async fn new(seed: u64) -> Checked<Self> {
        let start = "2026-01-02T03:04:05Z".parse().expect("a time");
        let clock = Arc::new(TokioClock::starting_at(start));
        let server = ApiServer::new(Config { seed, history: 300, body_limit: BODY_LIMIT, clock, ..Config::default() });
        if seed.is_multiple_of(3) {
            // With rules a request takes another way, even where none of them is for it.
            let matcher = Matcher { identity: Some("nobody".into()), ..Matcher::default() };
            server.faults().add(Rule { matcher, ..Rule::new("never", Action::Refuse) }).expect("a rule");
            let resource = Some("secrets".into());
            server.access().add(AccessRule { resource, ..AccessRule::new(Effect::Deny, "fuzz") }).expect("a rule");
        }
        let fuzz = Fuzz { random: Rng::with_seed(seed), resources: resources(&server).await?, told: Vec::new() };
        Ok(Self { server, fuzz, version: 0, held: Vec::new() })
    }

    /// Sends one request and judges the answer.
    async fn send(&mut self, raw: &Raw) -> Checked<u16> {
        // What no library would hand on counts as answered by it.
        let Some(head) = raw.head() else { return Ok(0) };
        let (pulled, is_head) = (Arc::new(AtomicUsize::new(0)), head.method() == Method::HEAD);
        let request = head.map(|()| body(raw, pulled.clone()));
        let call = self.server.service("fuzz").oneshot(request);
        let answer = tokio::time::timeout(Duration::from_secs(3600), call).await.map_err(|_| "no answer")?;
        let answer = answer.map_err(|error| format!("no answer but {error}"))?;
        let code = answer.status().as_u16();
        let pulled = pulled.load(Ordering::Relaxed);
        check!(pulled <= BODY_LIMIT + PIECE, "{pulled} bytes of a body were read");
        check!(pulled <= BODY_LIMIT || code >= 400, "a body of {pulled} bytes was taken: {code}");
        let version = self.server.version();
        check!(version >= self.version, "version {version} after {}", self.version);
        self.version = version;
        if is_open(&answer) {
            self.stream(answer, is_head).await?;
        } else {
            self.judge(answer).await?;
        }
        Ok(code)
    }

    /// A whole answer.
    async fn judge(&mut self, answer: Response<Body>) -> Checked {
        let code = answer.status().as_u16();
        let media = answer.headers()["content-type"].to_str().expect("ASCII").to_owned();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let text = String::from_utf8_lossy(&body).chars().take(500).collect::<String>();
        if media != "application/json" {
            check!(code == 404 || code == 200, "{code} {media}: {text}");
            return Ok(());
        }
        let value: Value = serde_json::from_slice(&body).map_err(|error| format!("{code}: {error}: {text}"))?;
        if code >= 400 {
            return judge_status(&value, code);
        }
        let document = value["paths"].is_array() || value["gitVersion"].is_string();
        check!(value["kind"].is_string() || document, "{code}: {text}");
        for pointer in ["/metadata/resourceVersion", "/metadata/continue", "/metadata/uid"] {
            let told = value.pointer(pointer).and_then(Value::as_str);
            let most = self.fuzz.told.len() < 50;
            self.fuzz.told.extend(told.filter(|told| most && !told.is_empty()).map(str::to_owned));
        }
        if self.fuzz.one_in(100) {
            self.fuzz.told.clear();
        }
        Ok(())
    }

    /// The first pieces of a stream; some are kept for later.
    async fn stream(&mut self, answer: Response<Body>, is_head: bool) -> Checked {
        let mut body = answer.into_body();
        if !is_head && self.held.len() < HELD && self.fuzz.one_in(10) {
            self.held.push(body);
            return Ok(());
        }
        let mut all = Vec::new();
        let limit = Duration::from_secs(self.fuzz.random.u64(1..100));
        while let Ok(Some(frame)) = tokio::time::timeout(limit, body.frame()).await {
            let frame = frame.map_err(|error| error.to_string())?;
            all.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if all.len() > 4 * BODY_LIMIT {
                return Ok(());
            }
        }
        if all.starts_with(b"{\"type\"") { events(&all) } else { Ok(()) }
    }

    /// All that is stored can be read again, as a whole, in pages, one by one and as a watch.
    async fn end(mut self) -> Checked {
        self.server.close_watches();
        for mut body in std::mem::take(&mut self.held) {
            let mut all = Vec::new();
            while let Some(frame) = body.frame().await {
                all.extend_from_slice(
                    frame.map_err(|error| error.to_string())?.data_ref().map_or(&[][..], |data| data),
                );
            }
            if all.starts_with(b"{\"type\"") {
                events(&all)?;
            }
        }
        for resource in self.fuzz.resources.clone() {
            let collection = format!("{}/{}", resource.base, resource.plural);
            let (code, list) = get(&self.server, &collection).await?;
            check!(code == 200, "{collection}: {code} {list}");
            let items = list["items"].as_array().ok_or("a list without items")?;
            let mut paged = Vec::new();
            let mut token = String::new();
            loop {
                let (code, page) = get(&self.server, &format!("{collection}?limit=7&continue={token}")).await?;
                check!(code == 200, "{collection}: {code} {page}");
                paged.extend(page["items"].as_array().ok_or("a page without items")?.clone());
                token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
                if token.is_empty() {
                    break;
                }
            }
            check!(*items == paged, "{collection}: pages differ from the list");
            for item in items {
                self.read_again(&resource, item).await?;
            }
        }
        Ok(())
    }

    async fn read_again(&self, resource: &Resource, item: &Value) -> Checked {
        let metadata = &item["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default();
        let version: u64 = text("resourceVersion").parse().map_err(|_| format!("no version: {metadata}"))?;
        check!(version <= self.server.version() && !text("uid").is_empty(), "{metadata}");
        let size = item.to_string().len();
        check!(size <= OBJECT_LIMIT, "{metadata} has {size} bytes");
        let place = if resource.namespaced { format!("/namespaces/{}", text("namespace")) } else { String::new() };
        let uri = format!("{}{place}/{}/{}", resource.base, resource.plural, text("name"));
        let (code, mut object) = get(&self.server, &uri).await?;
        check!(code == 200, "{uri}: {code} {object}");
        let members = object.as_object_mut().ok_or("no object")?;
        check!(members.remove("kind").is_some_and(|kind| kind == resource.kind), "{uri}: no kind");
        members.remove("apiVersion");
        check!(object == *item, "{uri} differs from its item in the list:\n{object}\n{item}");
        Ok(())
    }
}

/// Whether an answer may go on for ever.
fn is_open(answer: &Response<Body>) -> bool {
    http_body::Body::size_hint(answer.body()).exact().is_none()
}

/// The body of a request; counts what is read of it.
fn body(raw: &Raw, pulled: Arc<AtomicUsize>) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static {
    let pieces: Vec<Bytes> = raw.body.chunks(PIECE).map(Bytes::copy_from_slice).collect();
    let end = raw.ending;
    let counted = move |piece: Bytes| {
        pulled.fetch_add(piece.len(), Ordering::Relaxed);
        Ok(Frame::data(piece))
    };
    let first = stream::iter(pieces.clone());
    let frames = match end {
        Ending::End => first.map(counted).boxed(),
        Ending::Silence => first.map(counted).chain(stream::pending()).boxed(),
        Ending::Broken => first.map(counted).chain(stream::iter([Err(BoxError::from("cut"))])).boxed(),
        Ending::Endless if pieces.is_empty() => stream::pending().boxed(),
        Ending::Endless => stream::iter(pieces.into_iter().cycle()).map(counted).boxed(),
    };
    StreamBody::new(frames)
}

async fn get(server: &ApiServer, uri: &str) -> Checked<(u16, Value)> {
    let request = Request::get(uri).body(Full::new(Bytes::new())).map_err(|error| format!("{uri}: {error}"))?;
    let answer = server.service("reader").oneshot(request).await.map_err(|error| format!("{uri}: {error}"))?;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|error| format!("{uri}: {error}"))?.to_bytes();
    Ok((code, serde_json::from_slice(&body).map_err(|error| format!("{uri}: {error}"))?))
}

/// What the server says that it serves.
async fn resources(server: &ApiServer) -> Checked<Vec<Resource>> {
    let mut places = vec!["/api/v1".to_owned()];
    let (_, groups) = get(server, "/apis").await?;
    for group in groups["groups"].as_array().ok_or("no groups")? {
        for version in group["versions"].as_array().ok_or("no versions")? {
            places.push(format!("/apis/{}", version["groupVersion"].as_str().ok_or("no version")?));
        }
    }
    let mut all = Vec::new();
    for base in places {
        let (_, list) = get(server, &base).await?;
        for row in list["resources"].as_array().ok_or("no resources")? {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (plural, kind) = (text(&row["name"]), text(&row["kind"]));
            let (api_version, namespaced) = (text(&list["groupVersion"]), row["namespaced"] == true);
            if !plural.contains('/') {
                all.push(Resource { base: base.clone(), api_version, kind, plural, namespaced });
            }
        }
    }
    check!(all.len() >= 19, "only {} kinds", all.len());
    Ok(all)
}
