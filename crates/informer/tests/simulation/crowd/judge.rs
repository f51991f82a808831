//! The judgement on a crowd: in the end everybody has what the server has, and each way to read it shows the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use watchkeeper_apiserver::simulate::Violation;

use super::{Breach, World, digit, value};
use crate::observer::{Present, present};
use crate::setting::{self, CONVERGENCE};

impl World {
    /// Waits until the cache is a fresh list and everybody knows, as long as that may take; then compares all there is.
    pub(super) async fn settled(&self) -> Result<(), Violation> {
        let judge = setting::judge(&self.server);
        let agreed = setting::until_agreed(CONVERGENCE, async || self.agree(&setting::fresh(&judge).await?)).await;
        agreed.and_then(|()| self.indexes_agree())
    }

    fn agree(&self, fresh: &Present) -> Result<(), Violation> {
        let list = self.handle.lister().list();
        let same = |who: &str, found: &Present| match found == fresh {
            true => Ok(()),
            false => Err(Violation::new("I2", format!("{who} has {found:?}, the server {fresh:?}"))),
        };
        same("the cache", &present(list.iter().map(|map| &**map)))?;
        let observers = self.observers.lock();
        observers
            .iter()
            .map(|observer| observer.lock())
            .filter(|observer| !observer.ended)
            .try_for_each(|observer| same(&observer.name, &observer.present))?;
        let status = self.handle.sync_status();
        let is_idle = status.handlers.iter().all(|handler| handler.pending == 0);
        if !status.is_synced() || !is_idle {
            return Err(Violation::new("I5", format!("{status}")));
        }
        let panics: u64 = status.handlers.iter().map(|handler| handler.panics).sum();
        let planted = self.done.0.lock().get("handler panics").copied().unwrap_or_default();
        if panics == planted {
            Ok(())
        } else {
            Err(Violation::new("I3", format!("{panics} panics, {planted} planted")))
        }
    }

    /// I4: each index is what a scan finds, a snapshot is the list.
    fn indexes_agree(&self) -> Result<(), Violation> {
        let lister = self.handle.lister();
        let mut list = lister.list();
        if self.breach == Some(Breach::IndexMisses) {
            list.pop();
        }
        let of = |found: &[Arc<ConfigMap>]| present(found.iter().map(|map| &**map));
        let wrong = |what: &str| Err(Violation::new("I4", format!("{what} isn't what a scan finds")));
        for wanted in '0'..='9' {
            let scanned: Vec<_> = list.iter().filter(|map| digit(map) == wanted).cloned().collect();
            if of(&self.by_digit.get(&wanted)) != of(&scanned) {
                return wrong("an index by equality");
            }
        }
        let digits: BTreeSet<char> = list.iter().map(|map| digit(map)).collect();
        if self.by_digit.values().into_iter().collect::<BTreeSet<_>>() != digits {
            return wrong("the values of an index");
        }
        let mut values: Vec<u64> = list.iter().map(|map| value(map)).collect();
        values.sort_unstable();
        if self.by_value.range(..).iter().map(|map| value(map)).collect::<Vec<_>>() != values {
            return wrong("an index by order");
        }
        if of(&lister.namespace("default")) != of(&list) || lister.len() != list.len() {
            return wrong("the index by namespace");
        }
        let snapshot = lister.snapshot();
        let is_of_before = self.breach == Some(Breach::SnapshotOfBefore);
        let version = snapshot.version().filter(|_| !is_of_before).cloned();
        if of(&snapshot.list()) != of(&list) || version != self.handle.version() {
            return wrong("a snapshot");
        }
        Ok(())
    }
}
