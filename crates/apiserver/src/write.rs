//! Requests that change something: from the request to a decision, and to its record.
//!
//! Comes in: target, headers, parameters and body of a POST, PUT, PATCH or DELETE. Goes out: the answer, one audit record
//! for each request, and the change in the store. A request whose time is up before it is decided is not applied.

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use crate::audit::WriteRecord;
use crate::binding::Binding;
use crate::kinds::{self, NAMESPACES, Subresource, kind};
use crate::list::{self, Plan};
use crate::namespace;
use crate::object::{Stored, text};
use crate::options::DeleteOptions;
use crate::patch::{self, Patch};
use crate::route::{Query, Target, content_type};
use crate::select::Selector;
use crate::server::Shared;
use crate::service::BoxError;
use crate::status::{Failure, unregistered};
use crate::transaction::{Outcome, Transaction};
use crate::validate;

/// Upstream's cap on the time of a mutating request.
pub(crate) const MUTATION_LIMIT: std::time::Duration = std::time::Duration::from_secs(34);

/// Who wants to change what.
pub(crate) struct Mutation<'a> {
    pub(crate) identity: &'a str,
    pub(crate) replica: usize,
    pub(crate) method: &'a Method,
    pub(crate) target: &'a Target,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: &'a Query,
    pub(crate) deadline: Instant,
}

enum Action {
    Create(Map<String, Value>),
    Update(String, Map<String, Value>),
    Patch(String, Patch),
    Bind(String, Binding),
    Delete(String, DeleteOptions),
    DeleteCollection(Box<(Plan, Selector)>, DeleteOptions),
}

impl Mutation<'_> {
    /// Reads the body, decides and records. Not applied at all if dropped before the body was read, applied as a whole otherwise.
    pub(crate) async fn run<B>(self, shared: &Shared, body: B) -> Result<Outcome, Failure>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        // The options of a deletion say themselves whether it is one.
        let asked =
            if *self.method == Method::DELETE { Ok(false) } else { self.query.write_options(self.options_kind()) };
        let prepared = match asked {
            Ok(dry_run) => self.prepare(shared, body).await.map(|action| (dry_run || action.is_dry_run(), action)),
            Err(failure) => Err(failure),
        };
        let (dry_run, action) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                shared.refuse(self.record(shared, self.target.name.as_deref().unwrap_or_default(), Err(&failure)));
                return Err(failure);
            }
        };
        let name = action.name().to_owned();
        shared.decide(self.replica, dry_run, |transaction| {
            // Looked at under the lock: whoever waits for an answer until the deadline knows that nothing happens after it.
            let result = if shared.clock.now() >= self.deadline {
                Err(Failure::timeout())
            } else {
                self.apply(transaction, action)
            };
            let record = match &result {
                Ok(outcome) => self.record(shared, &outcome.name, Ok(outcome)),
                Err(failure) => self.record(shared, &name, Err(failure)),
            };
            (result, record)
        })
    }

    /// What upstream calls the parameters of such a request.
    fn options_kind(&self) -> &'static str {
        match *self.method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            _ => "PatchOptions",
        }
    }

    fn record(&self, shared: &Shared, name: &str, result: Result<&Outcome, &Failure>) -> WriteRecord {
        WriteRecord {
            version: result.ok().and_then(|outcome| outcome.version),
            verb: match *self.method {
                Method::POST => "create",
                Method::PUT => "update",
                Method::PATCH => "patch",
                _ if self.target.name.is_none() => "deletecollection",
                _ => "delete",
            },
            resource: kind(self.target.kind).audit_name(),
            namespace: self.target.namespace.clone(),
            name: name.to_owned(),
            identity: self.identity.to_owned(),
            code: result.map_or_else(|failure| failure.code, |outcome| outcome.code),
            epoch: result.ok().and_then(|outcome| outcome.epoch.clone()),
            boot_nanos: shared.clock.boot_nanos(),
        }
    }

    async fn prepare<B>(&self, shared: &Shared, body: B) -> Result<Action, Failure>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let named = self.target.name.clone();
        let row = kind(self.target.kind);
        let placed = !row.namespaced || !self.target.namespace.is_empty();
        if !verb_fits(self.method, self.target.subresource) {
            return Err(Failure::method_not_allowed());
        }
        match (self.method, named) {
            (&Method::POST, Some(name)) if self.target.subresource == Some(Subresource::Binding) => {
                let binding = Binding::parse(&name, &self.json(shared, body).await?)?;
                Ok(Action::Bind(name, binding))
            }
            (&Method::POST, None) if placed => Ok(Action::Create(self.object(&self.json(shared, body).await?)?)),
            (&Method::PUT, Some(name)) => {
                let object = self.object(&self.json(shared, body).await?)?;
                self.check_name(&name, &object)?;
                Ok(Action::Update(name, object))
            }
            (&Method::PATCH, Some(name)) => {
                let media = content_type(self.headers);
                if !patch::is_accepted(&media) {
                    return Err(Failure::unsupported_patch());
                }
                let patch = Patch::parse(&media, &self.collect(shared, body).await?)?;
                Ok(Action::Patch(name, patch))
            }
            (&Method::DELETE, Some(name)) => {
                let options = DeleteOptions::parse(&self.options(shared, body).await?, self.query)?;
                Ok(Action::Delete(name, options))
            }
            (&Method::DELETE, None) if placed && row.delete_collection => {
                let query = self.query;
                query.check_numbers()?;
                let selector = Selector::parse(row, query.text("labelSelector"), query.text("fieldSelector"))?;
                let plan = list::plan(self.target, query, &selector)?;
                let options = DeleteOptions::parse(&self.options(shared, body).await?, query)?;
                list::await_state((shared, self.replica), &plan, &selector).await?;
                Ok(Action::DeleteCollection(Box::new((plan, selector)), options))
            }
            _ => Err(Failure::method_not_allowed()),
        }
    }

    async fn json<B>(&self, shared: &Shared, body: B) -> Result<Bytes, Failure>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        if content_type(self.headers) != "application/json" {
            return Err(Failure::unsupported_media_type("application/json"));
        }
        self.collect(shared, body).await
    }

    /// The body of a deletion: without one, nobody asks for its type.
    async fn options<B>(&self, shared: &Shared, body: B) -> Result<Bytes, Failure>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let body = self.collect(shared, body).await?;
        if !body.is_empty() && content_type(self.headers) != "application/json" {
            return Err(Failure::unsupported_media_type("application/json"));
        }
        Ok(body)
    }

    /// The whole body, up to the limit and the deadline.
    async fn collect<B>(&self, shared: &Shared, body: B) -> Result<Bytes, Failure>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let limit = shared.limits.body;
        if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            // Its length is known: it needn't come.
            return Err(Failure::too_large(limit));
        }
        match timeout_at(self.deadline, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::too_large(limit)),
            Ok(Err(error)) => Err(Failure::bad_request(format!("the body could not be read: {error}"))),
            Err(_) => Err(Failure::timeout()),
        }
    }

    /// A body as an object of the target's kind.
    fn object(&self, body: &[u8]) -> Result<Map<String, Value>, Failure> {
        let row = kind(self.target.kind);
        let mut object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| Failure::unrecognized(row.kind, body, &error))?;
        self.check_type(&object)?;
        self.check_namespace(&object)?;
        validate::check_depth(&object)?;
        validate::decode(row, &mut object)?;
        Ok(object)
    }

    fn check_namespace(&self, object: &Map<String, Value>) -> Result<(), Failure> {
        let sent = text(object, &["metadata", "namespace"]).unwrap_or_default();
        if kind(self.target.kind).namespaced && !sent.is_empty() && sent != self.target.namespace {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Failure::bad_request(message));
        }
        Ok(())
    }

    fn check_type(&self, object: &Map<String, Value>) -> Result<(), Failure> {
        let row = kind(self.target.kind);
        let expected = row.api_version();
        let version = text(object, &["apiVersion"]).filter(|version| !version.is_empty());
        let name = text(object, &["kind"]).filter(|name| !name.is_empty());
        if version.is_none_or(|version| version == expected) && name.is_none_or(|name| name == row.kind) {
            return Ok(());
        }
        let (name, version) = (name.unwrap_or(row.kind), version.unwrap_or(&expected));
        let known = kinds::all().find(|(_, other)| other.kind == name && other.api_version() == version);
        if known.is_some_and(|(other, _)| kinds::stored(other) == kinds::stored(self.target.kind)) {
            return Err(Failure::bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version ({expected})"
            )));
        }
        let why = if known.is_some() {
            let place = format!("{}.{}", row.internal_package(), row.kind);
            let short = version.rsplit('/').next().unwrap_or(version);
            format!("converting ({short}.{name}) to ({place}): unknown conversion")
        } else {
            unregistered(name, version)
        };
        let kind = row.kind;
        Err(Failure::bad_request(format!("{name} in version {version:?} cannot be handled as a {kind}: {why}")))
    }

    fn check_name(&self, name: &str, object: &Map<String, Value>) -> Result<(), Failure> {
        match text(object, &["metadata", "name"]).unwrap_or_default() {
            "" => Err(Failure::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            ))),
            sent if sent == name => Ok(()),
            sent => Err(Failure::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            ))),
        }
    }

    fn apply(&self, transaction: &mut Transaction<'_>, action: Action) -> Result<Outcome, Failure> {
        let id = self.target.kind;
        let row = kind(id);
        let find = |transaction: &Transaction<'_>, name: &str| {
            transaction.get(id, &self.target.key(name)).ok_or_else(|| Failure::not_found(row, name))
        };
        match action {
            Action::Create(object) => transaction.create(id, &self.target.namespace, object),
            Action::Update(name, object) => match find(transaction, &name) {
                Ok(old) => {
                    check_uid(row, &old.key, &old.uid, &object)?;
                    transaction.replace(id, &old, object, self.target.subresource)
                }
                Err(_) if row.create_on_update && self.target.subresource.is_none() => {
                    self.create_by_update(transaction, &name, object)
                }
                Err(missing) => Err(missing),
            },
            Action::Patch(name, patch) => {
                let old = find(transaction, &name)?;
                let patched = self.patched(&old, patch)?;
                transaction.replace(id, &old, patched, self.target.subresource)
            }
            Action::Bind(name, binding) => {
                let old = find(transaction, &name)?;
                transaction.bind(id, &old, binding)
            }
            Action::Delete(name, options) => {
                let old = find(transaction, &name)?;
                options.check(row, &old)?;
                if id == NAMESPACES {
                    namespace::delete(transaction, &old)
                } else {
                    Ok(transaction.delete(id, &old, options.propagation))
                }
            }
            Action::DeleteCollection(what, options) => transaction.delete_collection(self.target, &what, &options),
        }
    }

    /// A PUT of a missing object whose kind allows it. A uid says that a certain object was meant, and that is gone.
    fn create_by_update(
        &self,
        transaction: &mut Transaction<'_>,
        name: &str,
        mut object: Map<String, Value>,
    ) -> Result<Outcome, Failure> {
        check_uid(kind(self.target.kind), &self.target.key(name), "", &object)?;
        crate::object::metadata_mut(&mut object).remove("resourceVersion");
        transaction.create(self.target.kind, &self.target.namespace, object)
    }

    fn patched(&self, old: &Stored, patch: Patch) -> Result<Map<String, Value>, Failure> {
        let row = kind(self.target.kind);
        let mut patched = patch.apply(old.value())?;
        validate::check_depth(&patched)?;
        self.check_type(&patched).map_err(|failure| Failure::unlike(&patched, &failure))?;
        self.check_name(old.name(), &patched)?;
        self.check_namespace(&patched)?;
        let uid = text(&patched, &["metadata", "uid"]).unwrap_or_default();
        if !uid.is_empty() && *uid != *old.uid {
            let cause = crate::status::Cause::invalid("metadata.uid", uid, "field is immutable");
            // Found by the metadata's rules and by the kind's.
            return Err(Failure::invalid(row, old.name(), vec![cause.clone(), cause]));
        }
        match validate::decode(row, &mut patched) {
            Ok(()) => Ok(patched),
            Err(failure) => Err(Failure::unlike(&patched, &failure)),
        }
    }
}

/// What may be done at the end of which path.
fn verb_fits(method: &Method, subresource: Option<Subresource>) -> bool {
    match subresource {
        None => true,
        Some(Subresource::Status) => matches!(*method, Method::PUT | Method::PATCH),
        Some(Subresource::Finalize) => *method == Method::PUT,
        Some(Subresource::Binding) => *method == Method::POST,
    }
}

impl Action {
    /// The name as far as the request gives one.
    fn name(&self) -> &str {
        match self {
            Self::Create(object) => text(object, &["metadata", "name"]).unwrap_or_default(),
            Self::Update(name, _) | Self::Patch(name, _) | Self::Bind(name, _) | Self::Delete(name, _) => name,
            Self::DeleteCollection(..) => "",
        }
    }

    /// Whether the body asks for a dry run.
    fn is_dry_run(&self) -> bool {
        matches!(self, Self::Delete(_, options) | Self::DeleteCollection(_, options) if options.dry_run)
    }
}

/// A uid in a PUT means that one object and no other of its name.
fn check_uid(row: &kinds::Kind, key: &str, stored: &str, object: &Map<String, Value>) -> Result<(), Failure> {
    let sent = text(object, &["metadata", "uid"]).unwrap_or_default();
    if sent.is_empty() || sent == stored {
        return Ok(());
    }
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{key}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {sent}, UID in object meta: {stored}",
        row.plural
    );
    let name = key.rsplit('/').next().unwrap_or(key);
    Err(Failure::conflict(row, name, &why))
}
