//! What one round gives on one side, ours or a peer's: a line of JSON from the program that measures.
//!
//! In: figures by row, and counts of what was done. Out: the same; the counts are compared with what should have been done,
//! so that a benchmark that has measured nothing is an error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    pub(crate) rows: BTreeMap<String, f64>,
    pub(crate) counted: BTreeMap<String, u64>,
}

impl Figure {
    pub(crate) fn row(&mut self, name: &str, value: f64) {
        self.rows.insert(name.to_owned(), value);
    }

    pub(crate) fn count(&mut self, name: &str, count: u64) {
        self.counted.insert(name.to_owned(), count);
    }

    /// Every count that is expected is there and is it.
    pub(crate) fn check(&self, expected: &[(&str, u64)]) -> Result<(), String> {
        for (name, expected) in expected {
            match self.counted.get(*name) {
                Some(count) if count == expected => {}
                Some(count) => return Err(format!("{name}: {count}, expected {expected}")),
                None => return Err(format!("{name} wasn't counted")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what wasn't done, or done otherwise, is no figure.
    #[test]
    fn what_is_not_counted_is_an_error() {
        let mut figure = Figure::default();
        figure.count("found", 3);
        assert_eq!(figure.check(&[("found", 3)]), Ok(()));
        assert!(figure.check(&[("found", 4)]).is_err());
        assert!(figure.check(&[("listed", 3)]).is_err());
    }
}
