//! Playing a scenario against a server.

use std::collections::HashMap;
use std::time::Duration;

use http::{Request, Response};
use kube_client::Client;
use kube_client::client::Body;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::normalise::Normaliser;
use super::step::{Scenario, Step};

/// The longest wait for one answer, or one event that must come.
const PATIENCE: Duration = Duration::from_secs(15);
/// Where fewer events come than asked for, that is known after this time.
const SILENCE: Duration = Duration::from_secs(2);
/// A marker that hasn't come in this time is taken as missing.
const MARKER_PATIENCE: Duration = Duration::from_secs(5);

/// The server could not be reached, or the script is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{scenario}, step {step}: {what}")]
pub struct PlayError {
    scenario: String,
    step: usize,
    what: String,
}

struct Watching {
    body: Body,
    rest: Vec<u8>,
}

/// Plays a scenario in a namespace that exists and is its own. Returns the transcript.
///
/// # Errors
/// The server gives no answer, or a step needs what isn't there.
pub async fn play(scenario: &Scenario, client: &Client, namespace: &str) -> Result<Value, PlayError> {
    let mut saved: HashMap<&str, String> = HashMap::from([("ns", namespace.to_owned())]);
    let mut watches: HashMap<&str, Watching> = HashMap::new();
    let (mut last, mut said) = (Value::Null, Vec::new());
    for (number, step) in scenario.steps.iter().enumerate() {
        let wrong = |what: String| PlayError { scenario: scenario.name.clone(), step: number, what };
        match step {
            Step::Ask { method, path, headers, body } => {
                let request = request(method, path, headers, body, &saved).map_err(wrong)?;
                let (answer, text) = answer(client, request).await.map_err(wrong)?;
                last = text;
                said.push(json!({ "ask": format!("{method} {path}"), "answer": answer, "body": last }));
            }
            Step::Save { name, pointer, fallback } => match (last.pointer(pointer), fallback) {
                (Some(value), _) => {
                    saved.insert(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                }
                (None, Some(fallback)) => {
                    let fallback = fill(fallback, &saved);
                    saved.entry(name).or_insert(fallback);
                }
                (None, None) => return Err(wrong(format!("there is no {pointer} in {last}"))),
            },
            Step::Watch { name, path, headers } => {
                let request = request("GET", path, headers, "", &saved).map_err(wrong)?;
                let response = send(client, request).await.map_err(wrong)?;
                let head = head(&response);
                if response.status().is_success() {
                    said.push(json!({ "watch": path, "answer": head }));
                    watches.insert(name, Watching { body: response.into_body(), rest: Vec::new() });
                } else {
                    last = whole(response).await.map_err(wrong)?;
                    said.push(json!({ "watch": path, "answer": head, "body": last }));
                }
            }
            Step::Read { watch, events } => {
                let watching = watches.get_mut(watch.as_str()).ok_or_else(|| wrong(format!("{watch} isn't open")))?;
                let (read, ended) = watching.read(*events).await.map_err(wrong)?;
                said.push(json!({ "events": read, "ended": ended }));
            }
            Step::Until { watch, marker } => {
                let watching = watches.get_mut(watch.as_str()).ok_or_else(|| wrong(format!("{watch} isn't open")))?;
                let (read, found) = watching.read_until(marker).await.map_err(wrong)?;
                said.push(json!({ "watch": watch, "events": read, "marker": found }));
            }
        }
    }
    Ok(Normaliser::new(namespace).transcript(said))
}

fn fill(text: &str, saved: &HashMap<&str, String>) -> String {
    saved.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&'static str, String)],
    body: &str,
    saved: &HashMap<&str, String>,
) -> Result<Request<Body>, String> {
    let mut request = Request::builder().method(method).uri(fill(path, saved));
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        let patch = method == "PATCH";
        request =
            request.header("content-type", if patch { "application/merge-patch+json" } else { "application/json" });
    }
    if !headers.iter().any(|(name, _)| *name == "accept") {
        request = request.header("accept", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Body::from(fill(body, saved).into_bytes())).map_err(|error| error.to_string())
}

async fn send(client: &Client, request: Request<Body>) -> Result<Response<Body>, String> {
    let answer = timeout(PATIENCE, client.send(request)).await.map_err(|_| "no answer".to_owned())?;
    answer.map_err(|error| error.to_string())
}

async fn answer(client: &Client, request: Request<Body>) -> Result<(Value, Value), String> {
    let response = send(client, request).await?;
    let head = head(&response);
    Ok((head, whole(response).await?))
}

/// What of an answer's head both servers must agree on.
fn head(response: &Response<Body>) -> Value {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let mut head = json!({ "code": response.status().as_u16(), "type": header("content-type") });
    if let Some(after) = header("retry-after") {
        head["retryAfter"] = after.into();
    }
    head
}

async fn whole(response: Response<Body>) -> Result<Value, String> {
    let bytes = timeout(PATIENCE, response.into_body().collect_bytes()).await.map_err(|_| "no end of a body")?;
    let bytes = bytes.map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())))
}

enum Next {
    Event(Value),
    Silence,
    End,
}

impl Watching {
    /// Up to so many events, and whether the stream has ended.
    async fn read(&mut self, most: usize) -> Result<(Vec<Value>, bool), String> {
        let patience = if most == usize::MAX { PATIENCE } else { SILENCE };
        let mut events = Vec::new();
        while events.len() < most {
            match self.next(patience).await? {
                Next::Event(event) => events.push(event),
                Next::Silence => return Ok((events, false)),
                Next::End => return Ok((events, true)),
            }
        }
        Ok((events, false))
    }

    /// All events up to the one of an object with this annotation, and whether it came. Bookmarks come when a server likes,
    /// but for the one after the initial events: they are left out.
    async fn read_until(&mut self, marker: &str) -> Result<(Vec<Value>, bool), String> {
        let mut events = Vec::new();
        while let Next::Event(event) = self.next(MARKER_PATIENCE).await? {
            let is_initial = event.pointer("/object/metadata/annotations/k8s.io~1initial-events-end").is_some();
            if event["type"] == "BOOKMARK" && !is_initial {
                continue;
            }
            let found = event.pointer("/object/metadata/annotations/marker").is_some_and(|text| text == marker);
            events.push(event);
            if found {
                return Ok((events, true));
            }
        }
        Ok((events, false))
    }

    async fn next(&mut self, patience: Duration) -> Result<Next, String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let text = || format!("no JSON in {:?}", String::from_utf8_lossy(&line));
                return Ok(Next::Event(serde_json::from_slice(&line).map_err(|_| text())?));
            }
            match timeout(patience, next_frame(&mut self.body)).await {
                Err(_) => return Ok(Next::Silence),
                Ok(None) => return Ok(Next::End),
                Ok(Some(data)) => self.rest.extend_from_slice(&data?),
            }
        }
    }
}

async fn next_frame(body: &mut Body) -> Option<Result<Vec<u8>, String>> {
    use http_body_util::BodyExt as _;
    loop {
        let frame = match body.frame().await? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error.to_string())),
        };
        if let Ok(data) = frame.into_data() {
            return Some(Ok(data.to_vec()));
        }
    }
}
