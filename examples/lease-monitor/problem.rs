//! Errors as sentences for the person at the terminal: what went wrong, and what to do about it.
//!
//! In: errors of the client. Out: text, on one line, without secrets. It decides nothing: recovery is the libraries'.

use kube_client::Error;

/// What to do about credentials that aren't accepted.
pub(crate) const UNAUTHORIZED: &str =
    "the API server doesn't accept the credentials (401): renew the token or the client certificate of the kubeconfig";

/// The HTTP status of a refusal, if the server answered.
pub(crate) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// What went wrong with `verb` on `resource` (plural and group, as in an RBAC rule).
pub(crate) fn explain(error: &Error, verb: &str, resource: &str, namespace: &str) -> String {
    let place = match namespace {
        "" => "in all namespaces".to_owned(),
        namespace => format!("in namespace {namespace}"),
    };
    match code(error) {
        Some(403) => forbidden(verb, resource, &place),
        Some(401) => UNAUTHORIZED.to_owned(),
        Some(404) => format!("the API server has no {resource} {place}, or the object is gone (404)"),
        Some(_) => format!("the API server refuses to {verb} {resource} {place}: {}", chain(error)),
        None => format!("cannot {verb} {resource} {place}: {}", chain(error)),
    }
}

/// The sentence for a missing permission: what to grant. `verb` may be two: `list and watch`.
pub(crate) fn forbidden(verb: &str, resource: &str, place: &str) -> String {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let verbs = verb.split(" and ").map(|verb| format!("\"{verb}\"")).collect::<Vec<_>>().join(", ");
    format!(
        "not allowed to {verb} {resource} {place} (403): grant it with an RBAC rule \
         {{apiGroups: [\"{group}\"], resources: [\"{plural}\"], verbs: [{verbs}]}}"
    )
}

/// An error with its causes, without saying the same twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube_client::core::Status;

    #[test]
    fn a_missing_permission_says_what_to_grant() {
        let status = Status { code: 403, reason: "Forbidden".into(), message: "no".into(), ..Status::default() };
        let text = explain(&Error::Api(Box::new(status)), "list", "leases.coordination.k8s.io", "");
        assert!(text.contains("not allowed to list leases.coordination.k8s.io in all namespaces (403)"), "{text}");
        assert!(text.contains(r#"{apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["list"]}"#));
    }
}
