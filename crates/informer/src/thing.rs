//! Thing: the smallest object that can be cached, for unit tests.

use crate::object::Cached;

#[derive(Debug, PartialEq)]
pub(crate) struct Thing {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: String,
}

impl Cached for Thing {
    fn namespace(&self) -> &str {
        "ns"
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> &str {
        &self.version
    }
}
