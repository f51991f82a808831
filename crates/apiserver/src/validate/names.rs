//! Names, label keys and label values.
//!
//! Comes in: a text. Goes out: what is wrong with it, in upstream's words, if anything is.

/// Which names a kind allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// RFC 1123 subdomain, at most 253 characters.
    Subdomain,
    /// RFC 1123 label, at most 63 characters.
    Label,
    /// RFC 1035 label: a letter comes first.
    ServiceLabel,
    /// What may name an entry of a ConfigMap: letters, digits and `-_.`.
    MapKey,
}

const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SERVICE_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
'[a-z]([-a-z0-9]*[a-z0-9])?')";
const MAP_KEY_TEXT: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const PREFIX_TEXT: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
pub(super) const QUALIFIED_TEXT: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with a name, if anything.
pub(crate) fn name_problem(rule: NameRule, name: &str) -> Option<&'static str> {
    match rule {
        NameRule::Label | NameRule::ServiceLabel if name.len() > 63 => Some("must be no more than 63 characters"),
        NameRule::ServiceLabel => {
            let lettered = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
            (!lettered || !is_dns_label(name)).then_some(SERVICE_TEXT)
        }
        NameRule::MapKey if name.len() > 253 => Some("must be no more than 253 characters"),
        NameRule::MapKey => map_key_problem(name),
        NameRule::Label => (!is_dns_label(name)).then_some(LABEL_TEXT),
        NameRule::Subdomain if name.len() > 253 => Some("must be no more than 253 characters"),
        NameRule::Subdomain => (!is_subdomain(name)).then_some(SUBDOMAIN_TEXT),
    }
}

/// What is wrong with the key of a label, if anything: `name` or `prefix/name`.
pub(crate) fn label_key_problem(key: &str) -> Option<&'static str> {
    let name = match key.split_once('/') {
        Some(("", _)) => return Some("prefix part must be non-empty"),
        Some((prefix, _)) if prefix.len() > 253 || !is_subdomain(prefix) => {
            return Some(PREFIX_TEXT);
        }
        Some((_, name)) => name,
        None => key,
    };
    if name.is_empty() {
        Some("name part must be non-empty")
    } else if name.len() > 63 {
        Some("name part must be no more than 63 characters")
    } else {
        (!is_qualified(name)).then_some(QUALIFIED_TEXT)
    }
}

/// What is wrong with the value of a label, if anything.
pub(crate) fn label_value_problem(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        Some("must be no more than 63 characters")
    } else {
        (!value.is_empty() && !is_qualified(value)).then_some(VALUE_TEXT)
    }
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_dns_label)
}

fn is_dns_label(name: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    ends(name, alphanumeric) && name.bytes().all(|byte| alphanumeric(&byte) || byte == b'-')
}

fn is_qualified(name: &str) -> bool {
    ends(name, u8::is_ascii_alphanumeric)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn ends(name: &str, allowed: impl Fn(&u8) -> bool) -> bool {
    matches!((name.as_bytes().first(), name.as_bytes().last()), (Some(first), Some(last)) if allowed(first) && allowed(last))
}

fn map_key_problem(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match name {
        "." | ".." => Some("must not be '.' or '..'"),
        name if name.starts_with("..") => Some("must not start with '..'"),
        name => (name.is_empty() || !name.bytes().all(allowed)).then_some(MAP_KEY_TEXT),
    }
}
