//! No condition of what is allowed is there for nothing either: without any one of them, a call that must be refused is
//! not.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapferry_tests::Result;

use super::refused::{REFUSAL, Role, World, cases};

/// Conditions without which the same calls are refused, and why they are there.
const DOUBLE: [(&str, &str, &str); 3] = [
    (
        "GrantKeysToEc2",
        "kms:GrantIsForAWSResource",
        "grants not for AWS are not made through EC2, which the other one wants; AWS's guide has both",
    ),
    (
        "GrantKeysToEc2",
        "kms:ViaService",
        "grants not made through EC2 are not for AWS: the other one refuses them",
    ),
    (
        "DecryptPolicies",
        "kms:EncryptionContext:PARAMETER_ARN",
        "Parameter Store asks for the path first, which ReadPolicies refuses",
    ),
];

/// The conditions of a statement, and what it is without each of them.
fn without_each(statement: &Value) -> Vec<(String, Value)> {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    let keys = operators.flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, _)| (operator, key))
    });
    keys.map(|(operator, key)| {
        let mut without = statement.clone();
        if let Some(keys) = without["Condition"][operator].as_object_mut() {
            keys.remove(key);
        }
        (key.clone(), without)
    })
    .collect()
}

/// The calls of the list that the role would be allowed with this policy.
fn allowed(world: &World, role: &Role, statements: &[Value]) -> Result<BTreeSet<&'static str>> {
    let policy = json!({"Version": "2012-10-17", "Statement": statements});
    world.stage.put_policy(role.account, role.name, &policy)?;
    let calls = cases(role.logical_id).iter().map(|(_, call, _)| *call);
    Ok(calls.filter(|call| !world.call(role, call, true).contains(REFUSAL)).collect())
}

#[test]
fn every_condition_is_needed() -> Result<()> {
    let world = World::new("conditions")?;
    let (mut tried, mut doubles) = (0, BTreeSet::new());
    for role in &world.roles {
        let statements = role.policy["Statement"].as_array().cloned().unwrap_or_default();
        // What is denied as well is another matter.
        let allows: Vec<Value> =
            statements.into_iter().filter(|it| it["Effect"] == "Allow").collect();
        let anyway = allowed(&world, role, &allows)?;
        for (n, statement) in allows.iter().enumerate() {
            for (key, without) in without_each(statement) {
                let mut others = allows.clone();
                others[n] = without;
                let sid = statement["Sid"].as_str().unwrap_or_default();
                if allowed(&world, role, &others)? == anyway {
                    let known = DOUBLE.iter().any(|it| (it.0, it.1) == (sid, key.as_str()));
                    assert!(known, "{}/{sid}: no call of the list needs {key}", role.logical_id);
                    doubles.insert((sid.to_owned(), key));
                }
                tried += 1;
            }
        }
    }
    let known = DOUBLE.map(|(sid, key, _)| (sid.to_owned(), key.to_owned()));
    assert_eq!(doubles, known.into(), "that one refuses what another refuses, and said to be so");
    println!("{tried} conditions taken away, {} of them double", doubles.len());
    Ok(())
}
