//! Goal: no bytes break what reads them, and how they were cut makes no difference. Method: true bodies, mutated and cut at
//! random; a failure prints the seed of its round. `WATCHKEEPER_FUZZ_SECONDS` says how long each target runs (default 1),
//! `WATCHKEEPER_FUZZ_SEED` where it begins.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::cmp::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use watchkeeper_informer::Refusal;
use watchkeeper_informer::decode::{bookmark, identity, watch_frame};
use watchkeeper_informer::frame::{Frame, FrameError, FrameLimits, ListEnd, ListSplitter, WatchSplitter};
use watchkeeper_informer::version;

const LIST: &str = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"42","continue":"t","remainingItemCount":3},"items":[{"metadata":{"namespace":"n","name":"a","uid":"u","resourceVersion":"7","managedFields":[{"fieldsV1":{"f:a":{"k:{\"x\":1}":{}}}}]},"spec":{"args":["}]\"\\","é𝄞"]}},{"metadata":{"name":"b","resourceVersion":"8"},"data":{"x":[[[{}]],-1.5e3,true,null]}}]}"#;
const WATCH: &str = concat!(
    r#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a","resourceVersion":"7"},"spec":{"x":["}\\\"",{}]}}}"#,
    "\n",
    r#"{"object":{"metadata":{"name":"a","resourceVersion":"8"}},"type":"DELETED"}"#,
    "\n",
    r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
    "\n",
    r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old","details":{"causes":[{"reason":"x"}],"retryAfterSeconds":1}}}"#,
    "\n"
);

/// A round takes well under a millisecond; one that takes this many seconds never ends. They are counted one by one, so that a
/// machine that was stopped for a while proves nothing.
const ENDLESS: u32 = 60;

/// Plays rounds for as long as is asked, each from a seed of its own. An endless one ends the whole process, with its seed.
fn rounds(target: &'static str, mut round: impl FnMut(&mut Rng)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let first = number("WATCHKEEPER_FUZZ_SEED").unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(number("WATCHKEEPER_FUZZ_SECONDS").unwrap_or(1));
    let mut seed = first;
    let (begins, begun) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut playing, mut seconds) = (first, 0);
        while seconds < ENDLESS {
            match begun.recv_timeout(Duration::from_secs(1)) {
                Ok(seed) => (playing, seconds) = (seed, 0),
                Err(RecvTimeoutError::Timeout) => seconds += 1,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        eprintln!("{target}: endless, again with WATCHKEEPER_FUZZ_SEED={playing}");
        std::process::exit(1);
    });
    while Instant::now() < until {
        begins.send(seed).expect("the watchdog is there");
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| round(&mut Rng::with_seed(seed))));
        if let Err(panic) = played {
            eprintln!("{target}: again with WATCHKEEPER_FUZZ_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        seed += 1;
    }
    println!("{target}: {} rounds", seed - first);
}

/// A body with up to six things done to it; sometimes none.
fn mutated(body: &str, random: &mut Rng) -> Vec<u8> {
    const BYTES: &[u8] = b"\"\\{}[],:0-9.eEtfnu \n\xff\xc3\x00";
    let mut bytes = body.as_bytes().to_vec();
    for _ in 0..random.usize(..7) {
        let at = random.usize(..=bytes.len());
        let byte = BYTES[random.usize(..BYTES.len())];
        match random.u8(..6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => bytes[at] = byte,
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => {
                let end = (at + random.usize(..40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => bytes.splice(at..at, std::iter::repeat_n(b'[', random.usize(..12_000))).for_each(drop),
        }
    }
    bytes
}

/// The body in pieces of random sizes.
fn pieces<'a>(body: &'a [u8], random: &mut Rng) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = (0..random.usize(..9)).map(|_| random.usize(..=body.len())).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

fn split_list(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Result<ListEnd, FrameError>) {
    let (mut splitter, mut items) = (ListSplitter::new(FrameLimits { item: 5_000, list_metadata: 500 }), Vec::new());
    for piece in pieces {
        let pushed = splitter.push(piece, |item| {
            items.push(item.to_vec());
            Ok::<(), FrameError>(())
        });
        if let Err(error) = pushed {
            return (items, Err(error));
        }
    }
    (items, splitter.finish())
}

/// Types and objects, read as the reflector reads them.
fn split_watch(pieces: &[&[u8]]) -> (Vec<String>, Result<(), FrameError>) {
    let (mut splitter, mut events) = (WatchSplitter::new(FrameLimits { item: 5_000, list_metadata: 500 }), Vec::new());
    for piece in pieces {
        let pushed = splitter.push(piece, |frame| {
            let bytes = frame.bytes();
            let read = watch_frame(frame);
            // What the cutting knows must be what looking finds.
            assert_eq!(read, watch_frame(Frame::from(bytes)));
            let event = read?;
            events.push(format!("{:?} {}", event.event_type, String::from_utf8_lossy(event.object)));
            Ok::<(), FrameError>(())
        });
        if let Err(error) = pushed {
            return (events, Err(error));
        }
    }
    (events, splitter.finish())
}

#[test]
fn lists() {
    rounds("lists", |random| {
        let body = mutated(LIST, random);
        let whole = split_list(&[&body]);
        assert_eq!(split_list(&pieces(&body, random)), whole);
        for item in &whole.0 {
            // A name, or a fault; of what serde_json can read, the same name.
            let found = identity(item).map(|identity| (identity.name.into_owned(), identity.version.into_owned()));
            if let (Ok((name, version)), Ok(value)) = (found, serde_json::from_slice::<Value>(item)) {
                let duplicated = item.windows(6).filter(|part| part == b"\"name\"").count() > 1
                    || item.windows(10).filter(|part| part == b"\"metadata\"").count() > 1
                    || item.windows(17).filter(|part| part == b"\"resourceVersion\"").count() > 1;
                let theirs = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
                assert!(duplicated || (name, version) == (theirs("name"), theirs("resourceVersion")), "{value}");
            }
        }
    });
}

#[test]
fn watches() {
    rounds("watches", |random| {
        let body = mutated(WATCH, random);
        let whole = split_watch(&[&body]);
        assert_eq!(split_watch(&pieces(&body, random)), whole);
        _ = bookmark(&body);
    });
}

#[test]
fn statuses() {
    rounds("statuses", |random| {
        let body = mutated(WATCH.lines().last().unwrap().trim_start_matches(r#"{"type":"ERROR","object":"#), random);
        let header = random.bool().then(|| String::from_utf8_lossy(&body[..body.len().min(6)]).into_owned());
        let refusal = Refusal::from_answer(random.u16(..), header.as_deref(), &body);
        assert!(refusal.message.chars().count() <= 512 && !refusal.message.contains(char::is_control));
        assert!(refusal.causes.len() <= 8);
        _ = (refusal.is_expired(), refusal.is_too_large_version(), refusal.to_string());
    });
}

#[test]
fn versions() {
    rounds("versions", |random| {
        let text = |random: &mut Rng| {
            let digits: String = (0..random.usize(..40)).map(|_| char::from(b'0' + random.u8(..10))).collect();
            if random.u8(..8) == 0 { digits + "x" } else { digits }
        };
        let (left, right) = (text(random), text(random));
        let proper = |text: &str| !text.is_empty() && !text.starts_with('0') && !text.ends_with('x');
        let expected = if left == right {
            Some(Ordering::Equal)
        } else if proper(&left) && proper(&right) {
            // Forty digits fit in no integer: aligned, their order is that of the texts.
            Some(format!("{left:0>40}").cmp(&format!("{right:0>40}")))
        } else {
            None
        };
        assert_eq!(version::compare(&left, &right), expected, "{left:?}, {right:?}");
        assert_eq!(version::compare(&right, &left), expected.map(Ordering::reverse));
    });
}
