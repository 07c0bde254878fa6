//! The policy documents of a run: where they come from, and which of them are good.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::plan::PoliciesInForce;
use crate::policy::document::{self, InvalidPolicy, Issue, Kind};
use crate::policy::{CopyPolicy, Details, Policy, SnapshotPolicy};
use crate::strict_json;

/// Where the configured documents are: the environment variable `POLICIES`.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// In the variable itself.
    Inline(Vec<Value>),
    /// Every Parameter Store parameter below this path, which ends in `/`, is a document.
    ParameterStore(String),
}

/// The configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {variable}: want {want}, found {found}")]
pub struct InvalidConfiguration {
    /// Which variable.
    pub variable: &'static str,
    /// What would have been right.
    pub want: &'static str,
    /// What was there.
    pub found: String,
}

impl Source {
    /// Reads the value of `POLICIES`.
    ///
    /// # Errors
    /// When it is neither JSON nor `ssm:` and a path.
    pub fn parse(text: &str) -> Result<Self, InvalidConfiguration> {
        const WANT: &str = "policy documents as JSON, or ssm:/path/ of Parameter Store parameters";
        let invalid =
            |found: String| InvalidConfiguration { variable: "POLICIES", want: WANT, found };
        let text = text.trim();
        if let Some(path) = text.strip_prefix("ssm:") {
            if !path.starts_with('/') {
                return Err(invalid(format!("{text:?}")));
            }
            return Ok(Self::ParameterStore(format!("{}/", path.trim_end_matches('/'))));
        }
        match strict_json::parse(text) {
            Ok(Value::Array(documents)) => Ok(Self::Inline(documents)),
            Ok(document @ Value::Object(_)) => Ok(Self::Inline(vec![document])),
            Ok(other) => Err(invalid(other.to_string())),
            Err(err) => Err(invalid(format!("text that is not JSON ({err})"))),
        }
    }
}

/// A document as found, with the name it has when it gives itself none.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Default for `Name`: the last part of the Parameter Store name.
    pub default_name: String,
    /// The JSON text or value.
    pub content: Content,
}

/// See [`Raw`].
#[derive(Clone, Debug)]
pub enum Content {
    /// Not parsed yet.
    Text(String),
    /// Parsed.
    Json(Value),
}

/// The documents of a run.
#[derive(Debug, Default)]
pub struct Documents {
    /// The good ones.
    pub policies: Vec<Policy>,
    /// The others. They never stop the good ones.
    pub invalid: Vec<InvalidPolicy>,
    /// These are all documents there are, not a selection that an event brought.
    pub whole: bool,
}

impl Documents {
    /// Reads every document; two of one name are both refused, because tags name the policy.
    #[must_use]
    pub fn read(raw: Vec<Raw>, whole: bool) -> Self {
        let mut documents = Self { whole, ..Self::default() };
        for Raw { default_name, content } in raw {
            let value = match content {
                Content::Json(value) => Ok(value),
                Content::Text(text) => strict_json::parse(&text),
            };
            let read = match value {
                Ok(value) => document::read(&value, &default_name),
                Err(err) => Err(issue(&default_name, "", &format!("not JSON: {err}"))),
            };
            match read {
                Ok(policy) => documents.policies.push(policy),
                Err(invalid) => documents.invalid.push(invalid),
            }
        }
        documents.refuse_namesakes();
        documents
    }

    fn refuse_namesakes(&mut self) {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for policy in &self.policies {
            *names.entry(&policy.name).or_default() += 1;
        }
        let doubled: BTreeSet<String> =
            names.into_iter().filter(|(_, n)| *n > 1).map(|(name, _)| name.to_owned()).collect();
        self.policies.retain(|policy| !doubled.contains(&policy.name));
        for name in doubled {
            let message =
                "want a name that no other document has: the tags of snapshots name their policy";
            self.invalid.push(issue(&name, "/Name", message));
        }
    }

    /// See [`PoliciesInForce`].
    #[must_use]
    pub fn in_force(&self) -> PoliciesInForce {
        let known = self.whole && self.invalid.is_empty();
        known.then(|| self.policies.iter().map(|policy| policy.name.clone()).collect())
    }

    /// What the function for `kind` has to complain about: its own documents, and those that could be either's.
    #[must_use]
    pub fn into_invalid(self, kind: Kind) -> Vec<InvalidPolicy> {
        self.invalid.into_iter().filter(|it| it.kind.is_none_or(|of| of == kind)).collect()
    }

    /// Those for `rotate-snapshots`.
    #[must_use]
    pub fn snapshot_policies(&self) -> Vec<(&Policy, &SnapshotPolicy)> {
        self.policies
            .iter()
            .filter_map(|policy| match &policy.details {
                Details::Snapshots(details) => Some((policy, details)),
                Details::Copies(_) => None,
            })
            .collect()
    }

    /// Those for `copy-shared-snapshots`.
    #[must_use]
    pub fn copy_policies(&self) -> Vec<(&Policy, &CopyPolicy)> {
        self.policies
            .iter()
            .filter_map(|policy| match &policy.details {
                Details::Copies(details) => Some((policy, details)),
                Details::Snapshots(_) => None,
            })
            .collect()
    }
}

fn issue(name: &str, pointer: &str, message: &str) -> InvalidPolicy {
    let issues = vec![Issue { pointer: pointer.into(), message: message.into() }];
    InvalidPolicy { name: name.into(), kind: None, issues }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_source_is_json_or_a_path() {
        assert_eq!(Source::parse("ssm:/a/b").unwrap(), Source::ParameterStore("/a/b/".into()));
        assert_eq!(Source::parse(" {} ").unwrap(), Source::Inline(vec![json!({})]));
        assert_eq!(Source::parse("[{},{}]").unwrap(), Source::Inline(vec![json!({}), json!({})]));
        for wrong in ["", "ssm:a", "7", "{"] {
            assert!(Source::parse(wrong).unwrap_err().to_string().contains("POLICIES"), "{wrong}");
        }
    }

    #[test]
    fn namesakes_are_both_refused_and_others_stay() {
        let document = |name: &str| Raw {
            default_name: name.into(),
            content: Content::Json(json!({"PolicyDetails": {"TargetVolumeIds": ["vol-01234567"],
                "Schedules": [{"RetainRule": {"Count": 1}}]}})),
        };
        let text = Raw { default_name: "text".into(), content: Content::Text("{".into()) };
        let documents =
            Documents::read(vec![document("a"), document("b"), document("a"), text], true);
        assert_eq!(documents.policies.len(), 1, "{:?}", documents.invalid);
        assert_eq!(documents.invalid.len(), 2);
        assert_eq!(documents.in_force(), None);
    }
}
