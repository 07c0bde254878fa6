//! As much of JSON Schema as our schema has; a keyword that is not known here is an error.

use regex_lite::Regex;
use serde_json::{Value, json};

/// A schema, and which of the kinds of `PolicyDetails` is meant.
pub(super) struct Schema<'a> {
    root: &'a Value,
    kind: usize,
}

impl<'a> Schema<'a> {
    pub(super) fn new(root: &'a Value, kind: usize) -> Self {
        Self { root, kind }
    }

    /// Calls `visit` with the pointer and the schema of everything there can be; of lists, with the first element.
    pub(super) fn each(&self, visit: &mut impl FnMut(&str, &Value)) {
        self.walk(self.root, "", visit);
    }

    /// The schema of what is there.
    pub(super) fn at(&self, pointer: &str) -> Value {
        let mut found = None;
        self.each(&mut |other, schema| {
            if other == pointer {
                found = Some(schema.clone());
            }
        });
        found.unwrap()
    }

    fn walk(&self, schema: &Value, pointer: &str, visit: &mut impl FnMut(&str, &Value)) {
        let mut schema = resolved(self.root, schema);
        while let Some(choices) = schema.get("anyOf") {
            schema = resolved(self.root, &choices[self.kind]);
        }
        visit(pointer, &schema);
        if let Some(Value::Object(members)) = schema.get("properties") {
            for (name, schema) in members {
                self.walk(schema, &format!("{pointer}/{name}"), visit);
            }
        }
        if let Some(items) = schema.get("items") {
            self.walk(items, &format!("{pointer}/0"), visit);
        }
    }
}

/// A schema with what its `$ref` refers to.
fn resolved(root: &Value, schema: &Value) -> Value {
    let Some(Value::String(reference)) = schema.get("$ref") else {
        return schema.clone();
    };
    let target = root.pointer(reference.trim_start_matches('#')).unwrap();
    let mut resolved = resolved(root, target);
    for (name, value) in schema.as_object().unwrap() {
        if name != "$ref" {
            resolved[name] = value.clone();
        }
    }
    resolved
}

/// What is wrong with `value`, with a description of `depth` that keeps it finite.
pub(super) fn complaints(root: &Value, schema: &Value, value: &Value, depth: usize) -> Vec<String> {
    assert!(depth < 50);
    let schema = resolved(root, schema);
    let Value::Object(keywords) = &schema else {
        return if schema == json!(false) { vec![format!("{value} is there")] } else { vec![] };
    };
    let inner = |schema: &Value, value: &Value| complaints(root, schema, value, depth + 1);
    let mut found = Vec::new();
    for (keyword, want) in keywords {
        let fits = match keyword.as_str() {
            "title" | "description" | "$schema" | "$defs" => true,
            "properties" => {
                for (name, schema) in want.as_object().unwrap() {
                    found.extend(
                        value.get(name).map(|value| inner(schema, value)).unwrap_or_default(),
                    );
                }
                true
            }
            "items" => {
                let elements = value.as_array().into_iter().flatten();
                found.extend(elements.flat_map(|value| inner(want, value)));
                true
            }
            "anyOf" => {
                want.as_array().unwrap().iter().any(|schema| inner(schema, value).is_empty())
            }
            "additionalProperties" => {
                let known = |name: &String| schema["properties"].get(name).is_some();
                value.as_object().is_none_or(|members| members.keys().all(known))
            }
            "required" => want.as_array().unwrap().iter().all(|name| {
                value.as_object().is_none_or(|members| members.contains_key(name.as_str().unwrap()))
            }),
            _ => fits(keyword, want, value),
        };
        if !fits {
            found.push(format!("{value} is against {keyword} {want}"));
        }
    }
    found
}

/// Whether a value fits a keyword that is for one type and looks at nothing else.
fn fits(keyword: &str, want: &Value, value: &Value) -> bool {
    let number = |is_one: fn(i64, i64) -> bool| {
        value.as_i64().is_none_or(|number| is_one(number, want.as_i64().unwrap()))
    };
    let sized = |size: Option<usize>, is_one: fn(u64, u64) -> bool| {
        size.is_none_or(|size| is_one(size.try_into().unwrap(), want.as_u64().unwrap()))
    };
    let characters = value.as_str().map(|text| text.chars().count());
    let elements = value.as_array().map(Vec::len);
    match keyword {
        "type" => match want.as_str().unwrap() {
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("type {other}"),
        },
        "enum" => want.as_array().unwrap().contains(value),
        "const" => want == value,
        "minimum" => number(|number, least| number >= least),
        "maximum" => number(|number, most| number <= most),
        "multipleOf" => number(|number, step| number % step == 0),
        "minLength" => sized(characters, |size, least| size >= least),
        "maxLength" => sized(characters, |size, most| size <= most),
        "minItems" => sized(elements, |size, least| size >= least),
        "maxItems" => sized(elements, |size, most| size <= most),
        "pattern" => {
            let pattern = Regex::new(want.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        other => panic!("{other} is not known here"),
    }
}
