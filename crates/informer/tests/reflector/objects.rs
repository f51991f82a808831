//! Objects that can't be read, don't change, or are older than what is cached.

use super::*;

/// Goal: undecodable objects are reported by key and version and never stop the others; what was cached of one stays
/// through a list; a later version heals it; a deletion that can't be decoded is settled by a list.
#[tokio::test(start_paused = true)]
async fn undecodable_objects() {
    let server = ScriptedListWatch::new();
    server.on_list(list(5, &[poison("p", 1), object("a", 2), "{\"data\":{}}".to_owned()], ""));
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let rig = Rig::paged(&server);
    seconds(1).await;
    assert_eq!(rig.cached(), ["d/a=2"]);
    feed.text(event("MODIFIED", &poison("a", 6)) + &event("MODIFIED", &object("p", 7)));
    seconds(1).await;
    assert_eq!((rig.cached(), rig.version()), (vec!["d/a=2".to_owned(), "d/p=7".to_owned()], "7".to_owned()));
    let quarantined = || {
        let name = |found: &Undecodable| {
            let version = found.version.as_ref();
            found.key.as_ref().map_or("?".to_owned(), |key| format!("{key}@{}", version.expect("known")))
        };
        rig.handle.quarantine().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(quarantined(), ["?", "d/a@6"], "`p` is decoded by now");
    // The list shows `a` still undecodable: it stays as it was, and nobody hears of a deletion.
    server.on_list(list(8, &[poison("a", 6), object("p", 7)], ""));
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    rig.handle.relist();
    seconds(2).await;
    assert_eq!(rig.cached(), ["d/a=2", "d/p=7"]);
    assert_eq!(quarantined(), ["d/a@6"]);
    server.on_list(list(10, &[object("p", 7)], ""));
    feed.text(event("DELETED", &poison("a", 9)));
    seconds(3).await;
    assert_eq!(rig.cached(), ["d/p=7"]);
    assert_eq!(rig.asked().last().unwrap(), "watch 10");
    let counts = rig.status().counts;
    assert_eq!((quarantined().len(), counts.undecodable, counts.healed), (0, 5, 3));
}

/// Goal: of many objects that can't be decoded the log speaks a few times, with the first one's name and what is wrong with it, not at
/// each of them; and once when all can be again.
#[tokio::test(start_paused = true)]
async fn many_undecodable_objects_are_a_few_lines() {
    let (lines, _logging) = Lines::logged(LevelFilter::INFO);
    let names: Vec<String> = (0..300).map(|number| format!("p{number:03}")).collect();
    let server = ScriptedListWatch::new();
    server.on_list(list(5, &names.iter().map(|name| poison(name, 1)).collect::<Vec<_>>(), ""));
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let rig = Rig::paged(&server);
    seconds(1).await;
    let change = |round: u64, object: fn(&str, u64) -> String| {
        let changes = (300 * round..).zip(&names).map(|(version, name)| event("MODIFIED", &object(name, version)));
        feed.text(changes.collect::<String>());
    };
    for round in 1..5 {
        change(round, poison);
        seconds(1).await;
    }
    assert_eq!((rig.handle.quarantine().len(), rig.status().counts.undecodable), (300, 5 * 300));
    change(5, object);
    seconds(1).await;
    let text = lines.text();
    let spoken: Vec<&str> = text.lines().filter(|line| line.contains("decoded")).collect();
    assert_eq!(spoken.len(), 9 + 1 + 1, "1, 2, 4, ... 256, the end of the list, all well: {spoken:#?}");
    assert!(
        spoken[0].contains("WARN")
            && spoken[0].contains("d/p000")
            && spoken[0].contains("data: an integer, expected a map")
    );
    assert!(spoken[9].contains("quarantined=300") && spoken[10].contains("INFO"), "{spoken:#?}");
}

/// Goal: a relist of unchanged data decodes nothing. Method: the second list's items can't be decoded at all.
#[tokio::test(start_paused = true)]
async fn unchanged_relist_decodes_nothing() {
    let server = ScriptedListWatch::new();
    server.on_watch(Answer::live_with(
        event("ADDED", &object("a", 1)) + &event("ADDED", &object("b", 2)) + &bookmark(5, true),
    ));
    server.on_watch(Answer::live_with(
        event("ADDED", &poison("a", 1)) + &event("ADDED", &poison("b", 2)) + &bookmark(6, true),
    ));
    let rig = Rig::streaming(&server);
    seconds(1).await;
    rig.handle.relist();
    seconds(2).await;
    let counts = rig.status().counts;
    assert_eq!((counts.replacements, counts.unchanged, counts.undecodable), (2, 2, 0));
    assert_eq!((rig.cached(), rig.asked().len()), (vec!["d/a=1".to_owned(), "d/b=2".to_owned()], 2));
}

/// Goal: after a restore from a backup the server's version is behind ours and its watch is silent for ever: that is
/// found out, and the older state is taken.
#[tokio::test(start_paused = true)]
async fn versions_that_went_backwards() {
    let server = ScriptedListWatch::new();
    server.on_list(list(50, &[object("a", 40)], ""));
    server.on_watch(Answer::pieces([Piece::Silence(Duration::from_secs(3600))]));
    server.on_list(list(20, &[], "")).on_list(list(20, &[object("a", 10)], ""));
    let rig = Rig::paged(&server);
    seconds(300).await;
    assert_eq!(rig.asked(), ["list 500", "watch 50", "newest", "list 500", "watch 20"]);
    assert_eq!(rig.cached(), ["d/a=10"]);
}

/// The object as `object` has it, but without a version.
fn unversioned(name: &str) -> String {
    object(name, 0).replace(r#","resourceVersion":"0""#, "")
}

/// Goal: a change that doesn't say its version isn't skipped: a list tells what it was. (Found by a simulation: the next
/// change carried the version beyond it, and it was lost.)
#[tokio::test(start_paused = true)]
async fn a_change_without_a_version_is_made_good_by_a_list() {
    let server = ScriptedListWatch::new();
    server.on_list(list(5, &[object("a", 2), object("b", 3)], ""));
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let rig = Rig::paged(&server);
    seconds(1).await;
    server.on_list(list(8, &[object("a", 6), object("b", 7)], ""));
    feed.text(event("MODIFIED", &unversioned("a")) + &event("MODIFIED", &object("b", 7)));
    seconds(5).await;
    assert_eq!(rig.cached(), ["d/a=6", "d/b=7"]);
    assert_eq!(rig.asked(), ["list 500", "watch 5", "list 500", "watch 8"]);
}

/// Goal: an item of a list that doesn't say its version is there all the same: nobody hears of a deletion, and another
/// list is asked for, without a loop. (Found by a simulation: it was taken for deleted.)
#[tokio::test(start_paused = true)]
async fn an_item_without_a_version_is_not_taken_for_deleted() {
    let server = ScriptedListWatch::new();
    server.on_list(list(5, &[object("a", 2)], ""));
    let rig = Rig::paged(&server);
    seconds(1).await;
    server.on_list(list(9, &[unversioned("a"), unversioned("new")], ""));
    server.on_list(list(9, &[object("a", 7), object("new", 8)], ""));
    rig.handle.relist();
    seconds(1).await;
    assert_eq!(rig.cached(), ["d/a=2"]);
    seconds(60).await;
    assert_eq!(rig.cached(), ["d/a=7", "d/new=8"]);
    let lists = rig.asked().iter().filter(|asked| asked.starts_with("list")).count();
    assert_eq!(lists, 3, "{:?}", rig.asked());
}

/// Goal: among the initial events of a streaming list a deletion counts even if it doesn't say its version; one that doesn't
/// say its name is made good by another list; and of an object shown twice the newer state stays.
#[tokio::test(start_paused = true)]
async fn initial_events_in_any_state() {
    let server = ScriptedListWatch::new();
    let added = |name: &str, version| event("ADDED", &object(name, version));
    let events = [added("a", 1), added("b", 7), added("c", 4), added("b", 3), event("DELETED", &unversioned("a"))];
    server.on_watch(Answer::live_with(events.concat() + &bookmark(9, true)));
    let rig = Rig::streaming(&server);
    seconds(60).await;
    assert_eq!(rig.cached(), ["d/b=7", "d/c=4"]);
    assert_eq!(rig.asked(), ["stream"]);

    let server = ScriptedListWatch::new();
    let nameless = event("DELETED", r#"{"metadata":{"resourceVersion":"5"}}"#);
    server.on_watch(Answer::live_with(added("a", 1) + &nameless + &bookmark(9, true)));
    server.on_watch(Answer::live_with(bookmark(9, true)));
    let rig = Rig::streaming(&server);
    seconds(60).await;
    assert_eq!((rig.asked(), rig.cached()), (vec!["stream".to_owned(); 2], Vec::new()));
}

/// Goal: however many changes come among the initial events, no more is kept than the objects there are.
#[tokio::test(start_paused = true)]
async fn initial_events_are_settled() {
    let server = ScriptedListWatch::new();
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let rig = Rig::streaming(&server);
    for round in 0..30_u64 {
        let changes = (0..10_000).map(|n| event("ADDED", &object(&format!("o-{}", n % 100), 1 + round * 10_000 + n)));
        assert!(feed.text(changes.collect::<String>()));
        seconds(1).await;
    }
    assert!(feed.text(bookmark(900_000, true)));
    seconds(1).await;
    assert_eq!((rig.cached().len(), rig.cached()[0].as_str()), (100, "d/o-0=299901"));
}
