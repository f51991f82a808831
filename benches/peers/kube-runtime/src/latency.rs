//! When updates are seen: by an observer of the reflector's stream, the nearest there is to a handler, and by a controller's
//! reconciler.
//!
//! In: where the Pods are. Out: what was [`Seen`], for each answer. One watch feeds both, as upstream shows it.

use std::convert::Infallible;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube_runtime::controller::{Action, Controller};
use kube_runtime::{WatchStreamExt as _, reflector, watcher};
use tokio::sync::Notify;

use crate::answer::answer;
use crate::lookout::Lookout;
use crate::sighting::Seen;
use crate::{BoxError, Options};

pub(crate) async fn run(options: &Options) -> Result<(), BoxError> {
    let (store, writer) = reflector::store::<Pod>();
    let (handler, worker) = (Arc::new(Lookout::default()), Arc::new(Lookout::default()));
    // Of those who wait for the store to be ready, the controller among them, only the last is told.
    let ready = Arc::new(Notify::new());
    let (lookout, listed) = (handler.clone(), ready.clone());
    let pods = watcher(options.pods()?, options.watcher())
        .default_backoff()
        .reflect(writer)
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone) {
                listed.notify_one();
            }
        })
        .applied_objects()
        .inspect_ok(move |pod| lookout.see(pod.metadata.annotations.as_ref()));
    let reconcile = |pod: Arc<Pod>, lookout: Arc<Lookout>| async move {
        lookout.see(pod.metadata.annotations.as_ref());
        Ok::<_, Infallible>(Action::await_change())
    };
    let controller = Controller::for_stream(pods, store)
        .run(reconcile, |_, never, _| match *never {}, worker.clone())
        .for_each(|_| std::future::ready(()));
    tokio::spawn(controller);
    ready.notified().await;
    tokio::task::block_in_place(|| answer(|| Ok(Seen { handler: handler.so_far(), worker: worker.so_far() })))
}
