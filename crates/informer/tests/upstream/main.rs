//! client-go's own tests of its reflector and its pager, as tests of these: each has upstream's name in
//! snake case, and says where what holds here is another thing on purpose. What a test of another file covers at greater
//! length is here once more, short, so that the list is complete.
//!
//! What isn't here, and why:
//!
//! - `TestReflectorResyncChan`, `TestReflectorResync`: there is no resync. It tells handlers again what they have
//!   been told; what should happen again after some time is a delay in a work queue.
//! - `TestGetTypeDescriptionFromObject`, `TestGetExpectedGVKFromObject`: upstream reads from an example object what it is to
//!   call its kind, and which kind to expect. Here the kind is a value of the scope, the name in logs is configured, and what
//!   isn't of the kind can't be decoded, which `reflector::reflector_watch_handler` tests.
//! - `TestDoesClientNotSupportWatchListSemantics`, `TestToListWatcherWithWatchListSemantics`: upstream's clients carry a mark
//!   that says that they (fakes, most of them) don't know streaming lists. Here the server's refusal says it.
//! - `TestPrepareWatchListOptionsFromListOptions`: turns any list into a streaming one, if its version, rule, limit and token
//!   allow. No caller's list is turned into another here: a streaming list has no options, and begins at the newest version.
//! - `TestRetryWithDeadline`: a window within which an internal error is tried again from the same version. There is none: the
//!   table of `recovery` says what follows an error, and the backoff when; `reflector::retry_internal_error` tests that.
#![allow(clippy::disallowed_methods, clippy::panic)]

mod consistency;
mod pager;
mod reflector;
mod rig;
mod watch_list;
