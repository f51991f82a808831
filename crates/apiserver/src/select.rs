//! Label and field selectors.
//!
//! Comes in: the text of a query parameter. Goes out: a predicate over stored objects, or the 400 that upstream answers.
//! Never looks at an object's bytes: what can be selected was taken out when the object was stored.

use crate::kinds::Kind;
use crate::object::Stored;
use crate::status::Failure;
use crate::validate;

/// Both selectors of a request; all their terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Absent(String),
    /// Also what `=` and `==` are.
    In(String, Vec<String>),
    /// Also what `!=` is; holds where the label is absent.
    NotIn(String, Vec<String>),
    Greater(String, i64),
    Less(String, i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldTerm {
    field: Field,
    value: String,
    equal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    /// Index in the kind's row.
    Row(usize),
}

impl Selector {
    /// Parses both parameters of a request for `kind`.
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Failure> {
        let labels = LabelParser { rest: labels }.requirements().map_err(Failure::bad_request)?;
        Ok(Self { labels, fields: parse_fields(kind, fields)? })
    }

    /// Selects all objects.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Names one object: upstream then looks for that one instead of walking over all.
    pub(crate) fn names_one(&self) -> bool {
        self.fields.iter().any(|term| term.field == Field::Name && term.equal)
    }

    pub(crate) fn matches(&self, object: &Stored) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(object))
            && self.fields.iter().all(|term| term.matches(object))
    }
}

impl Requirement {
    fn matches(&self, object: &Stored) -> bool {
        match self {
            Self::Exists(key) => label(object, key).is_some(),
            Self::Absent(key) => label(object, key).is_none(),
            Self::In(key, values) => label(object, key).is_some_and(|value| values.iter().any(|known| known == value)),
            Self::NotIn(key, values) => {
                label(object, key).is_none_or(|value| values.iter().all(|known| known != value))
            }
            Self::Greater(key, bound) => number(object, key).is_some_and(|value| value > *bound),
            Self::Less(key, bound) => number(object, key).is_some_and(|value| value < *bound),
        }
    }
}

impl FieldTerm {
    fn matches(&self, object: &Stored) -> bool {
        let value = match self.field {
            Field::Name => object.name(),
            Field::Namespace => object.namespace(),
            Field::Row(index) => object.fields.get(index).map_or("", |value| value),
        };
        (value == self.value) == self.equal
    }
}

fn label<'a>(object: &'a Stored, key: &str) -> Option<&'a str> {
    let index = object.labels.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
    object.labels.get(index).map(|(_, value)| &**value)
}

fn number(object: &Stored, key: &str) -> Option<i64> {
    label(object, key)?.parse().ok()
}

struct LabelParser<'a> {
    rest: &'a str,
}

impl<'a> LabelParser<'a> {
    fn requirements(mut self) -> Result<Vec<Requirement>, String> {
        let mut all = Vec::new();
        self.skip_space();
        if self.rest.is_empty() {
            return Ok(all);
        }
        loop {
            if self.rest.starts_with(|c| ",()=<>".contains(c)) {
                return Err(format!("found '{}', expected: !, identifier, or 'end of string'", self.shown()));
            }
            let requirement = self.requirement();
            all.push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
            self.skip_space();
            if self.rest.is_empty() {
                return Ok(all);
            }
            if !self.take(",") {
                return Err(format!("found '{}', expected: ',' or 'end of string'", self.shown()));
            }
            self.skip_space();
            if self.rest.is_empty() || self.rest.starts_with(|c| ",()=<>".contains(c)) || self.rest.starts_with("!=") {
                return Err(format!("found '{}', expected: identifier after ','", self.shown()));
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        self.skip_space();
        if self.take("!") {
            return Ok(Requirement::Absent(self.key()?));
        }
        let key = self.key()?;
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(Requirement::Exists(key));
        }
        if self.take("!=") {
            return Ok(Requirement::NotIn(key.clone(), checked(&key, vec![self.value()?])?));
        }
        if self.take("==") || self.take("=") {
            return Ok(Requirement::In(key.clone(), checked(&key, vec![self.value()?])?));
        }
        if self.take(">") {
            let bound = self.integer(&key)?;
            return Ok(Requirement::Greater(key, bound));
        }
        if self.take("<") {
            let bound = self.integer(&key)?;
            return Ok(Requirement::Less(key, bound));
        }
        match self.word() {
            "in" => Ok(Requirement::In(key.clone(), checked(&key, self.set()?)?)),
            "notin" => Ok(Requirement::NotIn(key.clone(), checked(&key, self.set()?)?)),
            other => {
                let expected = "in, notin, =, ==, !=, gt, lt";
                Err(format!("found '{}', expected: {expected}", if other.is_empty() { self.shown() } else { other }))
            }
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        self.skip_space();
        if !self.take("(") {
            let word = self.word();
            return Err(format!("found '{}' expected: '('", if word.is_empty() { self.shown() } else { word }));
        }
        let mut values = Vec::new();
        let mut expected = "',', ')' or identifier";
        loop {
            self.skip_space();
            if self.rest.is_empty() || self.rest.starts_with(|c| "=!<>(".contains(c)) {
                return Err(format!("found '{}', expected: {expected}", self.shown()));
            }
            values.push(self.word().to_owned());
            self.skip_space();
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(format!("found '{}', expected: ',' or ')'", self.shown()));
            }
            expected = "',', or identifier";
        }
    }

    fn key(&mut self) -> Result<String, String> {
        self.skip_space();
        let key = self.word();
        if key.is_empty() {
            return Err(format!("found '{}', expected: identifier", self.shown()));
        }
        match validate::label_key_problems(key).join("; ") {
            problems if problems.is_empty() => Ok(key.to_owned()),
            problems => Err(format!("<nil>: Invalid value: {key:?}: {problems}")),
        }
    }

    fn value(&mut self) -> Result<String, String> {
        self.skip_space();
        if self.rest.starts_with(|c| "=!<>()".contains(c)) {
            return Err(format!("found '{}', expected: identifier", self.shown()));
        }
        Ok(self.word().to_owned())
    }

    fn integer(&mut self, key: &str) -> Result<i64, String> {
        let value = self.value()?;
        let problem = "for 'Gt', 'Lt' operators, the value must be an integer";
        let number = value.parse().map_err(|_| format!("values[0]: Invalid value: {value:?}: {problem}"));
        // Upstream finds what is no number before what is no value of a label.
        number.and_then(|number| checked(key, vec![value]).map(|_| number))
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || "!=<>(),".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The next character, for an error text.
    fn shown(&self) -> &'a str {
        self.rest.char_indices().nth(1).map_or(self.rest, |(end, _)| &self.rest[..end])
    }
}

/// The values of a label in their order, if they can be values of one.
fn checked(key: &str, mut values: Vec<String>) -> Result<Vec<String>, String> {
    values.sort();
    values.dedup();
    for (place, value) in values.iter().enumerate() {
        let problems = validate::label_value_problems(value).join("; ");
        if !problems.is_empty() {
            return Err(format!("values[{place}][{key}]: Invalid value: {value:?}: {problems}"));
        }
    }
    Ok(values)
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<FieldTerm>, Failure> {
    let mut terms = Vec::new();
    for term in split_unescaped(text) {
        if term.is_empty() {
            continue;
        }
        let invalid = || Failure::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'"));
        let (label, value, equal) = split_term(term).ok_or_else(invalid)?;
        let value = unescape(value).map_err(|why| Failure::bad_request(format!("invalid field selector: {why}")))?;
        let field = find_field(kind, label).ok_or_else(|| unknown_field(kind, label))?;
        terms.push(FieldTerm { field, value, equal });
    }
    Ok(terms)
}

fn find_field(kind: &Kind, label: &str) -> Option<Field> {
    match label {
        "metadata.name" => Some(Field::Name),
        "metadata.namespace" => Some(Field::Namespace),
        _ => kind.fields.iter().position(|field| field.label == label).map(Field::Row),
    }
}

fn unknown_field(kind: &Kind, label: &str) -> Failure {
    Failure::bad_request(if kind.own_field_conversion {
        format!("field label not supported: {label}")
    } else {
        format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    })
}

/// Terms are separated by commas that no backslash escapes.
fn split_unescaped(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |c| {
        let separates = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        separates
    })
}

fn split_term(term: &str) -> Option<(&str, &str, bool)> {
    // The operator is the first one in the text, and `==` is not `=` with a value that begins with `=`.
    let at = term.find('=')?;
    if let Some(label) = term[..at].strip_suffix('!') {
        return Some((label, &term[at + 1..], false));
    }
    let value = &term[at + 1..];
    Some((&term[..at], value.strip_prefix('=').unwrap_or(value), true))
}

fn unescape(value: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(next @ ('\\' | ',' | '=')) => plain.push(next),
                next => {
                    let next = next.map(String::from).unwrap_or_default();
                    return Err(format!("invalid escape sequence: \\{next}"));
                }
            },
            // Commas separate terms, so what is left unescaped is this one; upstream shows its number.
            '=' => return Err(format!("unescaped character in value: {}", u32::from('='))),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
#[path = "select_test.rs"]
mod tests;
