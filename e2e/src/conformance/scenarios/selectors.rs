//! Label and field selectors, good and bad.

use super::{MAPS, three};
use crate::conformance::step::Scenario;

const SELECTORS: &[(&str, &str)] = &[
    ("label-equal", "labelSelector=app%3Dx"),
    ("label-double-equal", "labelSelector=app%3D%3Dx"),
    ("label-unequal", "labelSelector=app!%3Dx"),
    ("label-in", "labelSelector=app%20in%20(x,y)"),
    ("label-notin", "labelSelector=app%20notin%20(x)"),
    ("label-exists", "labelSelector=app"),
    ("label-missing", "labelSelector=!app"),
    ("label-greater", "labelSelector=tier%3E3"),
    ("label-less", "labelSelector=tier%3C3"),
    ("label-and", "labelSelector=app,tier%3D5"),
    ("label-empty", "labelSelector="),
    ("label-no-value", "labelSelector=app%3D"),
    ("label-bad-operator", "labelSelector=app%3D%3D%3Dx"),
    ("label-bad-comma", "labelSelector=,"),
    ("label-bad-list", "labelSelector=app%20in%20x"),
    ("label-bad-key", "labelSelector=a%20b"),
    ("label-bad-value", "labelSelector=app%3Dx!"),
    ("label-bad-number", "labelSelector=tier%3Ex"),
    ("label-comma-at-the-end", "labelSelector=app,"),
    ("label-two-commas", "labelSelector=app,,tier"),
    ("label-closed-value", "labelSelector=app%3D)"),
    ("label-open-list", "labelSelector=app%20in%20("),
    ("label-open-list-of-one", "labelSelector=app%20in%20(x,"),
    ("label-bad-values-in-list", "labelSelector=app%20in%20(z,x!,.a)"),
    ("label-empty-name", "labelSelector=x%2F%3D1"),
    ("label-empty-prefix", "labelSelector=%2Fx%3D1"),
    ("label-two-slashes", "labelSelector=x%2Fy%2Fz%3D1"),
    ("label-negative-number", "labelSelector=tier%3E-1"),
    ("label-no-utf8", "labelSelector=app%3D%C3%BC"),
    ("field-bad-escape", "fieldSelector=metadata.name%3Da%5Cb"),
    ("field-unescaped", "fieldSelector=metadata.name%3Da%3Db"),
    ("field-name", "fieldSelector=metadata.name%3Db"),
    ("field-name-unequal", "fieldSelector=metadata.name!%3Db"),
    ("field-namespace", "fieldSelector=metadata.namespace%3D{ns}"),
    ("field-and", "fieldSelector=metadata.name%3Db,metadata.namespace%3Dother"),
    ("field-unknown", "fieldSelector=data.k%3Da"),
    ("field-no-operator", "fieldSelector=metadata.name"),
];

pub(super) fn all() -> Vec<Scenario> {
    SELECTORS.iter().map(|(name, query)| three(*name).get(format!("{MAPS}?{query}"))).collect()
}
