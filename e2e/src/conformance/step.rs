//! What a scenario is made of.

use std::fmt;

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
        name: String,
        /// Where it is, as a JSON pointer.
        pointer: &'static str,
        /// If the answer has no such value: what was saved under the name before stays, else it is this.
        fallback: Option<String>,
    },
    /// Opens a watch.
    Watch {
        /// How later steps call it.
        name: String,
        /// Path and query.
        path: String,
        /// More headers than the usual ones.
        headers: Vec<(&'static str, String)>,
    },
    /// Reads events of a watch into the transcript.
    Read {
        /// The watch.
        watch: String,
        /// So many, if the stream doesn't end before; `usize::MAX`: to its end.
        events: usize,
    },
    /// Reads events of a watch into the transcript, up to one that must come.
    Until {
        /// The watch.
        watch: String,
        /// The annotation `marker` of the last object to be read.
        marker: String,
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
    pub fn save(mut self, name: impl Into<String>, pointer: &'static str) -> Self {
        self.steps.push(Step::Save { name: name.into(), pointer, fallback: None });
        self
    }

    /// Opens a watch.
    #[must_use]
    pub fn watch(self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.watch_as(name, path, &[])
    }

    /// Opens a watch with headers.
    #[must_use]
    pub fn watch_as(
        mut self,
        name: impl Into<String>,
        path: impl Into<String>,
        headers: &[(&'static str, &str)],
    ) -> Self {
        self.steps.push(Step::Watch { name: name.into(), path: path.into(), headers: owned(headers) });
        self
    }

    /// Reads events of a watch.
    #[must_use]
    pub fn read(mut self, watch: impl Into<String>, events: usize) -> Self {
        self.steps.push(Step::Read { watch: watch.into(), events });
        self
    }

    /// Reads a watch to its end.
    #[must_use]
    pub fn read_all(self, watch: impl Into<String>) -> Self {
        self.read(watch, usize::MAX)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask { method, path, headers, body } => {
                write!(formatter, "{method} {path}")?;
                headers.iter().try_for_each(|(name, value)| write!(formatter, " ({name}: {value})"))?;
                if body.is_empty() { Ok(()) } else { write!(formatter, " {body}") }
            }
            Self::Save { name, pointer, fallback } => {
                write!(formatter, "  {name} = {pointer}")?;
                fallback.iter().try_for_each(|fallback| write!(formatter, ", or {fallback}"))
            }
            Self::Watch { name, path, .. } => write!(formatter, "watch {name}: {path}"),
            Self::Read { watch, events } => write!(formatter, "read {events} of {watch}"),
            Self::Until { watch, marker } => write!(formatter, "read {watch} up to {marker}"),
        }
    }
}

/// A step a line.
impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().enumerate().try_for_each(|(number, step)| writeln!(formatter, "{number:>3} {step}"))
    }
}

fn owned(headers: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}
