//! Thing: the smallest object that can be cached, for tests of what is behind the decoder.

use watchkeeper_informer::Cached;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub version: String,
    pub groups: Vec<u8>,
}

impl Cached for Thing {
    fn namespace(&self) -> &str {
        &self.namespace
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

pub(crate) fn version(thing: &Thing) -> u64 {
    thing.version.parse().expect("test versions are numbers")
}
