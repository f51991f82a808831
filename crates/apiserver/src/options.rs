//! What a DELETE may say beside what is to go.
//!
//! Comes in: the body of a DELETE, or without one its query. Goes out: checked options. Never looks at stored objects but to
//! compare a precondition.

use serde_json::{Map, Value};

use crate::kinds::Kind;
use crate::object::{Stored, at, text};
use crate::route::Query;
use crate::status::{Cause, Failure, unregistered};

/// The options of a deletion. A grace period is read and checked, and everything goes at once nevertheless.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    uid: Option<String>,
    version: Option<String>,
    /// `None`: as the object's own finalizers say.
    pub(crate) propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
}

/// What is to become of the dependents of what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They go later.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

impl DeleteOptions {
    /// From the body; without one, from the query. Next to a body the query says nothing, not even that it is a dry run.
    pub(crate) fn parse(body: &[u8], query: &Query) -> Result<Self, Failure> {
        let options = if body.is_empty() { from_query(query)? } else { from_body(body)? };
        let mut causes = Vec::new();
        let policy = text(&options, &["propagationPolicy"]);
        let orphan = options.get("orphanDependents").and_then(Value::as_bool);
        let propagation = match (policy, orphan) {
            (Some(policy), Some(_)) => {
                let problem = "orphanDependents and deletionPropagation cannot be both set";
                causes.push(Cause::invalid("propagationPolicy", policy, problem));
                None
            }
            (None, Some(true)) | (Some("Orphan"), None) => Some(Propagation::Orphan),
            (None, Some(false)) | (Some("Background"), None) => Some(Propagation::Background),
            (Some("Foreground"), None) => Some(Propagation::Foreground),
            (Some(other), None) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                causes.push(Cause::not_supported("propagationPolicy", other, &supported));
                None
            }
            (None, None) => None,
        };
        let dry_run = options.get("dryRun").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let values: Vec<&str> = dry_run.iter().map(|value| value.as_str().unwrap_or_default()).collect();
        causes.extend(Cause::no_dry_run(&values));
        if !causes.is_empty() {
            return Err(Failure::invalid_of(("meta.k8s.io", "DeleteOptions"), "", causes));
        }
        let precondition = |name| text(&options, &["preconditions", name]).map(str::to_owned);
        Ok(Self {
            uid: precondition("uid"),
            version: precondition("resourceVersion"),
            propagation,
            dry_run: !dry_run.is_empty(),
        })
    }

    /// Whether `old` is what was meant.
    pub(crate) fn check(&self, row: &Kind, old: &Stored) -> Result<(), Failure> {
        if let Some(uid) = self.uid.as_deref().filter(|uid| **uid != *old.uid) {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
                 deleted and then recreated",
                old.uid
            );
            return Err(Failure::precondition(row, old.name(), &why));
        }
        if let Some(version) = self.version.as_deref().filter(|version| **version != old.version.to_string()) {
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). \
                 The object might have been modified",
                old.version
            );
            return Err(Failure::precondition(row, old.name(), &why));
        }
        Ok(())
    }
}

fn from_body(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    let options: Option<Map<String, Value>> =
        serde_json::from_slice(body).map_err(|error| Failure::unrecognized("DeleteOptions", body, &error))?;
    let mut options = options.unwrap_or_default();
    let kind = text(&options, &["kind"]).unwrap_or_default();
    if !matches!(kind, "" | "DeleteOptions") {
        let version = text(&options, &["apiVersion"]).unwrap_or("v1");
        return Err(Failure::bad_request(unregistered(kind, version)));
    }
    options.retain(|_, value| !value.is_null());
    let wrong = |path: &str, what: &str| {
        Err(Failure::bad_request(format!(
            "DeleteOptions in version \"v1\" cannot be handled as DeleteOptions: {path}: {what}"
        )))
    };
    for (member, fits, what) in [
        ("gracePeriodSeconds", (|value: &Value| value.is_i64()) as fn(&Value) -> bool, "must be a 64 bit integer"),
        ("orphanDependents", Value::is_boolean, "must be true or false"),
        ("propagationPolicy", Value::is_string, "must be a text"),
        ("dryRun", Value::is_array, "must be a list"),
        ("preconditions", Value::is_object, "must be an object"),
    ] {
        if options.get(member).is_some_and(|value| !fits(value)) {
            return wrong(member, what);
        }
    }
    for member in ["uid", "resourceVersion"] {
        if at(&options, &["preconditions", member]).is_some_and(|value| !value.is_string() && !value.is_null()) {
            return wrong(&format!("preconditions.{member}"), "must be a text");
        }
    }
    Ok(options)
}

/// With a uid and a version as preconditions.
fn from_query(query: &Query) -> Result<Map<String, Value>, Failure> {
    let mut options = Map::new();
    query.number("gracePeriodSeconds")?;
    if let Some(orphan) = query.flag("orphanDependents") {
        options.insert("orphanDependents".to_owned(), orphan.into());
    }
    options.insert("dryRun".to_owned(), query.dry_run().into());
    if let Some(policy) = query.raw("propagationPolicy") {
        options.insert("propagationPolicy".to_owned(), policy.into());
    }
    let sent =
        ["uid", "resourceVersion"].into_iter().filter_map(|name| Some((name.to_owned(), query.raw(name)?.into())));
    options.insert("preconditions".to_owned(), Value::Object(sent.collect()));
    Ok(options)
}
