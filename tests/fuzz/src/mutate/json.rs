//! JSON, changed as JSON, and written as nobody writes it.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::TOKENS;
use crate::random::Random;

/// `None`: it is none.
pub(super) fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(input).ok()?;
    let other: Value = serde_json::from_slice(other).unwrap_or(Value::Null);
    for _ in 0..=(random.below(2) * random.below(3)) {
        let all = pointers(&value);
        let at = random.pick(&all)?;
        change(value.pointer_mut(at)?, &other, random);
    }
    let mut text = String::new();
    let twice = random.once_in(12);
    write(&mut text, &value, random, twice);
    Some(text.into_bytes())
}

/// Every place in it.
fn pointers(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(n, it)| (n.to_string(), it)).collect()
        }
        Value::Object(members) => members.iter().map(|(name, it)| (name.clone(), it)).collect(),
        _ => Vec::new(),
    };
    let mut all = vec![String::new()];
    for (token, value) in inner {
        let token = token.replace('~', "~0").replace('/', "~1");
        all.extend(pointers(value).into_iter().map(|rest| format!("/{token}{rest}")));
    }
    all
}

fn change(value: &mut Value, other: &Value, random: &mut Random) {
    let places = pointers(other);
    let elsewhere = random.pick(&places).and_then(|it| other.pointer(it)).cloned();
    let elsewhere = elsewhere.unwrap_or_default();
    let was = value.clone();
    match (random.below(10), &mut *value) {
        (0 | 1, Value::Object(members)) => {
            let name = members.keys().nth(random.below(members.len())).cloned();
            if let Some(was) = name.and_then(|name| members.remove(&name)) {
                members.insert(word(random, other), was);
            }
        }
        (0..=3, Value::Object(members)) => {
            members.insert(word(random, other), elsewhere);
        }
        (0 | 1, Value::Array(elements)) => {
            let n = if random.once_in(30) { 300 } else { 1 };
            elements.extend(std::iter::repeat_n(elsewhere, n));
        }
        (2, Value::Array(elements)) => elements.reverse(),
        (0..=4, _) => *value = plain(random),
        (5, _) => *value = elsewhere,
        (6, _) => *value = json!([was]),
        (7, _) => *value = Value::Object(Map::from_iter([(word(random, other), was)])),
        (8, Value::Number(_) | Value::Bool(_)) => *value = json!(was.to_string()),
        (8, Value::String(text)) => {
            let at = random.below(text.len() + 1);
            if text.is_char_boundary(at) {
                text.insert_str(at, random.pick(&TOKENS).copied().unwrap_or_default());
            }
        }
        _ => *value = Value::Null,
    }
}

/// The name of a member elsewhere, or anything.
fn word(random: &mut Random, other: &Value) -> String {
    let places = pointers(other);
    let place = random.pick(&places).map(String::as_str).unwrap_or_default();
    let name = place.rsplit('/').find(|it| it.parse::<usize>().is_err()).unwrap_or_default();
    match random.below(8) {
        0 => random.pick(&TOKENS).copied().unwrap_or_default().to_owned(),
        1 => name.to_lowercase(),
        2 => format!("{name}s"),
        3 if random.once_in(8) => "n".repeat(random.below(5000)),
        _ => name.to_owned(),
    }
}

fn plain(random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => json!(random.once_in(2)),
        2 => json!(random.below(40)),
        3 => json!(random.number()),
        4 => json!(i64::MIN),
        5 => json!(1e300),
        6 => json!(0.5),
        7 => json!([]),
        8 => json!({}),
        9 if random.once_in(8) => json!("x".repeat(random.below(20_000))),
        10 => json!(random.below(3).to_string()),
        _ => json!(random.pick(&TOKENS).copied().unwrap_or_default()),
    }
}

/// As text, some of it escaped and, if so, with a member that stands there twice.
fn write(text: &mut String, value: &Value, random: &mut Random, twice: bool) {
    match value {
        Value::Array(elements) => {
            text.push('[');
            for (n, element) in elements.iter().enumerate() {
                text.push_str(if n == 0 { "" } else { "," });
                write(text, element, random, twice);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (n, (name, value)) in members.iter().enumerate() {
                text.push_str(if n == 0 { "" } else { ", " });
                if twice && random.once_in(12) {
                    string(text, name, random);
                    text.push_str(":0,");
                }
                string(text, name, random);
                text.push(':');
                write(text, value, random, twice);
            }
            text.push('}');
        }
        Value::String(value) => string(text, value, random),
        other => {
            let _ = write!(text, "{other}"); // a String takes it
        }
    }
}

fn string(text: &mut String, value: &str, random: &mut Random) {
    if !random.once_in(10) {
        let _ = write!(text, "{}", json!(value)); // a String takes it, here and below
        return;
    }
    text.push('"');
    for unit in value.encode_utf16() {
        let _ = write!(text, "\\u{unit:04x}");
    }
    if random.once_in(30) {
        text.push_str("\\udc00");
    }
    text.push('"');
}
