//! The recovery table, row by row.

use std::time::Duration;

use watchkeeper_informer::frame::FrameError;
use watchkeeper_informer::recovery::{Next, Phase, RETRY_AFTER_CAP, Step, Trouble, Wait, WatchPhase, next_step};
use watchkeeper_informer::request_error::{Awaited, Cause, Refusal, RequestError};

fn refused(code: u16) -> Trouble {
    Trouble::Failed(RequestError::Refused(Refusal { code, ..Refusal::default() }))
}

fn timed_out(waited_for: Awaited) -> Trouble {
    Trouble::Failed(RequestError::TimedOut { waited_for, bound: Duration::from_secs(1) })
}

fn too_large(spelling: u8) -> Trouble {
    let text = "Too large resource version: 9, current: 3".to_owned();
    let mut refusal = Refusal { code: 504, reason: "Timeout".to_owned(), ..Refusal::default() };
    match spelling {
        0 => refusal.causes.push(Cause { reason: "ResourceVersionTooLarge".to_owned(), ..Cause::default() }),
        1 => refusal.causes.push(Cause { message: text, ..Cause::default() }),
        _ => refusal.message = text,
    }
    Trouble::Failed(RequestError::Refused(refusal))
}

const STREAMING: Phase = Phase::StreamingList { any_event: false, missed_before: false };
const STREAMING_EVENTS: Phase = Phase::StreamingList { any_event: true, missed_before: false };
const STREAMING_AGAIN: Phase = Phase::StreamingList { any_event: false, missed_before: true };
const LIST: Phase = Phase::List { continued: false };
const PAGE: Phase = Phase::List { continued: true };
const IDLE: WatchPhase =
    WatchPhase { open: true, delivered: false, short: false, listed_recently: false, malformed_before: false };
const LIVE: WatchPhase = WatchPhase { delivered: true, ..IDLE };
const OPENING: WatchPhase = WatchPhase { open: false, short: true, ..IDLE };
const YOUNG: WatchPhase = WatchPhase { listed_recently: true, ..LIVE };
const ASKING: Phase = Phase::NewestVersion { listed_recently: false };

/// Goal: every row of the table in the module's documentation.
#[test]
fn table() {
    let unreachable = || Trouble::Failed(RequestError::Unreachable("refused".to_owned()));
    let cut = || Trouble::Failed(RequestError::Cut("reset".to_owned()));
    let garbage = || Trouble::from(FrameError::Truncated("a watch event"));
    let watch = Phase::Watch;
    let rows = [
        (refused(422), STREAMING, Next::PagedListForGood, false),
        (refused(400), STREAMING, Next::PagedListForGood, false),
        (refused(405), STREAMING, Next::PagedListForGood, false),
        (Trouble::Ended, STREAMING_EVENTS, Next::PagedListForGood, false),
        (timed_out(Awaited::EndOfInitialEvents), STREAMING_EVENTS, Next::PagedListForGood, false),
        (Trouble::Ended, STREAMING, Next::List, true),
        (Trouble::Ended, STREAMING_AGAIN, Next::PagedListForGood, true),
        (timed_out(Awaited::Data), STREAMING_AGAIN, Next::PagedListForGood, true),
        (timed_out(Awaited::Answer), STREAMING_AGAIN, Next::List, true),
        (refused(403), STREAMING, Next::List, true),
        (refused(500), STREAMING_EVENTS, Next::List, true),
        (cut(), STREAMING_EVENTS, Next::List, true),
        (refused(410), LIST, Next::List, true),
        (refused(410), PAGE, Next::UnpagedList, false),
        (garbage(), PAGE, Next::UnpagedList, true),
        (garbage(), LIST, Next::List, true),
        (refused(429), PAGE, Next::List, true),
        (refused(404), LIST, Next::List, true),
        (timed_out(Awaited::Data), LIST, Next::List, true),
        (refused(410), watch(OPENING), Next::List, false),
        (refused(410), watch(LIVE), Next::List, false),
        (refused(410), watch(YOUNG), Next::List, true),
        (too_large(0), watch(IDLE), Next::List, false),
        (too_large(1), watch(IDLE), Next::List, false),
        (too_large(2), watch(YOUNG), Next::List, true),
        (refused(401), watch(OPENING), Next::Watch, true),
        (refused(403), watch(OPENING), Next::Watch, true),
        (refused(404), watch(OPENING), Next::Watch, true),
        (refused(429), watch(OPENING), Next::Watch, true),
        (refused(502), watch(OPENING), Next::Watch, true),
        (refused(503), watch(OPENING), Next::Watch, true),
        (refused(500), watch(OPENING), Next::List, true),
        (refused(400), watch(OPENING), Next::List, true),
        (refused(429), watch(LIVE), Next::Watch, true),
        (refused(500), watch(LIVE), Next::List, true),
        (refused(403), watch(LIVE), Next::List, true),
        (unreachable(), watch(OPENING), Next::Watch, true),
        (timed_out(Awaited::Answer), watch(OPENING), Next::Watch, true),
        (cut(), watch(LIVE), Next::Watch, true),
        (garbage(), watch(LIVE), Next::Watch, true),
        (garbage(), watch(WatchPhase { malformed_before: true, ..LIVE }), Next::List, true),
        (timed_out(Awaited::Data), watch(LIVE), Next::Watch, true),
        (timed_out(Awaited::Data), watch(IDLE), Next::NewestVersion, true),
        (timed_out(Awaited::End), watch(LIVE), Next::Watch, false),
        (timed_out(Awaited::End), watch(IDLE), Next::NewestVersion, false),
        (timed_out(Awaited::End), LIST, Next::List, true),
        (Trouble::Ended, watch(LIVE), Next::Watch, false),
        (Trouble::Ended, watch(WatchPhase { short: true, ..IDLE }), Next::Watch, true),
        (Trouble::Ended, watch(IDLE), Next::NewestVersion, false),
        (Trouble::UndecodableChange, watch(LIVE), Next::List, true),
        (Trouble::WentBackwards, ASKING, Next::List, false),
        (Trouble::WentBackwards, Phase::NewestVersion { listed_recently: true }, Next::List, true),
        (Trouble::UpToDate, ASKING, Next::Watch, false),
        (unreachable(), ASKING, Next::Watch, true),
    ];
    for (trouble, phase, next, backs_off) in rows {
        let wait = if backs_off { Wait::Backoff } else { Wait::None };
        assert_eq!(next_step(&trouble, phase), Step { next, wait }, "{trouble:?} in {phase:?}");
    }
}

/// Goal: a time the server names is followed, up to the cap, wherever there is a wait at all.
#[test]
fn retry_after_is_capped() {
    for (asked, expected) in [(5, Duration::from_secs(5)), (86_400, RETRY_AFTER_CAP), (u64::MAX, RETRY_AFTER_CAP)] {
        let retry_after = Some(Duration::from_secs(asked));
        let refusal = Refusal { code: 429, retry_after, ..Refusal::default() };
        let trouble = Trouble::Failed(RequestError::Refused(refusal));
        for phase in [LIST, STREAMING, Phase::Watch(OPENING)] {
            assert_eq!(next_step(&trouble, phase).wait, Wait::BackoffAndAtLeast(expected));
        }
    }
}
