//! The writes of random scripts.

use serde_json::{Value, json};

use super::{COLLECTIONS, NAMES, Script, TYPES, VERSION, one};

const NOBODY: &str = "11111111-1111-1111-1111-111111111111";
const JSON_PATCH: &[(&str, &str)] = &[("content-type", "application/json-patch+json")];
const HOLDS: [&str; 2] = ["example.com/hold", "example.com/more"];
const VALUES: [&str; 3] = ["1", "2", "3"];
/// What delete collections and lists choose by.
pub(super) const SELECTORS: [&str; 9] = [
    "labelSelector=app%3Dx",
    "labelSelector=app!%3Dx",
    "labelSelector=app%20in%20(x,y)",
    "labelSelector=tier",
    "labelSelector=!tier",
    "labelSelector=app%3Dx,tier%3E1",
    "labelSelector=tier%3C2",
    "fieldSelector=metadata.name%3Db",
    "fieldSelector=metadata.name!%3Db",
];

impl Script {
    pub(super) fn object(&mut self, kind: usize, name: &str) -> Value {
        let (api_version, kind_name) = TYPES[kind];
        let mut object = json!({ "apiVersion": api_version, "kind": kind_name, "metadata": { "name": name } });
        if self.percent(70) {
            object["metadata"]["labels"] = self.labels();
        }
        let (member, content) = self.content(kind);
        if self.percent(85) {
            object[member] = content;
        }
        object
    }

    fn labels(&mut self) -> Value {
        let mut labels = json!({});
        if self.percent(70) {
            labels["app"] = self.pick(&["x", "y"]).into();
        }
        if self.percent(50) {
            labels["tier"] = self.pick(&VALUES).into();
        }
        labels
    }

    /// Member and value, for an object or for a merge.
    fn content(&mut self, kind: usize) -> (&'static str, Value) {
        let value = self.pick(&VALUES);
        if kind == 0 {
            let key = self.pick(&["k", "l"]);
            return ("data", json!({ key: value }));
        }
        let spec = match self.random.u8(..4) {
            0 => json!({ "holderIdentity": value }),
            1 => json!({ "holderIdentity": value, "leaseDurationSeconds": 15, "leaseTransitions": 1 }),
            2 => json!({ "leaseDurationSeconds": 10, "renewTime": "2026-01-02T03:04:05.100000Z" }),
            _ => json!({ "acquireTime": "2026-01-02T03:04:05.000006Z", "leaseTransitions": 0 }),
        };
        ("spec", spec)
    }

    fn target(&mut self) -> (usize, &'static str) {
        (self.kind(), self.pick(&NAMES))
    }

    /// Writes what changes something, or with a dry run nothing, and saves what later requests want to know.
    fn change(
        &mut self,
        (kind, name): (usize, &str),
        (method, path): (&'static str, String),
        headers: &[(&'static str, &str)],
        body: &Value,
    ) {
        // A dry run of a create by PUT says the version it was sent: a real server forgets to remove it.
        let sent = |member: &str| !body["metadata"][member].is_null();
        let forgets = method == "PUT" && (sent("resourceVersion") && kind == 1 || sent("uid"));
        if self.percent(8) && !forgets {
            return self.write(method, format!("{path}?dryRun=All"), headers, body);
        }
        self.write(method, path, headers, body);
        self.save(format!("v{}", self.versions), VERSION, Some("{v0}"));
        self.versions += 1;
        self.save(format!("r{kind}{name}"), VERSION, Some("{v0}"));
        if method != "DELETE" {
            self.save(format!("u{kind}{name}"), "/metadata/uid", Some(NOBODY));
        }
    }

    /// The version the object may have now, another one, or one that isn't looked at.
    fn guess(&mut self, (kind, name): (usize, &str)) -> Option<String> {
        match self.random.u8(..10) {
            0..=3 => self.saved("r", (kind, name)),
            4 | 5 => Some(self.version()),
            6 => Some("0".to_owned()),
            _ => None,
        }
    }

    /// A value saved under this letter for an object, if any was.
    fn saved(&self, letter: &str, (kind, name): (usize, &str)) -> Option<String> {
        let wanted = format!("{letter}{kind}{name}");
        let is_saved = self.steps.steps.iter().any(|step| match step {
            super::Step::Save { name, .. } => *name == wanted,
            _ => false,
        });
        is_saved.then(|| format!("{{{wanted}}}"))
    }

    pub(super) fn create(&mut self) {
        let target = self.target();
        let mut object = self.object(target.0, target.1);
        if self.percent(25) {
            object["metadata"]["finalizers"] = self.holds();
        }
        self.change(target, ("POST", COLLECTIONS[target.0].to_owned()), &[], &object);
    }

    fn holds(&mut self) -> Value {
        if self.percent(70) { json!([HOLDS[0]]) } else { json!(HOLDS) }
    }

    pub(super) fn put(&mut self) {
        let target = self.target();
        let mut object = self.object(target.0, target.1);
        if let Some(version) = self.guess(target) {
            object["metadata"]["resourceVersion"] = version.into();
        }
        if let Some(uid) = self.saved("u", target).filter(|_| self.random.u8(..5) == 0) {
            object["metadata"]["uid"] = uid.into();
        }
        if self.percent(15) {
            object["metadata"]["finalizers"] = self.holds();
        }
        self.change(target, ("PUT", one(target.0, target.1)), &[], &object);
    }

    pub(super) fn merge_patch(&mut self) {
        let target = self.target();
        let (member, content) = self.content(target.0);
        let mut patch = json!({});
        match self.random.u8(..8) {
            0 => patch["metadata"]["labels"] = json!({ "app": null }),
            1 => patch["metadata"]["labels"] = json!({ "tier": null, "app": "x" }),
            2 => patch["metadata"]["labels"] = self.labels(),
            3 => patch["metadata"]["annotations"] = json!({ "note": self.pick(&VALUES) }),
            4 => patch["metadata"]["finalizers"] = self.holds(),
            5 if target.0 == 0 => patch["data"] = json!({ "k": null }),
            6 => patch[member] = Value::Null,
            _ => patch[member] = content,
        }
        if let Some(version) = self.guess(target).filter(|_| self.random.u8(..3) == 0) {
            patch["metadata"]["resourceVersion"] = version.into();
        }
        self.change(target, ("PATCH", one(target.0, target.1)), &[], &patch);
    }

    pub(super) fn json_patch(&mut self) {
        let target = self.target();
        let operations: Vec<Value> = (0..self.random.usize(1..=2)).map(|_| self.operation(target)).collect();
        self.change(target, ("PATCH", one(target.0, target.1)), JSON_PATCH, &Value::Array(operations));
    }

    fn operation(&mut self, target: (usize, &str)) -> Value {
        let (member, content) = self.content(target.0);
        let inner = if target.0 == 0 { "/data/k" } else { "/spec/holderIdentity" };
        let value = self.pick(&VALUES);
        match self.random.u8(..11) {
            0 => json!({ "op": "add", "path": inner, "value": value }),
            1 => json!({ "op": "replace", "path": inner, "value": value }),
            2 => json!({ "op": "remove", "path": inner }),
            3 => json!({ "op": "test", "path": inner, "value": value }),
            4 => json!({ "op": "add", "path": format!("/{member}"), "value": content }),
            5 => json!({ "op": "add", "path": "/metadata/labels/app", "value": "y" }),
            6 => json!({ "op": "add", "path": "/metadata/labels", "value": self.labels() }),
            7 => json!({ "op": "test", "path": "/metadata/labels/app", "value": "x" }),
            8 => json!({ "op": "add", "path": "/metadata/finalizers/-", "value": HOLDS[1] }),
            9 => json!({ "op": "remove", "path": "/metadata/labels" }),
            _ => {
                let version = self.guess(target).unwrap_or_else(|| "{v0}".to_owned());
                json!({ "op": "test", "path": VERSION, "value": version })
            }
        }
    }

    /// Lets an object go, if finalizers hold it.
    pub(super) fn release(&mut self) {
        let target = self.target();
        let path = one(target.0, target.1);
        match self.random.u8(..4) {
            0 => self.put(),
            1 => {
                let patch =
                    json!([{ "op": "remove", "path": self.pick(&["/metadata/finalizers", "/metadata/finalizers/0"]) }]);
                self.change(target, ("PATCH", path), JSON_PATCH, &patch);
            }
            2 => {
                let patch = json!({ "metadata": { "finalizers": null, "labels": { "app": "y" } } });
                self.change(target, ("PATCH", path), &[], &patch);
            }
            _ => self.change(target, ("PATCH", path), &[], &json!({ "metadata": { "finalizers": null } })),
        }
    }

    pub(super) fn delete(&mut self) {
        let target = self.target();
        let options = match self.random.u8(..10) {
            0 => json!({ "preconditions": { "resourceVersion": self.saved("r", target) } }),
            1 => json!({ "preconditions": { "resourceVersion": self.version() } }),
            2 => json!({ "preconditions": { "uid": self.saved("u", target) } }),
            3 => json!({ "preconditions": { "uid": NOBODY } }),
            4 => json!({ "dryRun": ["All"] }),
            5 => json!({ "propagationPolicy": "Background" }),
            6 => json!({ "gracePeriodSeconds": 0 }),
            _ => Value::Null,
        };
        self.change(target, ("DELETE", one(target.0, target.1)), &[], &options);
    }

    pub(super) fn delete_collection(&mut self) {
        let kind = self.kind();
        let selector = if self.percent(90) { self.pick(&SELECTORS) } else { "" };
        let dry_run = if self.percent(20) { "&dryRun=All" } else { "" };
        self.write("DELETE", format!("{}?{selector}{dry_run}", COLLECTIONS[kind]), &[], &Value::Null);
    }
}
