//! What the embedded server says differently, and why.

/// Scenario and reason.
pub(crate) const EXPLAINED: &[(&str, &str)] = &[];
