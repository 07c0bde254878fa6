//! What the project's CloudFormation templates say, for tests that hold the local AWS to it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::Result;
use crate::machine::{Machine, project};

/// Prints a template as JSON: `!Sub x` as `{"Fn::Sub": x}`, and so on.
const TO_JSON: &str = r#"
import json, sys, yaml

class Loader(yaml.SafeLoader):
    pass

def function(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}

Loader.add_multi_constructor("!", function)
json.dump(yaml.load(open(sys.argv[1]), Loader), sys.stdout, default=str)
"#;

/// A template with values for its parameters, pseudo parameters included.
#[derive(Debug)]
pub struct Template {
    text: Value,
    parameters: BTreeMap<String, Value>,
}

impl Template {
    /// Reads the template at `path` of the project.
    ///
    /// # Errors
    /// When it is no YAML.
    pub fn read(machine: &Machine, path: &str, parameters: &[(&str, Value)]) -> Result<Self> {
        let output = Command::new(&machine.python)
            .args(["-c", TO_JSON])
            .arg(project().join(path))
            .stderr(Stdio::inherit())
            .output()?;
        let text = serde_json::from_slice(&output.stdout)?;
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let mut parameters: BTreeMap<_, _> = parameters.collect();
        parameters.entry("AWS::Partition".to_owned()).or_insert(json!("aws"));
        Ok(Self { text, parameters })
    }

    /// The statements about EC2 in the inline policies of a role, as one policy document.
    ///
    /// # Errors
    /// When there is no such role, or one of the statements cannot be resolved with these parameters.
    pub fn ec2_policy(&self, role: &str) -> Result<Value> {
        let policies = self.text.pointer(&format!("/Resources/{role}/Properties/Policies"));
        let policies =
            policies.and_then(Value::as_array).ok_or_else(|| format!("no role {role}"))?;
        let statements = policies
            .iter()
            .filter_map(|policy| policy.pointer("/PolicyDocument/Statement")?.as_array())
            .flatten();
        let about_ec2 = statements.filter(|statement| {
            statement.get("Action").is_some_and(|actions| actions.to_string().contains("\"ec2:"))
        });
        let statements = about_ec2.map(|it| self.resolve(it)).collect::<Result<Vec<_>>>()?;
        if statements.is_empty() {
            return Err(format!("{role} says nothing about EC2").into());
        }
        Ok(json!({"Version": "2012-10-17", "Statement": statements}))
    }

    /// With the values of `Ref` and `Fn::Sub` for these.
    fn resolve(&self, value: &Value) -> Result<Value> {
        match value {
            Value::Object(members) if members.len() == 1 => match members.iter().next() {
                Some((name, Value::String(text))) if name == "Ref" => self.parameter(text),
                Some((name, Value::String(text))) if name == "Fn::Sub" => {
                    Ok(self.substitute(text)?.into())
                }
                Some((name, _)) if name.starts_with("Fn::") => {
                    Err(format!("{name} is more than is understood here: {value}").into())
                }
                _ => self.members(members),
            },
            Value::Object(members) => self.members(members),
            Value::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            other => Ok(other.clone()),
        }
    }

    fn members(&self, members: &Map<String, Value>) -> Result<Value> {
        let resolved = members.iter().map(|(name, value)| Ok((name.clone(), self.resolve(value)?)));
        Ok(Value::Object(resolved.collect::<Result<_>>()?))
    }

    fn parameter(&self, name: &str) -> Result<Value> {
        let value = self.parameters.get(name).cloned();
        value.ok_or_else(|| format!("no value for {name}").into())
    }

    /// `${Name}` is a value, `${!x}` is `${x}`.
    fn substitute(&self, text: &str) -> Result<String> {
        let mut parts = text.split("${");
        let mut result = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or_else(|| format!("no }} in {text}"))?;
            match name.strip_prefix('!') {
                Some(literal) => result.extend(["${", literal, "}"]),
                None => result.push_str(self.parameter(name)?.as_str().unwrap_or_default()),
            }
            result.push_str(rest);
        }
        Ok(result)
    }
}
