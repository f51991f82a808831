//! What is measured of a store, whosever it is: the same code measures ours and kube-runtime's.
//!
//! In: Pods. Out: the operations that the measures are made of.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

/// The one writer of a store.
pub(crate) trait Cache {
    type Reader: Reader;
    /// An upsert, ready to be handed to the store.
    type Upsert;
    /// Everything anew, ready to be handed to the store.
    type Replacement;
    /// What an upsert leaves to be freed, which is no part of the figures.
    type Left;
    /// The same of a replacement.
    type AllLeft;

    fn new() -> Self;
    fn reader(&self) -> Self::Reader;
    fn prepare(pod: Pod) -> Self::Upsert;
    fn upsert(&mut self, upsert: Self::Upsert) -> Self::Left;
    /// In the order of the keys.
    fn prepare_replacement(pods: impl Iterator<Item = Pod>) -> Self::Replacement;
    fn replace(&mut self, replacement: Self::Replacement) -> Self::AllLeft;

    /// Several upserts, in one batch where the store takes batches.
    fn upsert_all(&mut self, upserts: Vec<Self::Upsert>) -> Vec<Self::Left>;
}

/// One of any number of readers.
pub(crate) trait Reader: Clone + Send + 'static {
    type Key: Send + Sync;
    type Snapshot;

    fn key(namespace: &str, name: &str) -> Self::Key;
    fn get(&self, key: &Self::Key) -> Option<Arc<Pod>>;
    fn list_namespace(&self, namespace: &str) -> Vec<Arc<Pod>>;
    fn visit_namespace(&self, namespace: &str, visit: impl FnMut(&Pod));
    /// `false`: there is no index by node.
    #[expect(clippy::ptr_arg, reason = "an index is asked by values of its own type")]
    fn visit_node(&self, node: &String, visit: impl FnMut(&Pod)) -> bool;
    fn walk(&self, visit: impl FnMut(&Pod));
    fn snapshot(&self) -> Self::Snapshot;
}
