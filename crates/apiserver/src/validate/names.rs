//! Names, label keys and label values.
//!
//! Comes in: a text. Goes out: all that is wrong with it, in upstream's words.

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

/// Longest name or value of a label, and longest DNS label.
const LABEL_LIMIT: usize = 63;
/// Longest DNS subdomain.
const SUBDOMAIN_LIMIT: usize = 253;

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
const KEY_TEXT: &str = "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const QUALIFIED_TEXT: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with a name.
pub(crate) fn name_problems(rule: NameRule, name: &str) -> Vec<&'static str> {
    match rule {
        NameRule::Subdomain => {
            let form = (!is_subdomain(name)).then_some(SUBDOMAIN_TEXT);
            too_long(name, SUBDOMAIN_LIMIT, "must be no more than 253 characters").into_iter().chain(form).collect()
        }
        NameRule::Label => {
            let form = match name {
                _ if is_dns_label(name) => None,
                _ if is_subdomain(name) => Some("must not contain dots"),
                _ => Some(LABEL_TEXT),
            };
            too_long(name, LABEL_LIMIT, "must be no more than 63 characters").into_iter().chain(form).collect()
        }
        NameRule::ServiceLabel => {
            let lettered = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
            let form = (!lettered || !is_dns_label(name)).then_some(SERVICE_TEXT);
            too_long(name, LABEL_LIMIT, "must be no more than 63 characters").into_iter().chain(form).collect()
        }
        NameRule::MapKey => too_long(name, SUBDOMAIN_LIMIT, "must be no more than 253 characters")
            .into_iter()
            .chain(map_key_problem(name))
            .collect(),
    }
}

/// What is wrong with the beginning of a generated name: its last dash needn't be an end, for more comes after it.
pub(crate) fn base_problems(rule: NameRule, base: &str) -> Vec<&'static str> {
    let masked = base.strip_suffix('-').filter(|rest| !rest.is_empty()).and_then(|rest| {
        // As upstream: the letter before the dash goes with it.
        let (last, _) = rest.char_indices().next_back()?;
        Some(format!("{}a", &rest[..last]))
    });
    name_problems(rule, masked.as_deref().unwrap_or(base))
}

/// What is wrong with the key of a label: `name` or `prefix/name`.
pub(crate) fn label_key_problems(key: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((_, rest)) if rest.contains('/') => return vec![KEY_TEXT],
        Some((prefix, name)) => {
            match prefix {
                "" => problems.push("prefix part must be non-empty"),
                prefix => {
                    let long = "prefix part must be no more than 253 characters";
                    problems.extend(too_long(prefix, SUBDOMAIN_LIMIT, long));
                    problems.extend((!is_subdomain(prefix)).then_some(PREFIX_TEXT));
                }
            }
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty");
    }
    problems.extend(too_long(name, LABEL_LIMIT, "name part must be no more than 63 bytes"));
    problems.extend((!is_qualified(name)).then_some(QUALIFIED_TEXT));
    problems
}

/// What is wrong with the value of a label.
pub(crate) fn label_value_problems(value: &str) -> Vec<&'static str> {
    let form = (!value.is_empty() && !is_qualified(value)).then_some(VALUE_TEXT);
    too_long(value, LABEL_LIMIT, "must be no more than 63 bytes").into_iter().chain(form).collect()
}

fn too_long(text: &str, limit: usize, problem: &'static str) -> Option<&'static str> {
    (text.len() > limit).then_some(problem)
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
