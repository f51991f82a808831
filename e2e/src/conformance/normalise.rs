//! Making transcripts comparable: what a server makes up is replaced by what two servers must have in common.
//!
//! * A uid becomes the number of its first mention, a version of an object its rank among all of the transcript: who is
//!   the same and who is newer stays visible, the values don't.
//! * The version of a list, of a bookmark and in a text becomes a word, after a look that it is a number: a real server
//!   has other writers, so it can't be predicted.
//! * Times, the namespace, continue tokens and generated endings become words. `managedFields` go: who owns a field isn't
//!   kept by the embedded server.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

pub(crate) struct Normaliser {
    namespace: String,
    uids: HashMap<String, usize>,
    versions: BTreeSet<u64>,
}

impl Normaliser {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), uids: HashMap::new(), versions: BTreeSet::new() }
    }

    pub(crate) fn transcript(mut self, mut said: Vec<Value>) -> Value {
        for value in &said {
            self.collect(value);
        }
        for value in &mut said {
            self.replace(value);
        }
        Value::Array(said)
    }

    /// The versions of all objects.
    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(version) = object_version(object) {
                    self.versions.insert(version);
                }
                object.values().for_each(|value| self.collect(value));
            }
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            _ => {}
        }
    }

    fn replace(&mut self, value: &mut Value) {
        match value {
            Value::Object(object) => self.replace_object(object),
            Value::Array(values) => values.iter_mut().for_each(|value| self.replace(value)),
            Value::String(text) => *text = self.text(text),
            _ => {}
        }
    }

    fn replace_object(&mut self, object: &mut Map<String, Value>) {
        let version = object_version(object);
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
            if let Some(Value::String(text)) = metadata.get_mut("resourceVersion") {
                *text = match (version, text.parse::<u64>()) {
                    (Some(version), _) => format!("version {}", self.versions.range(..=version).count()),
                    (None, Ok(_)) => "a version".into(),
                    (None, Err(_)) => format!("no version: {text}"),
                };
            }
            if let Some(token) = metadata.get_mut("continue").filter(|token| !token.is_null()) {
                *token = "a token".into();
            }
        }
        for (name, value) in object.iter_mut() {
            match (name.as_str(), &mut *value) {
                ("uid", Value::String(uid)) => {
                    let next = self.uids.len() + 1;
                    *uid = format!("uid {}", self.uids.entry(uid.clone()).or_insert(next));
                }
                ("creationTimestamp" | "deletionTimestamp", Value::String(time)) => {
                    let second = time.len() == 20 && time.ends_with('Z');
                    *time = if second { "a time".into() } else { format!("no time in seconds: {time}") };
                }
                _ => self.replace(value),
            }
        }
    }

    /// Texts name namespaces, versions and generated names.
    fn text(&self, text: &str) -> String {
        let text = text.replace(&self.namespace, "NS");
        let text = self.uids.iter().fold(text, |text, (uid, number)| text.replace(uid, &format!("uid {number}")));
        let mut words = Vec::new();
        let mut after_version = false;
        for word in text.split(' ') {
            let number = word.trim_matches(|sign: char| !sign.is_ascii_digit());
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let is_version = is_number && (after_version || word.starts_with('(')) && number.len() < 15;
            words.push(if is_version { word.replace(number, "N") } else { generated(word) });
            after_version = word == "version:" || word == "current:" || (after_version && is_version);
        }
        words.join(" ")
    }
}

/// The version of an object that has one of its own: it has a uid.
fn object_version(object: &Map<String, Value>) -> Option<u64> {
    let metadata = object.get("metadata")?;
    metadata.get("uid")?.as_str()?;
    metadata.get("resourceVersion")?.as_str()?.parse().ok()
}

/// `made-x7k2p` and the like.
fn generated(word: &str) -> String {
    let Some(start) = word.find("made-") else { return word.to_owned() };
    let (head, tail) = word.split_at(start + "made-".len());
    let ending = tail.bytes().take_while(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(byte)).count();
    if ending == 5 { format!("{head}?????{}", &tail[5..]) } else { word.to_owned() }
}
