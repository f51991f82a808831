//! The pages of one list: whether their tokens lead anywhere.
//!
//! In: the token of each page. Out: an error where one has been seen before, or where there are too many. A server whose tokens
//! go round would otherwise be asked for ever.

use std::collections::HashSet;

use crate::frame::FrameError;

/// Pages of one list: fifty million objects at the default size.
const MOST_PAGES: usize = 100_000;

#[derive(Default)]
pub(super) struct Pages {
    /// Hashes of the tokens: a list that is taken for endless by mistake, once in many billions, is read again.
    seen: HashSet<u64, ahash::RandomState>,
}

impl Pages {
    pub(super) fn turn(&mut self, token: &str) -> Result<(), FrameError> {
        let hash = self.seen.hasher().hash_one(token);
        if self.seen.len() >= MOST_PAGES || !self.seen.insert(hash) {
            return Err(FrameError::NotAList("pages of one version with tokens that move on"));
        }
        Ok(())
    }
}
