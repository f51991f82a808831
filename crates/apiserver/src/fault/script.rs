//! Rules from a file, for the stand-alone program.
//!
//! Comes in: JSON. Goes out: checked rules, or where the text is wrong and what would be allowed there. Opens no file.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::faults::RULE_LIMIT;
use super::rule::{Rule, RuleError};
use crate::access::{ACCESS_LIMIT, AccessRule};

/// Rules and access rules, as a script holds them. The [module's page](super) describes the format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Script {
    rules: Vec<Rule>,
    access: Vec<AccessRule>,
}

/// Why a script was not taken: the place, what is wrong there, what is allowed.
#[derive(Debug)]
pub struct ScriptError(String);

impl fmt::Display for ScriptError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Reads and checks a whole script.
    ///
    /// # Errors
    ///
    /// If the text is no JSON, has a field or an action that doesn't exist, or a rule makes no sense.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        // The decoder would take an array for an object's members in their order.
        if !text.trim_start().starts_with('{') {
            return Err(ScriptError("a script is an object: { \"rules\": [ ... ] }".to_owned()));
        }
        let script: Self = serde_json::from_str(text).map_err(|error| explained(&error))?;
        for (list, length, limit) in
            [("rules", script.rules.len(), RULE_LIMIT), ("access", script.access.len(), ACCESS_LIMIT)]
        {
            if length > limit {
                return Err(ScriptError(format!("{list}: {length} are more than the {limit} allowed")));
            }
        }
        for (place, rule) in script.rules.iter().enumerate() {
            rule.check().map_err(|RuleError(why)| ScriptError(format!("rules[{place}]: {why}")))?;
        }
        Ok(script)
    }

    pub(super) fn into_parts(self) -> (Vec<Rule>, Vec<AccessRule>) {
        (self.rules, self.access)
    }
}

/// The decoder's words, and what to write instead where they only make sense to who knows the decoder.
fn explained(error: &serde_json::Error) -> ScriptError {
    let text = error.to_string();
    let instead = if text.starts_with("invalid type: unit variant") {
        ": this action has parameters, as in { \"delay\": { \"by\": \"20ms\" } }"
    } else if text.starts_with("invalid type: map, expected unit") {
        ": this action has no parameters: write the word alone"
    } else {
        ""
    };
    ScriptError(text + instead)
}
