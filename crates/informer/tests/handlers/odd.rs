//! Objects that lack what tells them apart.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::delta_fifo::{Delta, Relisted, Replacement};
use watchkeeper_informer::scripted::{Answer, ScriptedListWatch};
use watchkeeper_informer::{
    Cached, DeltaFifo, Event, InformerConfig, ObjectKey, Processor, ResourceVersion, SharedInformer,
};

use crate::rig::{Heard, settle, text};

#[derive(Debug)]
struct Odd {
    name: &'static str,
    uid: &'static str,
    version: &'static str,
}

impl Cached for Odd {
    fn namespace(&self) -> &str {
        ""
    }
    fn name(&self) -> &str {
        self.name
    }
    fn uid(&self) -> &str {
        self.uid
    }
    fn version(&self) -> &str {
        self.version
    }
}

fn told(event: &Event<Odd>) -> String {
    let what = match event {
        Event::Added { .. } => "added",
        Event::Updated { .. } => "updated",
        Event::Deleted { .. } => "deleted",
        Event::Resync { .. } => "resync",
    };
    let object = event.object();
    format!("{what} {:?} {:?} {:?}", object.name, object.uid, object.version)
}

/// Goal: objects without name, uid or version, which only a producer of one's own can bring (a reflector passes over what has no
/// name), are cached and told of under the key they have: without a uid one life is as another, without a version each state is
/// news; nothing panics, nothing is told twice. Method: the store, a source and a handler behind a queue that is filled by hand.
#[tokio::test(start_paused = true)]
async fn without_name_uid_or_version() {
    let fifo = DeltaFifo::new();
    let mut processor = Processor::new(fifo.clone());
    let (sourced, heard) = (Heard::default(), Arc::new(Mutex::new(Vec::new())));
    processor.add_source({
        let sourced = Arc::clone(&sourced);
        move |event| sourced.lock().push(told(event))
    });
    let handler = processor.add_handler({
        let heard = Arc::clone(&heard);
        move |event| heard.lock().push(told(&event))
    });
    let (store, stop) = (processor.store(), CancellationToken::new());
    let run = tokio::spawn(processor.run(stop.clone()));
    let at = |version: u64| ResourceVersion::new(&version.to_string());
    let odd = |name, uid, version| Arc::new(Odd { name, uid, version });
    let items = vec![Relisted::new(odd("", "", "")), Relisted::new(odd("a", "", "1"))];
    fifo.replace(Replacement { items, version: at(1) });
    settle().await;
    assert_eq!(handler.synced().await, Ok(()));
    assert!(store.get(&ObjectKey::new("", "")).is_some());
    for (version, delta) in (2..).zip([
        Delta::Applied(odd("", "", "")),
        Delta::Applied(odd("a", "", "2")),
        Delta::Applied(odd("a", "u", "3")),
        Delta::Deleted(odd("", "", "")),
        Delta::Deleted(odd("", "", "")),
        Delta::Deleted(odd("never there", "", "")),
    ]) {
        fifo.push(delta, 1, at(version));
        settle().await;
    }
    assert_eq!((store.len(), store.is_empty()), (1, false));
    stop.cancel();
    run.await.expect("no panic");
    let expected = [
        r#"added "" "" """#,
        r#"added "a" "" "1""#,
        r#"updated "" "" """#,
        r#"updated "a" "" "2""#,
        r#"deleted "a" "" "2""#,
        r#"added "a" "u" "3""#,
        r#"deleted "" "" """#,
    ];
    assert_eq!(*heard.lock(), expected);
    assert_eq!(*sourced.lock(), expected);
}

/// Goal: the same off the wire: what has no uid lives and dies by its name, nobody is told of what has no name. Method: a watch that sends both.
#[tokio::test(start_paused = true)]
async fn lives_without_a_uid() {
    let (server, (answer, feed)) = (ScriptedListWatch::new(), Answer::live());
    server.on_watch(answer);
    let informer = SharedInformer::<ConfigMap>::new(Arc::new(server), InformerConfig::default());
    let (handle, stop, heard) = (informer.handle(), CancellationToken::new(), Heard::default());
    handle.add_handler({
        let heard = Arc::clone(&heard);
        move |event| heard.lock().push(text(&event))
    });
    let run = tokio::spawn(informer.run(stop.clone()));
    let end = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
    for (kind, metadata) in [
        ("BOOKMARK", format!(r#""resourceVersion":"1",{end}"#)),
        ("ADDED", r#""name":"a","resourceVersion":"2""#.to_owned()),
        ("MODIFIED", r#""name":"a","resourceVersion":"4""#.to_owned()),
        ("DELETED", r#""name":"a","resourceVersion":"5""#.to_owned()),
        ("ADDED", r#""uid":"u","resourceVersion":"6""#.to_owned()),
    ] {
        assert!(feed.text(format!(r#"{{"type":"{kind}","object":{{"metadata":{{{metadata}}}}}}}"#) + "\n"));
        settle().await;
    }
    assert_eq!(*heard.lock(), ["added a", "updated a", "deleted a"]);
    assert_eq!((handle.lister().len(), handle.quarantine().len()), (0, 1), "{:?}", handle.quarantine());
    stop.cancel();
    run.await.expect("it ends");
}
