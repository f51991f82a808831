//! The reads of random scripts: gets, lists, watches.

use serde_json::{Value, json};

use super::writes::SELECTORS;
use super::{COLLECTIONS, MARKER, NAMES, Opened, Script, Step, TYPES, VERSION, one};

const WATCHES_AT_ONCE: usize = 6;

/// Query of a watch, the object and the labels by which its marker matches; null takes a label away.
fn selections() -> [(&'static str, &'static str, Value); 12] {
    [
        ("", MARKER, json!({})),
        ("", MARKER, json!({})),
        ("&labelSelector=app%3Dx", MARKER, json!({ "app": "x" })),
        ("&labelSelector=app!%3Dx", MARKER, json!({ "app": "y" })),
        ("&labelSelector=app%20in%20(x,y)", MARKER, json!({ "app": "y" })),
        ("&labelSelector=app%20notin%20(y)", MARKER, json!({ "app": null })),
        ("&labelSelector=tier", MARKER, json!({ "tier": "1" })),
        ("&labelSelector=!tier", MARKER, json!({ "tier": null })),
        ("&labelSelector=app%3Dx,tier%3E1", MARKER, json!({ "app": "x", "tier": "2" })),
        ("&fieldSelector=metadata.name%3Db", "b", json!({})),
        ("&fieldSelector=metadata.name!%3Db", MARKER, json!({})),
        ("&fieldSelector=metadata.name%3Da&labelSelector=app%3Dy", "a", json!({ "app": "y" })),
    ]
}

impl Script {
    /// Makes sure that a server's cache of this kind has everything.
    fn settle(&mut self, kind: usize) {
        if !self.settled[kind] {
            self.read(COLLECTIONS[kind]);
            self.state();
            self.settled[kind] = true;
        }
    }

    /// Saves the version of the list just read.
    fn state(&mut self) {
        self.save(format!("s{}", self.states), VERSION, Some("{v0}"));
        self.states += 1;
    }

    /// A version to read at or from: of an object or of a list.
    fn moment(&mut self) -> String {
        if self.states > 0 && self.percent(40) {
            format!("{{s{}}}", self.random.usize(..self.states))
        } else {
            self.version()
        }
    }

    pub(super) fn get(&mut self) {
        let kind = self.kind();
        let path = one(kind, self.pick(&NAMES));
        match self.random.u8(..5) {
            0 => {
                self.settle(kind);
                self.read(format!("{path}?resourceVersion=0"));
            }
            1 => {
                self.settle(kind);
                let version = self.moment();
                self.read(format!("{path}?resourceVersion={version}"));
            }
            _ => self.read(path),
        }
    }

    pub(super) fn list(&mut self) {
        let kind = self.kind();
        let version = match self.random.u8(..10) {
            0..=3 => String::new(),
            4 => "0".to_owned(),
            _ => self.moment(),
        };
        let matching = if self.percent(60) { "" } else { self.pick(&["Exact", "NotOlderThan"]) };
        let limit = self.pick(&[0, 0, 1, 2, 3, 10]);
        let token = (self.tokens > 0 && self.percent(30)).then(|| self.random.usize(..self.tokens));
        if !version.is_empty() {
            self.settle(kind);
        }
        let mut query = Vec::new();
        if !version.is_empty() {
            query.push(format!("resourceVersion={version}"));
        }
        // Neither a match without a version nor a version with a token is allowed, which need not be said often.
        if !matching.is_empty() && (!version.is_empty() || self.percent(10)) {
            query.push(format!("resourceVersionMatch={matching}"));
        }
        if limit > 0 {
            query.push(format!("limit={limit}"));
        }
        if let Some(token) = token.filter(|_| version.is_empty() || self.random.u8(..10) == 0) {
            query.push(format!("continue={{t{token}}}"));
        }
        if self.percent(40) {
            query.push(self.pick(&SELECTORS).to_owned());
        }
        self.read(format!("{}?{}", COLLECTIONS[kind], query.join("&")));
        self.state();
        if limit > 0 {
            self.save(format!("t{}", self.tokens), "/metadata/continue", Some(""));
            self.tokens += 1;
        }
    }

    /// Opens a watch. What it must bring is read later.
    pub(super) fn open(&mut self) {
        if self.watches.len() >= WATCHES_AT_ONCE {
            return self.drain_one();
        }
        let kind = self.kind();
        let (selector, marked, labels) = self.pick(&selections());
        let streaming = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let start = match self.random.u8(..10) {
            0..=4 => format!("&resourceVersion={}", self.moment()),
            5 => {
                format!("&resourceVersion={}&sendInitialEvents=false&resourceVersionMatch=NotOlderThan", self.moment())
            }
            6 => self.pick(&["", "&resourceVersion=0"]).to_owned(),
            7 => streaming.to_owned(),
            8 => format!("{streaming}&allowWatchBookmarks=true&resourceVersion={}", self.moment()),
            _ => format!("{streaming}&allowWatchBookmarks=true{}", self.pick(&["", "&resourceVersion=0"])),
        };
        self.settle(kind);
        let name = format!("watch-{}", self.steps.steps.len());
        let path = format!("{}?watch=1{start}{selector}", COLLECTIONS[kind]);
        self.steps.steps.push(Step::Watch { name: name.clone(), path, headers: Vec::new() });
        self.watches.push(Opened { name, kind, marked, labels });
    }

    pub(super) fn drain_one(&mut self) {
        let watch = self.pick(&self.watches.clone());
        self.drain(&watch);
    }

    /// Changes what the watch sees, and reads it up to there. Either the create or the patch is a change.
    pub(super) fn drain(&mut self, watch: &Opened) {
        let marker = format!("marker-{}", self.markers);
        self.markers += 1;
        let annotations = json!({ "marker": marker });
        let mut kept = watch.labels.clone();
        if let Some(labels) = kept.as_object_mut() {
            labels.retain(|_, value| !value.is_null());
        }
        let (api_version, kind) = TYPES[watch.kind];
        let metadata = json!({ "name": watch.marked, "labels": kept, "annotations": annotations });
        let object = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
        self.write("POST", COLLECTIONS[watch.kind], &[], &object);
        let patch = json!({ "metadata": { "labels": watch.labels, "annotations": annotations } });
        self.write("PATCH", one(watch.kind, watch.marked), &[], &patch);
        self.steps.steps.push(Step::Until { watch: watch.name.clone(), marker });
    }
}
