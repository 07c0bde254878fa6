//! What the project's CloudFormation templates say, for tests that hold the local AWS to it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::Result;
use crate::machine::{Machine, project};
use crate::stage::HOME;

/// Prints a template as JSON: `!Sub x` as `{"Fn::Sub": x}`, and so on.
const TO_JSON: &str = r#"
import json, sys, yaml

class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
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

/// A template with values for its parameters, pseudo parameters included. Others have their defaults.
#[derive(Debug)]
pub struct Template {
    text: Arc<Value>,
    parameters: BTreeMap<String, Value>,
}

/// The templates that this process has read.
static TEXTS: Mutex<BTreeMap<String, Arc<Value>>> = Mutex::new(BTreeMap::new());

/// What the functions, and the state machine of on-demand backups, ask AWS for. The rest need not be understood here: `AWS`'s own services ask for it.
const ASKED: [&str; 7] =
    ["\"backup:", "\"ec2:", "\"iam:", "\"kms:", "\"organizations:", "\"ssm:", "\"sts:"];

/// Pseudo parameters, where nothing else is given.
const PSEUDO: [(&str, &str); 3] =
    [("AWS::Partition", "aws"), ("AWS::Region", HOME), ("AWS::StackName", STACK)];
/// The stack of the functions.
pub const STACK: &str = "local";
/// Where they read their policies.
pub const POLICIES: &str = "/snapferry/local/policies/";

impl Template {
    /// Reads the template at `path` of the project.
    ///
    /// # Errors
    /// When it is no YAML.
    pub fn read(machine: &Machine, path: &str, parameters: &[(&str, Value)]) -> Result<Self> {
        let known = TEXTS.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        let text = known.map_or_else(|| Self::text(machine, path), Ok)?;
        let pseudo = PSEUDO.map(|(name, value)| (name.to_owned(), json!(value)));
        let given = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Ok(Self { text, parameters: pseudo.into_iter().chain(given).collect() })
    }

    fn text(machine: &Machine, path: &str) -> Result<Arc<Value>> {
        let output = Command::new(&machine.python)
            .args(["-c", TO_JSON])
            .arg(project().join(path))
            .stderr(Stdio::inherit())
            .output()?;
        let text = Arc::new(serde_json::from_slice::<Value>(&output.stdout)?);
        let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
        texts.insert(path.to_owned(), Arc::clone(&text));
        Ok(text)
    }

    /// What a role's inline policies, or a policy, say about what the functions ask for, as one policy document.
    ///
    /// # Errors
    /// When there is no such role or policy, or one of the statements cannot be resolved with these parameters.
    pub fn policy(&self, name: &str) -> Result<Value> {
        let properties = self.found(&format!("/Resources/{name}/Properties"))?;
        let inline = properties.get("Policies").and_then(Value::as_array).into_iter().flatten();
        let statements = inline
            .chain([properties])
            .filter_map(|policy| policy.pointer("/PolicyDocument/Statement")?.as_array())
            .flatten();
        let mut asked = Vec::new();
        for statement in statements {
            let statement = self.chosen(statement)?;
            let actions = statement.get("Action").map(ToString::to_string).unwrap_or_default();
            if ASKED.iter().any(|service| actions.contains(service)) {
                asked.push(self.resolve(statement)?);
            }
        }
        if asked.is_empty() {
            return Err(format!("{name} says nothing about what the functions do").into());
        }
        Ok(json!({"Version": "2012-10-17", "Statement": asked}))
    }

    /// The branch of an `Fn::If` that holds; of everything else itself.
    fn chosen<'a>(&self, value: &'a Value) -> Result<&'a Value> {
        match value.get("Fn::If").and_then(Value::as_array).map(Vec::as_slice) {
            Some([condition, then, otherwise]) => {
                let holds = self.condition(condition.as_str().unwrap_or_default())?;
                self.chosen(if holds { then } else { otherwise })
            }
            _ => Ok(value),
        }
    }

    /// Every statement of every policy that is written here, as `<resource>/<Sid>`, whatever the conditions.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let resources = self.text.get("Resources").and_then(Value::as_object);
        let mut found = Vec::new();
        for (name, resource) in resources.into_iter().flatten() {
            collect_statements(name, resource, &mut found);
        }
        found
    }

    /// Who may assume a role, as a policy document.
    ///
    /// # Errors
    /// When there is no such role, or it cannot be resolved with these parameters.
    pub fn trust(&self, role: &str) -> Result<Value> {
        self.value(&format!("/Resources/{role}/Properties/AssumeRolePolicyDocument"))
    }

    /// The pattern of a function's event rule.
    ///
    /// # Errors
    /// When there is no such rule, or it cannot be resolved with these parameters.
    pub fn event_pattern(&self, function: &str, event: &str) -> Result<Value> {
        self.value(&format!("/Resources/{function}/Properties/Events/{event}/Properties/Pattern"))
    }

    /// What a JSON pointer points to.
    ///
    /// # Errors
    /// When there is nothing, or it cannot be resolved with these parameters.
    pub fn value(&self, pointer: &str) -> Result<Value> {
        self.resolve(self.found(pointer)?)
    }

    /// The properties of each resource of a type, by logical id; only of those that these parameters make.
    ///
    /// # Errors
    /// When they cannot be resolved with these parameters.
    pub fn resources(&self, kind: &str) -> Result<BTreeMap<String, Value>> {
        let all = self.found("/Resources")?.as_object().into_iter().flatten();
        let mut found = BTreeMap::new();
        for (name, resource) in all.filter(|(_, it)| it.get("Type") == Some(&json!(kind))) {
            let condition = resource.get("Condition").and_then(Value::as_str);
            if condition.map_or(Ok(true), |it| self.condition(it))? {
                let properties = resource.get("Properties").unwrap_or(&Value::Null);
                found.insert(name.clone(), self.resolve(properties)?);
            }
        }
        Ok(found)
    }

    /// The properties of a resource, whether or not it is there with these parameters.
    ///
    /// # Errors
    /// When there is none, or they cannot be resolved with these parameters.
    pub fn resource(&self, name: &str) -> Result<Value> {
        self.value(&format!("/Resources/{name}/Properties"))
    }

    /// The value of an output.
    ///
    /// # Errors
    /// When there is none, or it cannot be resolved with these parameters.
    pub fn output(&self, name: &str) -> Result<Value> {
        self.value(&format!("/Outputs/{name}/Value"))
    }

    /// The names of its parameters; `true`: with a default.
    ///
    /// # Errors
    /// When it has none.
    pub fn declared(&self) -> Result<BTreeMap<String, bool>> {
        let all = self.found("/Parameters")?.as_object().into_iter().flatten();
        Ok(all.map(|(name, it)| (name.clone(), it.get("Default").is_some())).collect())
    }

    /// What CloudFormation would say of these values together, before it begins.
    ///
    /// # Errors
    /// When its rules are more than is understood here.
    pub fn refused(&self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for rule in self.found("/Rules")?.as_object().into_iter().flatten().map(|(_, it)| it) {
            if rule.get("RuleCondition").map_or(Ok(true), |it| self.holds(it))? {
                for assertion in rule["Assertions"].as_array().into_iter().flatten() {
                    if !self.holds(&assertion["Assert"])? {
                        said.extend(assertion["AssertDescription"].as_str().map(str::to_owned));
                    }
                }
            }
        }
        Ok(said)
    }

    fn found(&self, pointer: &str) -> Result<&Value> {
        self.text.pointer(pointer).ok_or_else(|| format!("the template has no {pointer}").into())
    }

    /// The value of a parameter, or what stands for a resource (`Name`) or one of its attributes (`Name.Arn`).
    ///
    /// # Errors
    /// When it has none.
    pub fn parameter(&self, name: &str) -> Result<Value> {
        let default = || self.text.pointer(&format!("/Parameters/{name}/Default")).cloned();
        let value = self.parameters.get(name).cloned().or_else(default);
        value.ok_or_else(|| format!("no value for {name}").into())
    }

    /// With the values of intrinsic functions for them. `null`: nothing, as `AWS::NoValue` is.
    fn resolve(&self, value: &Value) -> Result<Value> {
        match value {
            Value::Object(members) => match only(members) {
                Some(("Ref", Value::String(name))) if name == "AWS::NoValue" => Ok(Value::Null),
                Some(("Ref", Value::String(name))) => self.parameter(name),
                Some((name, argument)) if name.starts_with("Fn::") => self.function(name, argument),
                _ => self.members(members),
            },
            Value::Array(items) => {
                let items = items.iter().map(|item| self.resolve(item));
                let there = items.filter(|it| !matches!(it, Ok(Value::Null)));
                Ok(Value::Array(there.collect::<Result<_>>()?))
            }
            other => Ok(other.clone()),
        }
    }

    fn members(&self, members: &Map<String, Value>) -> Result<Value> {
        let mut resolved = Map::new();
        for (name, value) in members {
            let value = self.resolve(value)?;
            if !value.is_null() {
                resolved.insert(name.clone(), value);
            }
        }
        Ok(Value::Object(resolved))
    }

    fn function(&self, name: &str, argument: &Value) -> Result<Value> {
        let list: &[Value] = argument.as_array().map_or(&[], Vec::as_slice);
        match (name, list) {
            ("Fn::GetAtt", []) => self.parameter(argument.as_str().unwrap_or_default()),
            ("Fn::Sub", []) => Ok(self.substitute(argument, &Map::new())?.into()),
            ("Fn::Sub", [text, Value::Object(variables)]) => {
                Ok(self.substitute(text, variables)?.into())
            }
            ("Fn::If", [condition, then, otherwise]) => {
                let holds = self.condition(condition.as_str().unwrap_or_default())?;
                self.resolve(if holds { then } else { otherwise })
            }
            ("Fn::Select", [index, from]) => {
                let index = usize::try_from(index.as_u64().unwrap_or(u64::MAX))?;
                let item = self.resolve(from)?.get(index).cloned();
                item.ok_or_else(|| format!("{from} has no item {index}").into())
            }
            ("Fn::Join", [between, list]) => {
                let list = members_of(&self.resolve(list)?);
                Ok(list.join(between.as_str().unwrap_or_default()).into())
            }
            ("Fn::Split", [at, text]) => {
                let text = self.resolve(text)?;
                let (text, at) = (text.as_str().unwrap_or_default(), at.as_str().unwrap_or(","));
                Ok(text.split(at).collect())
            }
            _ => Err(format!("{name} is more than is understood here: {argument}").into()),
        }
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be resolved.
    pub fn condition(&self, name: &str) -> Result<bool> {
        self.holds(self.found(&format!("/Conditions/{name}"))?)
    }

    fn holds(&self, condition: &Value) -> Result<bool> {
        let found = condition.as_object().and_then(only);
        let list = found.and_then(|(_, argument)| argument.as_array());
        match (found, list.map_or(&[][..], Vec::as_slice)) {
            (Some(("Condition", Value::String(name))), _) => self.condition(name),
            (Some(("Fn::Not", _)), [inner]) => Ok(!self.holds(inner)?),
            (Some(("Fn::Equals", _)), [one, other]) => {
                Ok(self.resolve(one)? == self.resolve(other)?)
            }
            (Some(("Fn::EachMemberEquals", _)), [list, value]) => {
                let value = self.resolve(value)?;
                Ok(members_of(&self.resolve(list)?).iter().all(|it| value == it.as_str()))
            }
            (Some(("Fn::Or", _)), any) => {
                any.iter().try_fold(false, |or, it| Ok(or | self.holds(it)?))
            }
            (Some(("Fn::And", _)), all) => {
                all.iter().try_fold(true, |and, it| Ok(and & self.holds(it)?))
            }
            _ => Err(format!("the condition is more than is understood here: {condition}").into()),
        }
    }

    /// `${Name}` is a value, `${!x}` is `${x}`.
    fn substitute(&self, text: &Value, variables: &Map<String, Value>) -> Result<String> {
        let text = text.as_str().ok_or_else(|| format!("no text to fill in: {text}"))?;
        let mut parts = text.split("${");
        let mut result = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or_else(|| format!("no }} in {text}"))?;
            let value = match (name.strip_prefix('!'), variables.get(name)) {
                (Some(literal), _) => format!("${{{literal}}}").into(),
                (None, Some(variable)) => self.resolve(variable)?,
                (None, None) => self.parameter(name)?,
            };
            result.push_str(value.as_str().unwrap_or_default());
            result.push_str(rest);
        }
        Ok(result)
    }
}

/// Whatever has an `Effect` is a statement.
fn collect_statements(resource: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if members.contains_key("Effect") => {
            let sid = members.get("Sid").and_then(Value::as_str).unwrap_or("without a Sid");
            found.push(format!("{resource}/{sid}"));
        }
        Value::Object(members) => {
            for member in members.values() {
                collect_statements(resource, member, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_statements(resource, item, found);
            }
        }
        _ => (),
    }
}

/// Of a list, or of the text that stands for one.
fn members_of(list: &Value) -> Vec<String> {
    match list {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        text => text.as_str().unwrap_or_default().split(',').map(str::to_owned).collect(),
    }
}

/// The only member.
fn only(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut members = members.iter();
    let (name, value) = members.next()?;
    members.next().is_none().then_some((name.as_str(), value))
}
