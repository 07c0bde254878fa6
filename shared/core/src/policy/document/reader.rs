//! A cursor over a JSON document that knows where it is and collects what is wrong.
//!
//! Reading goes on after an issue, so functions return `None` for "an issue has been reported", and
//! callers read everything before they use `?`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::Issue;
use super::text::{escaped, is_near, without_secrets};
use crate::ids::{AccountId, InvalidId};

/// What has been found wrong so far.
pub(super) type Issues = RefCell<Vec<Issue>>;

/// A value, and where it is.
#[derive(Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    pointer: String,
    issues: &'a Issues,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, issues: &'a Issues) -> Self {
        Self { value, pointer: String::new(), issues }
    }

    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Reports `message` here.
    pub(super) fn fail<T>(&self, message: impl fmt::Display) -> Option<T> {
        let issue = Issue { pointer: self.pointer.clone(), message: message.to_string() };
        self.issues.borrow_mut().push(issue);
        None
    }

    /// Reports that this is not what is wanted.
    pub(super) fn want<T>(&self, want: impl fmt::Display) -> Option<T> {
        self.reject(format_args!("want {want}"))
    }

    /// Reports `message` and the value.
    pub(super) fn reject<T>(&self, message: impl fmt::Display) -> Option<T> {
        let is_function = |name: &String| name == "Ref" || name.starts_with("Fn::");
        let hint = match self.value {
            Value::Object(members) if members.keys().any(is_function) => {
                " (CloudFormation's functions are not evaluated here)"
            }
            _ => "",
        };
        self.fail(format_args!("{message}, found {}{hint}", shown(self.value)))
    }

    /// Reports that this is part of the language, and not of this version. `meaning` is half a
    /// sentence.
    pub(super) fn not_supported<T>(&self, meaning: &str) -> Option<T> {
        let what = match self.single().value {
            value @ Value::String(_) => shown(value),
            _ => self.pointer.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        self.fail(format_args!("{what} is not supported by this version of snapferry: {meaning}"))
    }

    fn child(&self, value: &'a Value, token: impl fmt::Display) -> Self {
        let token = token.to_string().replace('~', "~0").replace('/', "~1");
        Self { value, pointer: format!("{}/{token}", self.pointer), issues: self.issues }
    }

    /// The element of a list of one, or the value itself.
    pub(super) fn single(&self) -> Self {
        match self.value.as_array().map(Vec::as_slice) {
            Some([only]) => self.child(only, 0),
            _ => self.clone(),
        }
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    pub(super) fn is_true(&self) -> bool {
        self.single().value == &Value::Bool(true)
    }

    /// A member of an object, by any reader but [`Node::members`].
    pub(super) fn member(&self, name: &str) -> Option<Self> {
        self.value.as_object()?.get(name).map(|value| self.child(value, name))
    }

    /// The members of an object.
    pub(super) fn children(&self) -> Vec<Self> {
        let members = self.value.as_object().into_iter().flatten();
        members.map(|(name, value)| self.child(value, name)).collect()
    }

    /// The elements of a list; what is no list is the only element.
    pub(super) fn elements(&self) -> Vec<Self> {
        match self.value.as_array() {
            Some(elements) => {
                elements.iter().enumerate().map(|(n, value)| self.child(value, n)).collect()
            }
            None => vec![self.clone()],
        }
    }

    /// Reads the elements, 1 to `max` of them. `what` says what they are, and whose the limit is. What is far over the
    /// limit is not looked at: an event has room for very much.
    pub(super) fn list<T>(
        &self,
        max: usize,
        what: &str,
        read: impl FnMut(Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let elements = self.elements();
        let fits = elements.len() <= max;
        if !fits {
            self.fail::<()>(format_args!("want 1 to {max} {what}, found {}", elements.len()));
        }
        let read: Vec<Option<T>> = elements.into_iter().take(max + 100).map(read).collect();
        read.into_iter().collect::<Option<_>>().filter(|_| fits)
    }

    pub(super) fn string(&self) -> Option<&'a str> {
        self.single().value.as_str()
    }

    /// An identifier.
    pub(super) fn id<T: FromStr<Err = InvalidId>>(&self) -> Option<T> {
        let node = self.single();
        match node.string().unwrap_or_default().parse() {
            Ok(id) => Some(id),
            Err(InvalidId { want, .. }) => node.want(want),
        }
    }

    /// An account, also as a number where that has kept all of its digits.
    pub(super) fn account(&self) -> Option<AccountId> {
        let node = self.single();
        match node.value.as_u64().and_then(|number| number.to_string().parse().ok()) {
            Some(account) => Some(account),
            None => node.id(),
        }
    }

    pub(super) fn integer(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let want = format!("{} to {}", range.start(), range.end());
        self.number_among(&want, |number| range.contains(number))
    }

    /// A number that `is_one` takes; `want` says which those are.
    pub(super) fn number_among(
        &self,
        want: &str,
        is_one: impl FnOnce(&u32) -> bool,
    ) -> Option<u32> {
        let number = self.number().and_then(|number| u32::try_from(number).ok());
        number.filter(is_one).or_else(|| self.single().want(want))
    }

    fn number(&self) -> Option<u64> {
        let node = self.single();
        match node.value {
            Value::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            value => value.as_u64(),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let node = self.single();
        match node.value {
            Value::Bool(value) => Some(*value),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            _ => node.want("true or false"),
        }
    }

    /// Reads an object; afterwards, whatever `read` did not ask for is an issue.
    pub(super) fn members<T>(&self, read: impl FnOnce(&mut Object<'a>) -> T) -> Option<T> {
        let node = self.single();
        let Some(members) = node.value.as_object() else {
            return node.want("an object");
        };
        let mut object = Object { node, members, known: BTreeSet::new() };
        let value = read(&mut object);
        object.report_unknown();
        Some(value)
    }
}

/// An object that remembers what it was asked for.
pub(super) struct Object<'a> {
    node: Node<'a>,
    members: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
}

impl<'a> Object<'a> {
    /// The object itself.
    pub(super) fn node(&self) -> &Node<'a> {
        &self.node
    }

    /// A member, unless it is absent in any of the ways DLM's tools write that.
    pub(super) fn get(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.known.insert(name);
        let value = self.members.get(name).filter(|value| !is_absent(value))?;
        Some(self.node.child(value, name))
    }

    /// A member that may be absent: `Some(None)`.
    #[expect(clippy::option_option, reason = "invalid, absent, there")]
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Node<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.get(name) {
            None => Some(None),
            Some(node) => read(node).map(Some),
        }
    }

    /// A member, unless it says no more than its absence would, all through.
    pub(super) fn given(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.get(name).filter(|node| !is_void(node.value))
    }

    /// A number that may be absent.
    #[expect(clippy::option_option, reason = "invalid, absent, there")]
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<Option<u32>> {
        match self.get(name) {
            None => Some(None),
            Some(node) if node.number() == Some(0) => Some(None),
            Some(node) => node.integer(range).map(Some),
        }
    }

    /// A boolean; absent is false.
    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.get(name).map_or(Some(false), |node| node.boolean())
    }

    /// A string for which empty is a value and not absence.
    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        self.known.insert(name);
        match self.members.get(name) {
            Some(Value::String(text)) => Some(text),
            _ => self.missing(name, "a string"),
        }
    }

    pub(super) fn required(
        &mut self,
        name: &'static str,
        want: impl fmt::Display,
    ) -> Option<Node<'a>> {
        self.get(name).or_else(|| self.missing(name, want))
    }

    /// Reports that a member is absent.
    pub(super) fn missing<T>(&self, name: &str, want: impl fmt::Display) -> Option<T> {
        if let Some(value) = self.members.get(name) {
            return self.node.child(value, name).want(want);
        }
        let node = self.node.child(&Value::Null, name);
        node.fail(format_args!("want {want}, found nothing"))
    }

    /// Whether the member is written, were it only as absent.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    pub(super) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is_written(name))
    }

    /// Refuses a member of the language that this version does not have, unless it says no more
    /// than its absence would. Whether there was one.
    pub(super) fn refuse(&mut self, name: &'static str, meaning: &str) -> bool {
        let given = self.given(name);
        if let Some(node) = &given {
            node.not_supported::<()>(meaning);
        }
        given.is_some()
    }

    /// Refuses members that have their place in the other kind of policy.
    pub(super) fn misplaced(&mut self, names: &[&'static str], place: &str) {
        for name in names {
            if let Some(node) = self.given(name) {
                node.fail::<()>(format_args!("has its place in {place} only"));
            }
        }
    }

    /// Members that are known and not read.
    pub(super) fn know(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    fn report_unknown(&self) {
        #[cfg(test)]
        super::tests::traced(self.node.pointer(), &self.known);
        for (name, value) in self.members {
            if self.known.contains(name.as_str()) {
                continue;
            }
            let node = self.node.child(value, name);
            match self.known.iter().find(|known| is_near(name, known)) {
                Some(near) => {
                    node.fail::<()>(format_args!("unknown member, did you mean {near:?}?"));
                }
                None => {
                    node.fail::<()>("unknown member");
                }
            }
        }
    }
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => false,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Whether `value` says no more than an absent one, all through.
fn is_void(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::String(text) => text.is_empty() || text == "false" || text == "0",
        Value::Array(elements) => elements.iter().all(is_void),
        Value::Object(members) => members.values().all(is_void),
        value => is_absent(value),
    }
}

/// A value as JSON, on one line, not too long, and without secrets.
fn shown(value: &Value) -> String {
    escaped(&without_secrets(value).to_string(), 80)
}
