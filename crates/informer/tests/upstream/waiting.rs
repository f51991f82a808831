//! tools/cache, wait_test.go: waiting for several informers at once, and what is said of those that weren't in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::factory::FactoryNotSynced;
use watchkeeper_informer::scripted::{Answer, Piece, ScriptedListWatch};
use watchkeeper_informer::{InformerConfig, InformerFactory, Scope, SharedHandle, SharedInformer};

use crate::rig::{MS, initial_end};

/// Informers over a namespace each, which are synced so many seconds after the start, or never.
struct Several {
    factory: InformerFactory,
    stop: CancellationToken,
    _handles: Vec<SharedHandle<ConfigMap>>,
}

impl Several {
    async fn start(informers: &[(&str, Option<u64>)]) -> Self {
        let (factory, stop) = (InformerFactory::default(), CancellationToken::new());
        let handle = |(namespace, synced_after): &(&str, Option<u64>)| {
            let server = ScriptedListWatch::new();
            server.on_watch(synced_after.map_or_else(Answer::hang, |seconds| {
                let synced = Piece::Bytes(initial_end(1).into());
                Answer::pieces([Piece::Silence(Duration::from_secs(seconds)), synced])
            }));
            server.otherwise(|_| Answer::hang());
            let informer = SharedInformer::new(Arc::new(server), InformerConfig::default());
            factory.informer::<_, Infallible>(&Scope::namespaced::<ConfigMap>(namespace), || Ok(informer))
        };
        let _handles = informers.iter().map(|one| handle(one).expect("infallible")).collect();
        let (running, stopped) = (factory.clone(), stop.clone());
        tokio::spawn(async move { running.run(stopped).await });
        sleep(MS).await;
        Self { factory, stop, _handles }
    }

    async fn synced(&self, seconds: u64) -> Result<(), FactoryNotSynced> {
        self.factory.synced(Duration::from_secs(seconds)).await
    }
}

/// TestWaitFor: it returns as soon as all are synced, or at the bound with those that aren't, in order; one that has no time left looks
/// once.
#[tokio::test(start_paused = true)]
async fn wait_for() {
    const FIRST: (&str, Option<u64>) = ("first", Some(10));
    const SECOND: (&str, Option<u64>) = ("second", None);
    const LAST: (&str, Option<u64>) = ("last", Some(0));
    type Case = (&'static [(&'static str, Option<u64>)], u64, u64, &'static [&'static str]);
    let cases: [Case; 6] = [
        (&[], 60, 0, &[]),
        (&[FIRST, ("second", Some(5)), LAST], 60, 10, &[]),
        (&[FIRST, SECOND, LAST], 60, 60, &["second"]),
        (&[FIRST, SECOND, LAST], 0, 0, &["first", "second"]),
        (&[FIRST, SECOND, LAST], 5, 5, &["first", "second"]),
        (&[("first", None), SECOND, ("last", None)], 60, 60, &["first", "second", "last"]),
    ];
    for (informers, within, took, missing) in cases {
        let several = Several::start(informers).await;
        let begun = Instant::now();
        let waiting = several.synced(within).await.err().map(|error| error.waiting).unwrap_or_default();
        let waiting: Vec<_> = waiting.iter().filter_map(|(scope, _)| scope.namespace.as_deref()).collect();
        assert_eq!(waiting, missing);
        assert!(begun.elapsed().abs_diff(Duration::from_secs(took)) < 10 * MS, "{:?}", begun.elapsed());
        several.stop.cancel();
    }
}

/// TestSyncResult: no error where nothing is missing, else one that names each that is, and how long was waited.
#[tokio::test(start_paused = true)]
async fn sync_result() {
    for (second, text) in [
        (Some(1), "1 informer is not synced within 5s; configmaps in first: not listed yet (Listing)"),
        (
            None,
            "2 informers are not synced within 5s; configmaps in first: not listed yet (Listing); configmaps in second: not listed yet (Listing)",
        ),
    ] {
        let several = Several::start(&[("first", None), ("second", second)]).await;
        assert_eq!(several.synced(5).await.expect_err("one isn't").to_string(), text);
    }
    assert!(Several::start(&[]).await.synced(5).await.is_ok());
}
