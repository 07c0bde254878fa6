//! Rules that hold for whatever is told.

use std::fmt::Debug;

use serde_json::Value;

/// Longer than any message has to be: an answer of Lambda has room for it, and so has a log line.
pub const LONGEST: usize = 100_000;

/// Neither breaks its line nor fills the log.
pub fn one_line(text: &str) {
    assert!(!text.is_empty(), "a message says nothing");
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!text.chars().any(breaks), "more than one line: {text:?}");
    assert!(text.len() <= LONGEST, "{} bytes long: {:.200?}", text.len(), text);
}

/// A JSON pointer as RFC 6901 has it.
pub fn pointer(pointer: &str) {
    let is_rooted = pointer.is_empty() || pointer.starts_with('/');
    let mut escapes = pointer.split('~').skip(1);
    let is_escaped = escapes.all(|rest| rest.starts_with(['0', '1']));
    assert!(is_rooted && is_escaped, "no JSON pointer: {pointer:?}");
}

/// A JSON pointer to something that is there, or could be.
pub fn pointer_into(document: &Value, text: &str) {
    pointer(text);
    let parent = text.rsplit_once('/').map_or("", |(parent, _)| parent);
    assert!(document.pointer(parent).is_some(), "{text:?} points nowhere in {document}");
}

/// Every value that is called `ExternalId`, looks like one of the fixtures' and stands nowhere else.
#[must_use]
pub fn secrets(document: &Value) -> Vec<&str> {
    let (mut secret, mut open) = (Vec::new(), Vec::new());
    collect(document, false, &mut secret, &mut open);
    let is_one = |it: &str| it.contains("secret") || it.contains("external-id");
    secret.retain(|it| is_one(it) && !open.iter().any(|other| other.contains(it)));
    secret
}

fn collect<'a>(
    value: &'a Value,
    is_secret: bool,
    secret: &mut Vec<&'a str>,
    open: &mut Vec<&'a str>,
) {
    match value {
        Value::String(text) if is_secret => secret.push(text),
        Value::String(text) => open.push(text),
        Value::Array(elements) => {
            for element in elements {
                collect(element, is_secret, secret, open);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                open.push(name);
                collect(value, is_secret || name == "ExternalId", secret, open);
            }
        }
        _ => {}
    }
}

/// No secret of the document is in the message.
pub fn keeps_secrets(document: &Value, message: &str) {
    for secret in secrets(document) {
        assert!(!message.contains(secret), "the external id {secret:?} is told: {message}");
    }
}

/// The same twice.
pub fn same<T: PartialEq + Debug>(what: &str, one: &T, other: &T) {
    assert!(one == other, "{what} differs:\n{one:?}\n{other:?}");
}
