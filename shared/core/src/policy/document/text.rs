//! Names and values in messages.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value;

/// `value` with nothing behind `ExternalId`, wherever that stands: it is a secret, and messages go to logs.
pub(crate) fn without_secrets(value: &Value) -> Cow<'_, Value> {
    if !has_secrets(value) {
        return Cow::Borrowed(value);
    }
    let mut value = value.clone();
    hide(&mut value);
    Cow::Owned(value)
}

const SECRET: &str = "ExternalId";

fn has_secrets(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(has_secrets),
        Value::Object(members) => members.contains_key(SECRET) || members.values().any(has_secrets),
        _ => false,
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(hide),
        Value::Object(members) => {
            for (name, value) in members {
                if name == SECRET {
                    *value = "(not shown)".into();
                } else {
                    hide(value);
                }
            }
        }
        _ => {}
    }
}

/// Whether two names differ by no more than case and one letter (added, left out, another, or
/// swapped with the next).
pub(super) fn is_near(name: &str, known: &str) -> bool {
    if name.len().abs_diff(known.len()) > 3 {
        return false; // and `name` may be long
    }
    let lower = |text: &str| text.to_ascii_lowercase().chars().collect::<Vec<_>>();
    let (name, known) = (lower(name), lower(known));
    let start = name.iter().zip(&known).take_while(|(a, b)| a == b).count();
    let (_, name) = name.split_at(start);
    let (_, known) = known.split_at(start);
    let end = name.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
    match (name.split_at(name.len() - end).0, known.split_at(known.len() - end).0) {
        ([] | [_], [] | [_]) => true,
        ([first, second], [third, fourth]) => first == fourth && second == third,
        _ => false,
    }
}

/// `text` without characters that could break a line or hide, and not longer than about `max`
/// characters.
pub(super) fn escaped(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == max {
            shown.push('…');
            break;
        }
        let is_plain = matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
        if is_plain {
            shown.push(c);
        } else {
            let _ = write!(shown, "{}", c.escape_debug()); // a String takes it
        }
    }
    shown
}
