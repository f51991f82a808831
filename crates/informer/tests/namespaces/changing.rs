//! Namespaces that come and go while the informer runs, or before. Method: scripted sources, in paused time; then the embedded API server.

use std::time::Duration;

use tokio::time::timeout;
use watchkeeper_informer::scripted::Answer;
use watchkeeper_informer::{Cached, NamespacesError, ResourceVersion, Verdict};

use crate::scripts::{Rig, Source, object, seconds};

fn not_watched(namespace: &str) -> NamespacesError {
    NamespacesError::NotWatched(namespace.to_owned())
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Goal: a namespace that is added is not listed until it is, and everybody says so; then its objects are told of as added. A registration
/// that was synced stays so, one that comes meanwhile waits.
#[tokio::test(start_paused = true)]
async fn added_while_it_runs() {
    let (a, b) = (Source::of("a", &["one"]), Source::silent("b"));
    let mut rig = Rig::new(&[&a]).run().await;
    let (handle, early) = (rig.handle.clone(), rig.handle.add_handler(|_| {}));
    seconds(1).await;
    assert!(handle.has_synced() && early.has_synced());
    assert_eq!(rig.told(), ["+a/one"]);

    rig.add(&b);
    assert!(!handle.has_synced(), "at once, whatever the informer is doing");
    assert_eq!(handle.namespaces(), ["a", "b"]);
    let late = handle.add_handler(|_| {});
    seconds(5).await;
    let status = handle.sync_status();
    assert!(!status.is_listed() && status.to_string().starts_with("not listed yet (Listing)"), "{status}");
    assert_eq!(status.reflectors.iter().map(|(place, _)| place.as_deref()).collect::<Vec<_>>(), [Some("a"), Some("b")]);
    assert!(early.has_synced() && !late.has_synced());
    assert_eq!((handle.version(), handle.lister().snapshot().version()), (None, None));
    let version = ResourceVersion::new("5");
    handle.wait_for_in("a", &version).await.unwrap();
    assert!(timeout(Duration::from_secs(1), handle.wait_for_in("b", &version)).await.is_err());
    // The others go on.
    a.tell("ADDED", "two", 6);
    seconds(1).await;
    assert_eq!(rig.told(), ["+a/two"]);

    b.list(&["one"]);
    timeout(Duration::from_secs(1), handle.wait_for_in("b", &version)).await.unwrap().unwrap();
    handle.synced().await.expect("it runs");
    seconds(1).await;
    assert!(late.has_synced());
    assert_eq!(
        (rig.told(), rig.keys()),
        (vec!["+b/one".to_owned()], ["a/one", "a/two", "b/one"].map(str::to_owned).to_vec())
    );
    assert_eq!(handle.version(), Some(version));
    b.tell("MODIFIED", "one", 7);
    seconds(1).await;
    assert_eq!(rig.told(), ["=b/one"]);
    rig.end().await;
}

/// Goal: before it runs, a namespace just joins the others, or leaves them without a request.
#[tokio::test(start_paused = true)]
async fn changed_before_it_runs() {
    let [a, b, c] = ["a", "b", "c"].map(|namespace| Source::of(namespace, &["one"]));
    let rig = Rig::new(&[&a, &b]);
    rig.add(&c);
    let removal = rig.handle.remove_namespace("a").unwrap();
    assert_eq!(rig.handle.namespaces(), ["b", "c"]);
    let mut rig = rig.run().await;
    timeout(Duration::from_secs(1), removal.finished()).await.unwrap();
    assert!(rig.handle.has_synced());
    assert_eq!((rig.keys(), a.asked().len()), (vec!["b/one".to_owned(), "c/one".to_owned()], 0));
    rig.end().await;
}

/// Goal: a namespace that is removed takes its objects with it, out of store and index in one step, and who was told of them hears of their end, inferred.
/// Nothing of it is left: no request, no task, no row. When it comes back, its objects are told of as added (I3).
#[tokio::test(start_paused = true)]
async fn removed_while_it_runs() {
    let (a, b) = (Source::of("a", &["one", "two"]), Source::of("b", &["one", "two"]));
    let mut rig = Rig::new(&[&a]).run().await;
    let alone = tasks();
    rig.add(&b);
    seconds(1).await;
    assert_eq!(rig.told(), ["+a/one", "+a/two", "+b/one", "+b/two"]);
    assert_eq!(tasks(), alone + 1);
    let version = ResourceVersion::new("1000");
    let waiting = tokio::spawn({
        let (handle, version) = (rig.handle.clone(), version.clone());
        async move { handle.wait_for_in("b", &version).await }
    });
    seconds(1).await;

    let removal = rig.handle.remove_namespace("b").unwrap();
    assert_eq!(waiting.await.unwrap(), Err(not_watched("b")), "it doesn't wait for the rest");
    removal.finished().await;
    assert_eq!(rig.keys(), ["a/one", "a/two"]);
    assert_eq!(rig.by_name.get("one").iter().map(|map| map.namespace().to_owned()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(rig.handle.lister().namespace("b").len(), 0);
    assert_eq!(rig.handle.lister().snapshot().len(), 2);
    seconds(1).await;
    assert_eq!(rig.told(), ["?b/one", "?b/two"]);
    assert_eq!(rig.handle.wait_for_in("b", &version).await, Err(not_watched("b")));
    assert_eq!((rig.handle.sync_status().reflectors.len(), tasks()), (1, alone));
    assert!(!b.feed.text("nobody reads it"), "its request was dropped");
    let asked = b.asked().len();
    seconds(3600).await;
    assert_eq!(b.asked().len(), asked);
    assert!(rig.handle.has_synced());

    let again = Source::of("b", &["three", "two"]);
    rig.add(&again);
    seconds(1).await;
    assert_eq!(rig.told(), ["+b/three", "+b/two"]);
    rig.end().await;
}

/// Goal: a namespace whose first list hangs can be removed, and then those who waited for it are synced, a registration too.
#[tokio::test(start_paused = true)]
async fn removed_while_its_first_list_hangs() {
    let (a, b) = (Source::of("a", &["one"]), Source::silent("b"));
    let mut rig = Rig::new(&[&a, &b]).run().await;
    let registration = rig.handle.add_handler(|_| {});
    seconds(5).await;
    assert!(!rig.handle.has_synced() && !registration.has_synced());
    let removal = rig.handle.remove_namespace("b").unwrap();
    timeout(Duration::from_secs(1), async { tokio::join!(rig.handle.synced(), removal.finished()) })
        .await
        .unwrap()
        .0
        .unwrap();
    seconds(1).await;
    assert!(registration.has_synced() && rig.handle.sync_status().is_synced());
    assert_eq!(rig.handle.version(), Some(ResourceVersion::new("5")));
    rig.end().await;
}

/// Goal: a namespace that is added, removed and added again before anything of that has happened is the last one, and its objects are told of once.
#[tokio::test(start_paused = true)]
async fn added_removed_and_added_at_once() {
    let a = Source::of("a", &["one"]);
    let mut rig = Rig::new(&[&a]).run().await;
    let sources: Vec<_> = (0..20).map(|_| Source::of("b", &["one"])).collect();
    let mut removals = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        if number > 0 {
            removals.push(rig.handle.remove_namespace("b").unwrap());
        }
        rig.add(source);
    }
    for removal in removals {
        timeout(Duration::from_secs(1), removal.finished()).await.unwrap();
    }
    seconds(1).await;
    assert_eq!(rig.told(), ["+a/one", "+b/one"]);
    assert_eq!((rig.handle.namespaces().len(), rig.keys().len()), (2, 2));
    // The last one, which is there, with a removal and an addition that meet in one turn.
    let next = Source::of("b", &["one", "two"]);
    rig.handle.remove_namespace("b").unwrap();
    rig.add(&next);
    seconds(1).await;
    assert_eq!(rig.told(), ["?b/one", "+b/one", "+b/two"]);
    assert!(sources[..19].iter().all(|source| source.asked().is_empty()));
    rig.end().await;
}

/// Goal: who waits for a version in all namespaces, or for what an audit finds, isn't held up by one that leaves.
#[tokio::test(start_paused = true)]
async fn those_who_wait_for_all() {
    let (a, b) = (Source::of("a", &["one"]), Source::silent("b"));
    let mut rig = Rig::new(&[&a, &b]).run().await;
    let (handle, version) = (rig.handle.clone(), ResourceVersion::new("9"));
    let waiting = tokio::spawn(async move { handle.wait_for(&version).await });
    let handle = rig.handle.clone();
    let auditing = tokio::spawn(async move { handle.audit().await });
    let one = object("a", "one", 4);
    a.script.on_list(Answer::body(format!(r#"{{"metadata":{{"resourceVersion":"5"}},"items":[{one}]}}"#)));
    seconds(1).await;
    a.tell("ADDED", "two", 9);
    seconds(1).await;
    assert!(!waiting.is_finished() && !auditing.is_finished());
    rig.handle.remove_namespace("b").unwrap();
    timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap().unwrap();
    let verdict = timeout(Duration::from_secs(1), auditing).await.unwrap().unwrap();
    assert_eq!(verdict, Verdict::Agrees { objects: 1 });
    rig.end().await;
}

/// Goal: what can't be is refused, and says why.
#[tokio::test(start_paused = true)]
async fn what_is_refused() {
    use NamespacesError::{Empty, Ended, NoSources, None, Twice, WholeScope};
    let (a, b) = (Source::of("a", &["one"]), Source::of("b", &["one"]));
    let mut rig = Rig::new(&[&a]).run().await;
    let add = |namespace: &str| rig.handle.add_namespace_from(namespace, b.list_watch());
    assert_eq!(add(""), Err(Empty));
    assert_eq!(add("a"), Err(Twice("a".to_owned())));
    assert_eq!(rig.handle.add_namespace("b"), Err(NoSources));
    assert_eq!(rig.handle.remove_namespace("b").unwrap_err(), not_watched("b"));
    assert_eq!(rig.handle.remove_namespace("a").unwrap_err(), None);
    assert_eq!(add("b"), Ok(()));
    assert!(rig.handle.remove_namespace("a").is_ok());
    assert_eq!(rig.handle.remove_namespace("a").unwrap_err(), not_watched("a"));
    rig.end().await;
    assert_eq!(rig.handle.add_namespace_from("c", b.list_watch()), Err(Ended));
    assert_eq!(rig.handle.remove_namespace("b").unwrap_err(), Ended);

    let whole = watchkeeper_informer::SharedInformer::<k8s_openapi::api::core::v1::ConfigMap>::new(
        a.list_watch(),
        watchkeeper_informer::InformerConfig::default(),
    );
    assert_eq!(whole.handle().add_namespace_from("c", b.list_watch()), Err(WholeScope));
    assert_eq!(whole.handle().remove_namespace("c").unwrap_err(), WholeScope);
    assert!(whole.handle().namespaces().is_empty());
}
