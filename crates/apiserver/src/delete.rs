//! Deletions: of one object, and of a collection object by object.
//!
//! Comes in: the state that is to go, and the options of the request. Goes out: the object gone, or marked as going where
//! finalizers hold it. There is no garbage collector: what it would be waited for is marked, and let go in the same request.

use bytes::BytesMut;
use serde_json::Value;

use crate::form::Form;
use crate::kinds::{KindId, kind};
use crate::list::{self, ListBody, Plan};
use crate::object::{Stored, metadata_mut};
use crate::options::{DeleteOptions, Propagation};
use crate::route::Target;
use crate::select::Selector;
use crate::status::Failure;
use crate::transaction::{Outcome, Transaction, epoch, finalizers, is_terminating};

/// What a garbage collector takes away when the dependents are gone, or when they are on their own.
const COLLECTOR_FINALIZERS: [&str; 2] = ["foregroundDeletion", "orphan"];

impl Transaction<'_> {
    /// Deletes, or marks as being deleted where finalizers hold the object.
    pub(crate) fn delete(&mut self, id: KindId, old: &Stored, propagation: Option<Propagation>) -> Outcome {
        let row = kind(id);
        let name = old.name().to_owned();
        let mut object = old.value();
        let (collector, mut kept): (Vec<Value>, Vec<Value>) =
            finalizers(&object).iter().cloned().partition(is_collectors);
        let collector = match propagation {
            Some(Propagation::Background) => None,
            Some(Propagation::Foreground) => Some(Value::from(COLLECTOR_FINALIZERS[0])),
            Some(Propagation::Orphan) => Some(Value::from(COLLECTOR_FINALIZERS[1])),
            None => collector.into_iter().next(),
        };
        if kept.is_empty() && collector.is_none() {
            let version = self.remove(id, old);
            let body =
                if row.delete_returns_object { old.bytes() } else { crate::status::deleted(row, &name, &old.uid) };
            return Outcome { code: 200, body, name, version, epoch: None };
        }
        if is_terminating(&object) {
            let version = (!self.is_dry_run()).then_some(old.version);
            return Outcome { code: 200, body: old.bytes(), name, version, epoch: epoch(&object) };
        }
        self.mark_terminating(&mut object);
        let waits = collector.is_some();
        kept.extend(collector);
        metadata_mut(&mut object).insert("finalizers".to_owned(), Value::Array(kept));
        let outcome = self.put(id, old.key.clone(), object, 200);
        if waits && !self.is_dry_run() {
            self.let_go(id, &old.key);
        }
        outcome
    }

    /// What a garbage collector does when nothing depends on an object any more.
    fn let_go(&mut self, id: KindId, key: &str) {
        let Some(marked) = self.get(id, key) else { return };
        let mut object = marked.value();
        let kept: Vec<Value> =
            finalizers(&object).iter().filter(|finalizer| !is_collectors(finalizer)).cloned().collect();
        if kept.is_empty() {
            self.remove(id, &marked);
        } else {
            metadata_mut(&mut object).insert("finalizers".to_owned(), Value::Array(kept));
            self.put(id, marked.key.clone(), object, 200);
        }
    }

    /// Deletes what a list would answer, each object with a version and an event of its own, and answers that list. The first
    /// that can't be deleted ends it; what was deleted before stays deleted.
    pub(crate) fn delete_collection(
        &mut self,
        target: &Target,
        (plan, selector): &(Plan, Selector),
        options: &DeleteOptions,
    ) -> Result<Outcome, Failure> {
        let row = kind(target.kind);
        let store = self.store();
        let page = list::page(store, target.kind, &target.prefix(), selector, plan, store.version())?;
        let before = self.store().version();
        for listed in page.objects() {
            // Listed from an earlier version, it may be gone since.
            let Some(object) = self.get(target.kind, &listed.key) else { continue };
            options.check(row, &object)?;
            self.delete(target.kind, &object, options.propagation);
        }
        let version = Some(self.store().version()).filter(|version| *version > before);
        let mut body = BytesMut::new();
        for chunk in ListBody::new(target.kind, page, Form::Whole) {
            body.extend_from_slice(&chunk);
        }
        Ok(Outcome { code: 200, body: body.freeze(), name: String::new(), version, epoch: None })
    }
}

fn is_collectors(finalizer: &Value) -> bool {
    finalizer.as_str().is_some_and(|finalizer| COLLECTOR_FINALIZERS.contains(&finalizer))
}
