//! tools/cache, reflector_data_consistency_detector_test.go, and util/consistencydetector: whether what is cached is what the
//! server has. Upstream asks in its own tests, once after a list, and panics; here an audit asks at any time, and answers.

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::core::DynamicObject;
use serde_json::{Value, json};
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::scripted::{Answer, ScriptedListWatch};
use watchkeeper_informer::{DeltaOrder, ReflectorConfig, Verdict};

use crate::rig::*;

/// TestReflectorDataConsistencyDetector: no false alarm, with either queue, with and without a change to each object.
#[tokio::test(start_paused = true)]
async fn reflector_data_consistency_detector() {
    for order in [DeltaOrder::Coalescing, DeltaOrder::Ordered] {
        for transformed in [false, true] {
            let server = script();
            server.on_watch(Answer::live_with(added("pod-1", 1) + &initial_end(1)));
            server.on_list(list(1, &[object("pod-1", 1)]));
            let decoder = Decoder::new(DecoderConfig::default()).with_transform(move |object: &mut ConfigMap| {
                if transformed {
                    object.metadata.labels = Some([("transformed".to_owned(), "true".to_owned())].into());
                }
            });
            let rig = Setup { decoder, order, ..Maps::streaming() }.start(&server);
            assert_eq!(rig.audit().await, Verdict::Agrees { objects: 1 });
            assert_eq!(
                (rig.asked(), rig.cached()),
                (vec!["stream".into(), "list at 1 500".into()], vec!["pod-1=1".into()])
            );
            assert_eq!(rig.get("pod-1").metadata.labels.is_some(), transformed);
        }
    }
}

/// A script with a cache of these objects at 2; it is audited next.
fn at_two(items: &[Value]) -> ScriptedListWatch {
    let server = script();
    server.on_list(list(2, items)).on_watch(Answer::live_with(""));
    server
}

/// TestDataConsistencyChecker: one list of exactly the version reached, in pages of the configured size. What agrees is said to
/// agree, also nothing, also of kinds known at run time; what differs is said to differ, and is made good. Nothing is asked
/// before there is a first list, so never for version 0, and never for a part of a list.
#[tokio::test(start_paused = true)]
async fn data_consistency_checker() {
    let (p1, p2, p3) = (object("p1", 1), object("p2", 2), object("p3", 2));
    let two = [p1.clone(), p2.clone()];
    for (cached, truth, verdict) in [
        (&two[..], &two[..], Verdict::Agrees { objects: 2 }),
        (&[], &[], Verdict::Agrees { objects: 0 }),
        (&two, &[p1, p2, p3][..], Verdict::Differs { missing: 1, stale: 0, phantoms: 0 }),
    ] {
        let server = at_two(cached);
        server.on_list(list(2, truth)).on_list(list(2, truth));
        let rig = Maps::paged().start(&server);
        assert_eq!(rig.audit().await, verdict);
        seconds(5).await;
        let differs = matches!(verdict, Verdict::Differs { .. });
        let asked = ["list 500", "watch 2", "list at 2 500", "list 500", "watch 2"];
        assert_eq!(rig.asked(), asked[..if differs { 5 } else { 3 }]);
        assert_eq!(rig.cached().len(), truth.len());
    }

    let dynamic = |name: &str| {
        let mut object = object(name, 1);
        (object["apiVersion"], object["kind"]) = (json!("v1"), json!("Thing"));
        object
    };
    let items = [dynamic("item1"), dynamic("item2")];
    let server = at_two(&items);
    server.on_list(list(2, &items));
    let rig = Setup::<DynamicObject>::paged().start(&server);
    assert_eq!(rig.audit().await, Verdict::Agrees { objects: 2 });

    let server = at_two(&two);
    server.on_list(page(2, &two[..1], "t")).on_list(page(2, &two[1..], ""));
    let rig = Maps::paged().page_size(1).start(&server);
    assert_eq!(rig.audit().await, Verdict::Agrees { objects: 2 });
    assert_eq!(rig.asked(), ["list 1", "watch 2", "list at 2 1", "list at 2 1 t"]);

    let server = script();
    let rig = Maps::paged().start(&server);
    let audit = rig.handle.audit();
    assert!(tokio::time::timeout(std::time::Duration::from_secs(50), audit).await.is_err());
    assert_eq!((rig.asked(), rig.status().counts.audits), (vec!["list 500".to_owned()], 0));
}

/// TestDataConsistencyCheckerRetry: an audit that can't read says so and doesn't ask again by itself, unlike upstream's: the next
/// one does. The watch goes on.
#[tokio::test(start_paused = true)]
async fn data_consistency_checker_retry() {
    let server = at_two(&[]);
    on_lists(&server, (0..4).map(|_| refused_connection()));
    server.on_list(list(2, &[]));
    let config = ReflectorConfig { streaming_list: false, audit: None, ..ReflectorConfig::default() };
    let rig = Setup { config, ..Maps::paged() }.start(&server);
    for _ in 0..4 {
        assert_eq!(rig.audit().await, Verdict::Unknown("no answer: connection refused".to_owned()));
    }
    assert_eq!(rig.audit().await, Verdict::Agrees { objects: 0 });
    seconds(60).await;
    assert_eq!(rig.asked(), [&["list 500", "watch 2"][..], &["list at 2 500"; 5]].concat());
    assert_eq!((rig.status().counts.audits, rig.status().counts.gaps, rig.status().failing), (5, 0, None));
}
