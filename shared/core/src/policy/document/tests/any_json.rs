//! Whatever a document is, it is read or refused, and every issue is told well.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{DESCRIPTIVE, DETAILS, read};
use super::{copies, instances, monthly, snapshots, unprotected, with};

/// One of each kind.
fn valid() -> impl Strategy<Value = Value> {
    let documents = [snapshots(), copies(), instances(), monthly(), unprotected()];
    prop::sample::select(documents.to_vec())
}

/// Values, made of the words of the language where there is a choice.
fn any_value() -> impl Strategy<Value = Value> {
    let words = [
        "",
        "0",
        "1",
        "true",
        "VOLUME",
        "DAYS",
        "HOURS",
        "03:00",
        "eu-west-1",
        "222222222222",
        "cron(0 2 * * ? *)",
        "Europe/Berlin",
        "SIMPLIFIED",
        "INSTANCE",
        "GOVERNANCE",
        "$(timestamp)",
        "cron(0 9 1 * ? *)",
        "EVENT_BASED_POLICY",
        "AWS::DLM::LifecyclePolicy",
        "(",
        "\u{202e}\n",
    ];
    let members: Vec<_> = DETAILS
        .into_iter()
        .chain(DESCRIPTIVE)
        .chain([
            "PolicyDetails",
            "Policy",
            "Resources",
            "Type",
            "Properties",
            "Name",
            "State",
            "Targets",
            "CreateRule",
            "RetainRule",
            "Interval",
            "IntervalUnit",
            "Count",
            "Key",
            "Value",
            "Times",
            "CronExpression",
            "TagsToAdd",
            "ShareRules",
            "TargetAccounts",
            "UnshareWhenCopied",
            "KmsKeyId",
            "CrossRegionCopy",
            "Target",
            "EncryptionConfiguration",
            "Encrypted",
            "CmkArn",
            "Parameters",
            "Keep",
            "SnapshotOwner",
            "RoleArn",
            "Regions",
            "ArchiveRule",
            "RetentionArchiveTier",
            "FastRestoreRule",
            "AvailabilityZones",
            "LockRule",
            "Mode",
            "CrossRegionCopyRules",
            "VariableTags",
            "Scripts",
            "DefaultPolicy",
            "ExcludeVolumeTypes",
            "Daily",
            "schedules",
            "Schedule",
            "a/b~c",
            "",
        ])
        .collect();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u8..30).prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ]
    .boxed();
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let member = prop::sample::select(members.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((member, inner), 0..6).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

/// Every pointer into `value`, its own included.
fn pointers(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect()
        }
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        _ => Vec::new(),
    };
    let inner = inner.into_iter().flat_map(|(token, value)| {
        pointers(value).into_iter().map(move |rest| format!("/{token}{rest}"))
    });
    std::iter::once(String::new()).chain(inner).collect()
}

fn is_told_well(document: &Value) -> Result<(), TestCaseError> {
    if let Err(err) = read(document, "") {
        prop_assert!(!err.issues.is_empty());
        let text = err.to_string();
        prop_assert!(!text.chars().any(char::is_control), "{text}");
        for issue in err.issues {
            let parent = issue.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            prop_assert!(document.pointer(parent).is_some(), "{issue} points nowhere");
            prop_assert!(!issue.message.is_empty());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(document in any_value()) {
        is_told_well(&document)?;
    }

    #[test]
    fn a_valid_document_with_any_value_anywhere_is_read_or_refused(
        mut document in valid(),
        at in any::<prop::sample::Index>(),
        value in any_value(),
    ) {
        let pointers = pointers(&document);
        if let Some(place) = document.pointer_mut(at.get::<String>(&pointers)) {
            *place = value;
        }
        is_told_well(&document)?;
    }

    #[test]
    fn an_unknown_member_anywhere_is_found(
        mut document in valid(),
        at in any::<prop::sample::Index>(),
        name in "[A-Za-z]{1,12}q", // no member ends in q
    ) {
        let objects: Vec<_> = pointers(&document)
            .into_iter()
            .filter(|pointer| document.pointer(pointer).is_some_and(Value::is_object))
            .collect();
        let pointer = format!("{}/{name}", at.get(&objects));
        document = with(document, &pointer, json!(0));
        let err = read(&document, "").unwrap_err();
        prop_assert_eq!(err.issues.len(), 1);
        prop_assert_eq!(&err.issues[0].pointer, &pointer);
    }
}
