//! Sight: what the stages of one informer may tell beside their work, to a sink of metrics and to whoever wants an explanation.
//!
//! In: the config. Out: two handles, each of which may be none, for reflector, queue, processor and handlers. It does nothing
//! itself.

use std::sync::Arc;

use tokio::time::Instant;

use crate::explain::Explainer;
use crate::metrics::Meter;

/// Cheap to clone; by default nobody wants to know.
#[derive(Clone, Default)]
pub(crate) struct Sight {
    pub(crate) meter: Option<Arc<Meter>>,
    pub(crate) explain: Explainer,
}

#[expect(clippy::disallowed_methods, reason = "steps and ages are noted where they happen; tests pause tokio's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
