//! What a scenario is made of.

use serde_json::Value;

/// A script for one server: steps in their order, in a namespace of its own.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Names the golden file.
    pub name: String,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One step. In paths and bodies `{ns}` is the scenario's namespace, and `{name}` a value saved before.
#[derive(Clone, Debug)]
pub enum Step {
    /// A request, whose answer is in the transcript.
    Ask {
        /// The HTTP method.
        method: &'static str,
        /// Path and query.
        path: String,
        /// More headers than the usual ones.
        headers: Vec<(&'static str, String)>,
        /// What is sent, as it is.
        body: String,
    },
    /// Keeps a value of the last answer for later steps.
    Save {
        /// Its name.
        name: &'static str,
        /// Where it is, as a JSON pointer.
        pointer: &'static str,
    },
    /// Opens a watch.
    Watch {
        /// How later steps call it.
        name: &'static str,
        /// Path and query.
        path: String,
        /// More headers than the usual ones.
        headers: Vec<(&'static str, String)>,
    },
    /// Reads events of a watch into the transcript.
    Read {
        /// The watch.
        watch: &'static str,
        /// So many, if the stream doesn't end before; `usize::MAX`: to its end.
        events: usize,
    },
}

impl Scenario {
    /// A script without steps.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), steps: Vec::new() }
    }

    /// A request with a JSON body (null: none).
    #[must_use]
    pub fn ask(self, method: &'static str, path: impl Into<String>, body: Value) -> Self {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.raw(method, path, &[], body)
    }

    /// A request as it is.
    #[must_use]
    pub fn raw(
        mut self,
        method: &'static str,
        path: impl Into<String>,
        headers: &[(&'static str, &str)],
        body: impl Into<String>,
    ) -> Self {
        let headers = owned(headers);
        self.steps.push(Step::Ask { method, path: path.into(), headers, body: body.into() });
        self
    }

    /// A read.
    #[must_use]
    pub fn get(self, path: impl Into<String>) -> Self {
        self.ask("GET", path, Value::Null)
    }

    /// Keeps a value of the last answer.
    #[must_use]
    pub fn save(mut self, name: &'static str, pointer: &'static str) -> Self {
        self.steps.push(Step::Save { name, pointer });
        self
    }

    /// Opens a watch.
    #[must_use]
    pub fn watch(self, name: &'static str, path: impl Into<String>) -> Self {
        self.watch_as(name, path, &[])
    }

    /// Opens a watch with headers.
    #[must_use]
    pub fn watch_as(mut self, name: &'static str, path: impl Into<String>, headers: &[(&'static str, &str)]) -> Self {
        self.steps.push(Step::Watch { name, path: path.into(), headers: owned(headers) });
        self
    }

    /// Reads events of a watch.
    #[must_use]
    pub fn read(mut self, watch: &'static str, events: usize) -> Self {
        self.steps.push(Step::Read { watch, events });
        self
    }

    /// Reads a watch to its end.
    #[must_use]
    pub fn read_all(self, watch: &'static str) -> Self {
        self.read(watch, usize::MAX)
    }
}

fn owned(headers: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}
