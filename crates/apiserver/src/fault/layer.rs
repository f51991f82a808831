//! The layer around the server: a request meets its rules, is carried out or not, and its answer meets them again.
//!
//! Comes in: a request that has been numbered. Goes out: a response whose body may fail, or a broken connection. Runs only
//! inside a request's future: a request that nobody waits for any more goes no further, or with the next one.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full, Limited};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::after;
use super::before::{Course, Next};
use super::error::TransportError;
use super::facts::{Facts, Verb};
use super::faults::Core;
use super::late::{Straggler, Travelling};
use super::stream::with_faults;
use crate::access;
use crate::audit::WriteRecord;
use crate::server::Shared;
use crate::service::{Body, BoxError, Service, full, response};

/// A request under way; says in the log how it ended, also when it was dropped.
pub(crate) struct Ticket {
    core: Arc<Core>,
    facts: Arc<Facts>,
    told: bool,
}

impl Ticket {
    pub(crate) fn new<B>(core: &Arc<Core>, identity: &str, request: Request<B>) -> (Self, Request<B>) {
        let (mut parts, body) = request.into_parts();
        let facts = Arc::new(core.arrived(identity, &parts));
        // For the watch that may come of it.
        parts.extensions.insert(facts.clone());
        (Self { core: core.clone(), facts, told: false }, Request::from_parts(parts, body))
    }

    fn tell(&mut self, outcome: &Result<Response<Body>, TransportError>) {
        self.told = true;
        match outcome {
            Ok(answer) => self.core.outcome(&self.facts, answer.status().as_str()),
            Err(error) => self.core.outcome(&self.facts, &error.to_string()),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.told {
            self.core.outcome(&self.facts, "dropped");
        }
    }
}

/// Cancel safe: a request is changed by nothing after it was dropped, and applied as a whole or not at all.
pub(crate) async fn run<B>(
    service: Service,
    mut ticket: Ticket,
    request: Request<B>,
    received: Instant,
) -> Result<Response<Body>, TransportError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let outcome = through(service, &ticket, request, received).await;
    ticket.tell(&outcome);
    outcome
}

async fn through<B>(
    service: Service,
    ticket: &Ticket,
    request: Request<B>,
    received: Instant,
) -> Result<Response<Body>, TransportError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let Ticket { core, facts, .. } = ticket;
    core.gate.enter().await;
    let shared = service.shared.clone();
    while let Some(straggler) = core.late.next(shared.clock.now()) {
        arrive_late(&shared, straggler).await;
    }
    let version = shared.state.lock().store.version();
    let chosen = core.choose(facts, version);
    let (parts, body) = request.into_parts();
    let mut body = Either::Left(body);
    let mut course = Course { parts, received };
    for met in chosen.iter().filter(|met| Course::concerns(&met.rule.action)) {
        core.fire(facts, &met.rule);
        match course.meet(met, &shared, facts).await {
            Next::Go => {}
            Next::Answer(answer) => return Ok(answer),
            Next::Break(error) => return Err(error),
            Next::Hang => std::future::pending().await,
            Next::Straggle(due) => {
                let limited = Limited::new(body, shared.limits.body).collect().await;
                // Who can't send a body has no request that could arrive.
                let bytes = limited.map_err(|_| TransportError::Reset)?.to_bytes();
                let straggler = Straggler { due, facts: facts.clone(), parts: course.parts, body: bytes };
                let travelling = Travelling::new(core, straggler);
                sleep_until(due).await;
                let arrived = travelling.arrived().expect("it is taken once");
                (course.parts, course.received) = (arrived.parts, shared.clock.now());
                body = Either::Right(Full::new(arrived.body));
            }
        }
    }
    let request = Request::from_parts(course.parts, body);
    let mut answer = carry_out(service, facts, request, course.received).await;
    for met in &chosen {
        answer = after::meet(met, core, facts, answer).await?;
    }
    let is_stream = facts.verb == Verb::Watch && answer.status().is_success();
    Ok(answer.map(|body| with_faults((core, facts, is_stream), &chosen, body)))
}

/// The server itself, for those who may.
async fn carry_out<B>(service: Service, facts: &Facts, request: Request<B>, received: Instant) -> Response<Body>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let shared = service.shared.clone();
    if shared.faults.access(|rules| rules.allows(facts)) {
        return service.answer(request, received).await;
    }
    if facts.verb.is_write() {
        shared.refuse(denied(facts, shared.clock.boot_nanos()));
    }
    response(403, "application/json", full(access::forbidden(facts)))
}

/// A write that nobody waits for any more.
async fn arrive_late(shared: &Arc<Shared>, straggler: Straggler) {
    let facts = straggler.facts.clone();
    let service = Service::new(shared.clone(), &facts.identity, CancellationToken::new());
    let answer = carry_out(service, &facts, straggler.into_request(), shared.clock.now()).await;
    shared.faults.outcome(&facts, &format!("{} late", answer.status().as_str()));
}

fn denied(facts: &Facts, boot_nanos: u64) -> WriteRecord {
    let group = if facts.group.is_empty() { String::new() } else { format!("{}/", facts.group) };
    WriteRecord {
        version: None,
        verb: facts.verb.name(),
        resource: format!("{group}{}", facts.resource),
        namespace: facts.namespace.clone(),
        name: facts.name.clone(),
        identity: facts.identity.clone(),
        code: 403,
        epoch: None,
        boot_nanos,
    }
}
