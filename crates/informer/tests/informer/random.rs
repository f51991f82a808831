//! Random histories with faults, from a seed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube_client::api::{DeleteParams, PostParams};
use parking_lot::Mutex;
use watchkeeper_informer::Event;

use crate::world::{World, map, version};

/// What a handler believes: the version of every life it was told of and not yet told the end of.
type Believed = Arc<Mutex<HashMap<String, String>>>;

/// Registers a handler that checks the order of every life: Added, Updated with rising versions, Deleted, once each.
fn check_lives(world: &World) -> Believed {
    let believed = Believed::default();
    let mut ended = Vec::new();
    world.handle.add_handler({
        let believed = Arc::clone(&believed);
        move |event| {
            let uid = event.object().metadata.uid.clone().expect("stored objects have one");
            let at = version(event.object());
            let mut believed = believed.lock();
            match event {
                Event::Added { .. } => {
                    assert!(!ended.contains(&uid), "a life began twice");
                    assert!(believed.insert(uid, at.to_string()).is_none(), "added twice");
                }
                Event::Updated { old, .. } => {
                    let told = believed.insert(uid, at.to_string()).expect("updated before it was added");
                    assert_eq!(told, version(&old).to_string());
                    assert!(at.has_reached(&version(&old)) && at != version(&old), "went back");
                }
                Event::Deleted { .. } => {
                    assert!(believed.remove(&uid).is_some(), "deleted without being there");
                    ended.push(uid);
                }
                Event::Resync { .. } => unreachable!("nobody asked for it"),
            }
        }
    });
    believed
}

#[derive(Debug, Default)]
struct Fired {
    pulled: usize,
    closed: usize,
    compacted: usize,
    inferred: usize,
}

async fn run(seed: u64, fired: &mut Fired) {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::start(random.bool());
    let mut believed = vec![check_lives(&world)];
    for _ in 0..random.usize(20..80) {
        let name = format!("n{}", random.u8(0..6));
        match random.u8(0..20) {
            0..=7 => {
                let desired = map(&name, if random.bool() { "red" } else { "blue" });
                if world.api.replace(&name, &PostParams::default(), &desired).await.is_err() {
                    world.api.create(&PostParams::default(), &desired).await.expect("absent, so created");
                }
            }
            8..=11 => {
                let _absent = world.api.delete(&name, &DeleteParams::default()).await;
            }
            12..=13 => {
                fired.pulled += usize::from(world.cable.plugged.send_replace(random.bool()));
            }
            14 => {
                fired.closed += 1;
                world.server.close_watches();
            }
            15 => {
                fired.compacted += 1;
                world.server.compact(world.server.version());
            }
            16 if believed.len() < 4 => believed.push(check_lives(&world)),
            _ => tokio::time::sleep(Duration::from_millis(random.u64(0..20_000))).await,
        }
    }
    world.cable.plugged.send_replace(true);
    // Nobody asks for a list here: recovery by itself has to get there within its bounds.
    tokio::time::sleep(Duration::from_secs(600 + 60)).await;
    world.assert_equal().await;
    let lister = world.handle.lister();
    let present: HashMap<_, _> =
        lister.list().iter().map(|map| (map.metadata.uid.clone().expect("stored"), version(map).to_string())).collect();
    for (number, believed) in believed.iter().enumerate() {
        assert_eq!(*believed.lock(), present, "handler {number}");
    }
    for color in ["red", "blue"] {
        let has_color = |map: &&Arc<_>| color_of(map) == color;
        let listed = lister.list();
        assert_eq!(world.by_color.get(&color.to_owned()).len(), listed.iter().filter(has_color).count());
    }
    let status = world.handle.sync_status();
    assert!(status.is_synced(), "{status}");
    assert!(status.handlers.iter().all(|handler| handler.panics == 0 && handler.pending == 0), "{:?}", status.handlers);
    fired.inferred += world.heard.lock().iter().filter(|told| told.ends_with("Inferred")).count();
    world.stop().await;
}

fn color_of(map: &k8s_openapi::api::core::v1::ConfigMap) -> &str {
    map.data.as_ref().and_then(|data| data.get("color")).map_or("", String::as_str)
}

/// Goal: I1, I2, I3, I5: whatever is written, cut, closed and compacted, every handler is told every life in order and
/// in the end believes what a fresh list says. Method: 200 seeds, each its own runtime under paused time; a failure
/// names its seed; every kind of fault must have happened.
#[test]
fn every_history_ends_in_the_truth() {
    let mut fired = Fired::default();
    for seed in 0..200 {
        println!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(run(seed, &mut fired));
    }
    println!("{fired:?}");
    assert!(fired.pulled > 0 && fired.closed > 0 && fired.compacted > 0 && fired.inferred > 0, "{fired:?}");
}
