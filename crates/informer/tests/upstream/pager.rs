//! tools/pager, pager_test.go: lists in pages.

use std::convert::Infallible;
use std::sync::Arc;

use futures::StreamExt;
use http_body_util::Full;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::client::Body;
use parking_lot::Mutex;
use serde_json::Value;
use watchkeeper_informer::decode::{DecodeFault, Decoder};
use watchkeeper_informer::list_watch::{ListAt, ListRequest};
use watchkeeper_informer::scripted::{Answer, Feed, ScriptedListWatch};
use watchkeeper_informer::{Deadlines, KubeListWatch, ListWatch, Scope, Verdict};

use crate::rig::*;

/// So many objects, at 20.
fn objects(count: u64) -> Vec<Value> {
    (0..count).map(|number| object(&format!("{number:02}"), number + 1)).collect()
}

/// Answers with these objects at 20, in pages of ten, as far as the token `expires`.
fn paged(server: &ScriptedListWatch, items: &[Value], expires: Option<usize>) {
    let pages = items.len().div_ceil(10).max(1);
    for number in 1..=pages {
        if expires == Some(number) {
            server.on_list(Answer::refused(410, "Expired"));
            return;
        }
        let token = if number == pages { String::new() } else { format!("20:{number}") };
        server.on_list(page(20, &items[10 * (number - 1)..items.len().min(10 * number)], &token));
    }
}

/// What is asked for so many pages.
fn requests(pages: usize) -> Vec<String> {
    (0..pages).map(|page| if page == 0 { "list 10".into() } else { format!("list 10 20:{page}") }).collect()
}

/// TestListPager_List: an empty page, less than a page, a full one, two and three: each is asked for once, and all of them are
/// one list. Where the second has expired, a list without pages takes their place: there is no list that ends in that error.
/// A version to list at, and how, are named for the first page only.
#[tokio::test(start_paused = true)]
async fn list_pager_list() {
    for (count, pages) in [(0, 1), (9, 1), (10, 1), (11, 2), (21, 3)] {
        let server = script();
        paged(&server, &objects(count), None);
        let rig = Maps::paged().page_size(10).start(&server);
        rig.until_asked(pages + 1).await;
        assert_eq!(rig.asked(), [requests(pages), vec!["watch 20".to_owned()]].concat());
        assert_eq!((rig.cached().len() as u64, rig.versions()), (count, vec!["20".to_owned()]));
        // At a version, as an audit lists: the token knows which.
        paged(&server, &objects(count), None);
        assert_eq!(rig.audit().await, Verdict::Agrees { objects: rig.cached().len() });
        assert_eq!(rig.asked().len(), 2 * pages + 1);
    }

    let server = script();
    paged(&server, &objects(21), Some(2));
    server.on_list(list(20, &objects(21)));
    let rig = Maps::paged().page_size(10).start(&server);
    rig.until_asked(4).await;
    assert_eq!(rig.asked(), ["list 10", "list 10 20:1", "list", "watch 20"]);
    assert_eq!((rig.cached().len(), rig.heard().len(), rig.status().failing), (21, 21, None));

    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = Arc::clone(&seen);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        record.lock().push(request.uri().query().unwrap_or_default().to_owned());
        async { Ok::<_, Infallible>(http::Response::new(Full::new(bytes::Bytes::from_static(b"{}")))) }
    });
    let client = kube_client::Client::new(service, "default");
    let source = KubeListWatch::new(client, Scope::all::<ConfigMap>(), Deadlines::default());
    for at in [ListAt::Newest, ListAt::Exact("10".into()), ListAt::NotOlderThan("10".into())] {
        for token in [None, Some("C1".to_owned())] {
            let request = ListRequest { limit: Some(10), continue_token: token, at: at.clone() };
            assert!(source.list(&request).await.unwrap().next().await.is_some());
        }
    }
    let first =
        ["", "&resourceVersion=10&resourceVersionMatch=Exact", "&resourceVersion=10&resourceVersionMatch=NotOlderThan"];
    let expected: Vec<_> =
        first.iter().flat_map(|version| [format!("limit=10{version}"), "limit=10&continue=C1".to_owned()]).collect();
    assert_eq!(*seen.lock(), expected);
}

/// A decoder that notes whom it decodes, and fails at one of them.
fn noting(fails_at: Option<&'static str>) -> (Decoder<ConfigMap>, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let decoder = Decoder::from_fn({
        let seen = Arc::clone(&seen);
        move |item, identity| {
            seen.lock().push(identity.name.to_string());
            if fails_at == Some(&*identity.name) {
                return Err(DecodeFault::Shape("".into()));
            }
            serde_json::from_slice(item).map_err(|_| DecodeFault::Syntax)
        }
    });
    (decoder, seen)
}

fn names(count: u64) -> Vec<String> {
    (0..count).map(|number| format!("{number:02}")).collect()
}

/// TestListPager_EachListItem: each item is decoded once, in order, page by page. One that can't be is reported and the others
/// go on, where upstream stops at its function's error. Expired or cancelled in the middle, nothing of what was decoded is
/// handed on.
#[tokio::test(start_paused = true)]
async fn list_pager_each_list_item() {
    for (count, pages) in [(0, 1), (9, 1), (10, 1), (11, 2), (21, 3)] {
        let (server, (decoder, seen)) = (script(), noting(None));
        paged(&server, &objects(count), None);
        let rig = Setup { decoder, ..Maps::paged().page_size(10) }.start(&server);
        rig.until_asked(pages + 1).await;
        assert_eq!((&*seen.lock(), rig.lists()), (&names(count), pages));
    }

    let (server, (decoder, seen)) = (script(), noting(None));
    paged(&server, &objects(21), Some(2));
    let rig = Setup { decoder, ..Maps::paged().page_size(10) }.start(&server);
    rig.until_asked(3).await;
    assert_eq!((&*seen.lock(), rig.versions()), (&names(10), vec![]));

    let (server, (decoder, seen)) = (script(), noting(Some("02")));
    paged(&server, &objects(51), None);
    let rig = Setup { decoder, ..Maps::paged().page_size(10) }.start(&server);
    rig.until_asked(7).await;
    assert_eq!((&*seen.lock(), rig.cached().len()), (&names(51), 50));
    assert_eq!(rig.handle.quarantine()[0].key.as_ref().unwrap().to_string(), "d/02");

    let (server, (decoder, seen)) = (script(), noting(None));
    let (answer, feed) = Answer::live();
    server.on_list(answer);
    let mut rig = Setup { decoder, ..Maps::paged().page_size(10) }.start(&server);
    let text = serde_json::json!({"metadata": {"resourceVersion": "20", "continue": "20:1"}, "items": objects(10)})
        .to_string();
    let (first, rest) = text.split_at(text.find(r#""name":"03""#).unwrap());
    feed.text(first);
    seconds(1).await;
    assert_eq!(*seen.lock(), names(3));
    rig.stop.cancel();
    seconds(1).await;
    assert!(rig.has_ended() && !feed.text(rest));
    assert_eq!((rig.lists(), rig.versions(), &*seen.lock()), (1, vec![], &names(3)));
}

/// TestListPager_eachListPageBuffered: no page is read ahead: the next is asked for when the last item of the one before has
/// been decoded, whatever its size, so that a list takes no more memory than its objects and one piece of a body.
#[tokio::test(start_paused = true)]
async fn list_pager_each_list_page_buffered() {
    for pages in [1, 5] {
        let (server, (decoder, seen)) = (script(), noting(None));
        let all = objects(10 * pages);
        let feeds: Vec<Feed> = (0..pages)
            .map(|_| {
                let (answer, feed) = Answer::live();
                server.on_list(answer);
                feed
            })
            .collect();
        let rig = Setup { decoder, ..Maps::paged().page_size(10) }.start(&server);
        for (number, feed) in (1..).zip(feeds) {
            seconds(1).await;
            assert_eq!((rig.lists() as u64, seen.lock().len() as u64), (number, 10 * (number - 1)));
            let token = if number == pages { String::new() } else { format!("20:{number}") };
            let items = &all[10 * (number as usize - 1)..10 * number as usize];
            let items = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            feed.text(format!(r#"{{"metadata":{{"resourceVersion":"20","continue":"{token}"}},"items":[{items}"#));
            seconds(1).await;
            assert_eq!(
                (rig.lists() as u64, seen.lock().len() as u64),
                (number, 10 * number),
                "the page is not complete"
            );
            feed.text("]}");
        }
        seconds(1).await;
        assert_eq!((rig.cached().len() as u64, rig.lists() as u64), (10 * pages, pages));
    }
}
