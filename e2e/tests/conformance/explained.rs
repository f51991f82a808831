//! What the embedded server says differently, and why.

const GO: &str = "the codes agree; the text is in the words of Go's JSON decoder, with its types";
const MEDIA: &str = "the embedded server speaks JSON only, and lists what it speaks";
const OWNERS: &str =
    "upstream notes in managedFields through which version nothing was changed; who owns a field isn't kept here";

/// Scenario and reason.
pub(crate) const EXPLAINED: &[(&str, &str)] = &[
    ("accept-nothing-known", MEDIA),
    ("body-array", GO),
    ("body-no-json", GO),
    ("body-string", GO),
    ("body-unknown-media-type", MEDIA),
    ("body-wrong-type-of-labels", GO),
    ("body-wrong-type-of-name", GO),
    ("event-patch-nothing", OWNERS),
    ("json-patch-no-array", GO),
    ("lease-duration-text", GO),
    ("list-continue-garbage", GO),
    ("list-continue-no-json", GO),
    ("merge-patch-no-object", GO),
];
