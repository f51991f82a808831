//! Stories of single objects.

use futures::StreamExt;
use watchkeeper_informer::decode::{DecodeFault, EventType};
use watchkeeper_informer::explain::{Finding, News, Stage, What};
use watchkeeper_informer::{
    Event, ExplainConfig, ExplainKeys, Finality, HandlerConfig, InformerConfig, Step, Story, Verdict,
};

use super::{Rig, UNCOALESCED, event, key, list, modified, object, poison, seconds};

fn explained(config: ExplainConfig) -> InformerConfig {
    InformerConfig { explain: Some(config), ..InformerConfig::default() }
}

/// Has listed a and b, with a handler.
async fn told() -> Rig {
    let rig = Rig::with(list(5, &[object("a", 3), object("b", 4)]), explained(ExplainConfig::default()), |informer| {
        informer.handle().add_handler_with(named("fast"), |_| {});
    })
    .await;
    assert_eq!(rig.handle.lister().list().len(), 2);
    rig
}

fn named(name: &str) -> HandlerConfig {
    HandlerConfig { name: name.to_owned(), ..HandlerConfig::default() }
}

/// What happened at this version.
fn at(steps: &[Step], version: u64) -> Vec<What> {
    let is_it = |step: &&Step| step.version.as_ref().is_some_and(|own| own.as_str() == version.to_string());
    steps.iter().filter(is_it).map(|step| step.what.clone()).collect()
}

/// `fast` was told.
fn fast(news: News) -> What {
    What::Told("fast".into(), news)
}

/// Goal: the way of an object through all stages, as a text for people, with nothing of its content.
#[tokio::test(start_paused = true)]
async fn a_story_reads_well() {
    let rig = told().await;
    rig.send([modified("a", 7)]).await;
    let story = Story(&rig.handle.explain(&key("a"))).to_string();
    assert_eq!(
        story.lines().collect::<Vec<_>>(),
        [
            "+0.000 s  reflector  a list shows it, version 3, uid u-a",
            "+0.000 s  queue      a list of 2 waits, in the place of all that waited before, version 5",
            "+0.000 s  store      a list of 2 takes the place of everything, version 5",
            "+0.000 s  store      added, version 3, uid u-a",
            "+0.000 s  handler    fast is told: added, version 3, uid u-a",
            "+1.000 s  reflector  the watch tells of it as Modified, version 7, uid u-a",
            "+1.000 s  queue      it waits for the store, version 7, uid u-a",
            "+1.000 s  store      updated, version 7, uid u-a",
            "+1.000 s  handler    fast is told: updated, version 7, uid u-a",
        ]
    );
    assert_eq!(Story(&[]).to_string(), "nothing is known of it");
    rig.stop().await;
}

/// Goal: where states are put together it shows which, and what came of them.
#[tokio::test(start_paused = true)]
async fn coalesced_updates() {
    let rig = told().await;
    let newest = 1_000 + UNCOALESCED + 9;
    rig.send((1_000..=newest).map(|version| modified("a", version))).await;
    let steps = rig.handle.explain(&key("a"));
    assert_eq!(at(&steps, 1_000), [What::Read(EventType::Modified), What::Pushed]);
    assert_eq!(
        at(&steps, newest),
        [
            What::Read(EventType::Modified),
            What::Pushed,
            What::Coalesced(1),
            What::Applied(News::Updated),
            fast(News::Updated)
        ]
    );
    let left_out = |step: &Step| if let What::Coalesced(more) = step.what { more } else { 0 };
    assert_eq!(steps.iter().map(left_out).sum::<u64>(), newest - 1_000);
    rig.stop().await;
}

/// Goal: a replay, and what can't be decoded, end where they are left out.
#[tokio::test(start_paused = true)]
async fn what_is_left_out() {
    let rig = told().await;
    rig.send([modified("a", 7)]).await;
    rig.send([modified("a", 6)]).await;
    rig.send([event("MODIFIED", &poison("a", 8))]).await;
    let steps = rig.handle.explain(&key("a"));
    assert_eq!(at(&steps, 6), [What::Read(EventType::Modified), What::DroppedAsStale]);
    let fault = DecodeFault::Shape("data: an integer, expected a map".into());
    assert_eq!(at(&steps, 8), [What::Read(EventType::Modified), What::Undecodable(fault)]);
    assert!(!format!("{steps:?}").contains("secret"), "nothing of its content");
    rig.stop().await;
}

/// Goal: a deletion that a watch told of, and one that only a list shows.
#[tokio::test(start_paused = true)]
async fn two_ends() {
    let rig = told().await;
    rig.send([event("DELETED", &object("a", 7))]).await;
    rig.relist(list(9, &[])).await;
    let steps = rig.handle.explain(&key("a"));
    let deleted = News::Deleted(Finality::Observed);
    assert_eq!(at(&steps, 7), [What::Read(EventType::Deleted), What::Pushed, What::Applied(deleted), fast(deleted)]);
    let steps = rig.handle.explain(&key("b"));
    let whats: Vec<_> = steps[steps.len() - 4..].iter().map(|step| step.what.clone()).collect();
    let inferred = News::Deleted(Finality::Inferred);
    assert_eq!(whats, [What::ListPushed(0), What::Replaced(0), What::Applied(inferred), fast(inferred)]);
    assert_eq!(steps.last().map(Step::stage), Some(Stage::Handler));
    rig.stop().await;
}

/// Goal: what a relist shows unchanged is told of no one, and said to be so.
#[tokio::test(start_paused = true)]
async fn an_unchanged_item() {
    let rig = told().await;
    rig.relist(list(9, &[object("a", 3), object("b", 8)])).await;
    assert_eq!(at(&rig.handle.explain(&key("a")), 3).last(), Some(&What::ListedUnchanged));
    let steps = rig.handle.explain(&key("b"));
    assert_eq!(at(&steps, 8), [What::ListedNew, What::Applied(News::Updated), fast(News::Updated)]);
    rig.stop().await;
}

/// Goal: a handler that lags shows by when, and at which version, it was told; and the documentation shows what is shown.
#[tokio::test(start_paused = true)]
async fn a_handler_that_lags() {
    let rig = Rig::with(list(5, &[object("a", 3)]), explained(ExplainConfig::default()), |_| {}).await;
    let mut slow = rig.handle.events_with(named("slow"));
    let before = rig.handle.explain(&key("a")).len();
    for version in [7, 6, 8] {
        rig.send([modified("a", version)]).await;
    }
    seconds(60).await;
    assert!(matches!(slow.next().await, Some(Event::Added { .. })));
    let story = Story(&rig.handle.explain(&key("a"))[before..]).to_string();
    let documented = include_str!("../../../../docs/sight.md");
    assert!(documented.contains(&format!("```text\n{story}\n```")), "{story}");
    rig.stop().await;
}

/// Goal: what an audit finds is part of the story of the objects it is about.
#[tokio::test(start_paused = true)]
async fn audits() {
    let rig = told().await;
    rig.server.on_list(list(5, &[object("a", 5), object("c", 4)]));
    rig.server.on_list(list(6, &[object("a", 5), object("c", 4)]));
    assert_eq!(rig.handle.audit().await, Verdict::Differs { missing: 1, stale: 1, phantoms: 1 });
    let whats = |name| rig.handle.explain(&key(name)).into_iter().map(|step| step.what).collect::<Vec<_>>();
    assert!(whats("a").contains(&What::AuditedStale) && whats("c").contains(&What::AuditedMissing));
    let found = What::Audited(Finding::Differs { missing: 1, stale: 1, phantoms: 1 });
    assert!(["a", "b", "c"].iter().all(|name| whats(name).contains(&found)));
    rig.stop().await;
}

/// Goal: the story of one key has nothing of another's, and a flood of one can be kept away from it.
#[tokio::test(start_paused = true)]
async fn two_keys_apart() {
    let only_a = ExplainConfig { steps: 32, keys: ExplainKeys::These([key("a")].into()) };
    for (config, knows_b) in [(ExplainConfig::default(), true), (only_a, false)] {
        let rig = Rig::with(list(5, &[object("a", 3), object("b", 4)]), explained(config), |_| {}).await;
        rig.send((10..60).map(|version| modified("b", version))).await;
        rig.send([modified("a", 100)]).await;
        let (a, b) = (rig.handle.explain(&key("a")), rig.handle.explain(&key("b")));
        assert!(a.iter().all(|step| step.key.as_ref().is_none_or(|own| *own == key("a"))));
        assert_eq!((at(&a, 3)[0].clone(), at(&a, 100).len()), (What::ListedNew, 3));
        assert_eq!(b.iter().any(|step| step.key.is_some()), knows_b);
        rig.stop().await;
    }
}

/// Goal: however much happens, no more steps are kept than were asked for, and the newest are.
#[tokio::test(start_paused = true)]
async fn the_ring_is_bounded() {
    let config = ExplainConfig { steps: 8, ..ExplainConfig::default() };
    let rig = Rig::with(list(5, &[object("a", 3)]), explained(config), |_| {}).await;
    for version in 10..60 {
        rig.send([modified("a", version)]).await;
    }
    let steps = rig.handle.explain(&key("a"));
    assert_eq!((steps.len(), steps.last().map(|step| &step.what)), (8, Some(&What::Applied(News::Updated))));
    assert_eq!(at(&steps, 59).len(), 3);
    rig.stop().await;
}
