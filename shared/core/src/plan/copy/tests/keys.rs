//! Keys: what is looked at before, and what is said when it went wrong.

use serde_json::{Value, json};

use super::{copied, of_volume, with};
use crate::action::Plan;
use crate::ec2::{Ec2Error, ErrorKind};
use crate::inventory::{AWS_MANAGED_KEY, EbsEncryption, Key, Snapshot, State, Unread};
use crate::testing::{AWAY, Copying, HOME, MEMBER, VAULT, copy_of, held, id, key, snap, source};

const SESSION: &str = "arn:aws:sts::222222222222:assumed-role/vault-role/snapferry-1";

fn source_key() -> String {
    format!("arn:aws:kms:{HOME}:{MEMBER}:key/source")
}

fn good(arn: &str) -> Key {
    Key {
        arn: arn.into(),
        aws_managed: false,
        state: "Enabled".into(),
        usage: "ENCRYPT_DECRYPT".into(),
        spec: "SYMMETRIC_DEFAULT".into(),
    }
}

fn denied(message: &str) -> Ec2Error {
    Ec2Error::Refused {
        operation: "DescribeKey",
        kind: ErrorKind::AccessDenied,
        code: "AccessDeniedException".into(),
        message: message.into(),
        request_id: "r-1".into(),
    }
}

fn encrypted(source: Snapshot) -> Snapshot {
    with(source, |it| {
        it.encrypted = true;
        it.kms_key_id = Some(source_key().into());
    })
}

/// To [`HOME`] only; `encryption` is the rule's.
fn world(sources: Vec<Snapshot>, copies: Vec<Snapshot>, encryption: &Value) -> Copying {
    let mut world = Copying::new(sources, copies);
    let rules = &mut world.documents[0]["PolicyDetails"]["Actions"][0]["CrossRegionCopy"];
    rules.as_array_mut().unwrap().pop();
    rules[0]["EncryptionConfiguration"] = encryption.clone();
    world.inventory.caller = SESSION.into();
    world.inventory.keys.insert(source_key(), Ok(good(&source_key())));
    world
}

fn ours() -> Value {
    json!({"Encrypted": true, "CmkArn": key(HOME)})
}

fn said(plan: &Plan) -> Vec<(ErrorKind, &str, &str)> {
    plan.impossible.iter().map(|it| (it.kind, it.code.as_str(), it.message.as_str())).collect()
}

#[test]
fn the_default_key_of_the_region_is_looked_at_where_it_is_used() {
    let default = "arn:aws:kms:eu-central-1:222222222222:key/default";
    let with_default = |rule: &Value, is_encrypted: bool, by_default: bool, state: &str| {
        let of = if is_encrypted { encrypted(source(1, 1)) } else { source(1, 1) };
        let mut world = world(vec![of], vec![], rule);
        let encryption = EbsEncryption { by_default, key: default.into() };
        world.inventory.encryption.insert(id(HOME), Ok(encryption));
        let key = Key { state: state.into(), ..good(default) };
        world.inventory.keys.insert(default.into(), Ok(key));
        world.good_plan()
    };
    let (not_asked, asked) = (json!({"Encrypted": false}), json!({"Encrypted": true}));
    for (rule, is_encrypted, by_default, is_used) in [
        (&not_asked, false, false, false),
        (&not_asked, false, true, true),
        (&not_asked, true, false, true),
        (&asked, false, false, true),
        (&ours(), true, true, false),
    ] {
        let plan = with_default(rule, is_encrypted, by_default, "Disabled");
        assert_eq!(
            copied(&plan).len(),
            usize::from(!is_used),
            "{rule} {is_encrypted} {by_default}"
        );
        let texts = said(&plan);
        assert_eq!(texts.len(), usize::from(is_used));
        for (kind, code, text) in texts {
            assert_eq!((kind, code), (ErrorKind::KeyUnusable, "Disabled"));
            assert!(
                text.starts_with(&format!(
                    "key {default}, the default for EBS encryption in eu-central-1, is disabled: enable it"
                )),
                "{text}"
            );
        }
        assert_eq!(copied(&with_default(rule, is_encrypted, by_default, "Enabled")).len(), 1);
    }
}

#[test]
fn what_cannot_be_told_of_the_default_key_does_not_stop_a_copy() {
    let asked = json!({"Encrypted": true});
    let mut world = world(vec![source(1, 1)], vec![], &asked);
    assert_eq!(copied(&world.good_plan()).len(), 1, "not asked");
    let managed = EbsEncryption { by_default: true, key: AWS_MANAGED_KEY.into() };
    world.inventory.encryption.insert(id(HOME), Ok(managed));
    assert_eq!(copied(&world.good_plan()).len(), 1, "EC2 makes that key itself");
    let unread = Unread {
        kind: ErrorKind::AccessDenied,
        code: "UnauthorizedOperation".into(),
        message: "not allowed to look".into(),
    };
    world.inventory.encryption.insert(id(HOME), Err(unread));
    let plan = world.good_plan();
    assert_eq!((copied(&plan).len(), said(&plan)), (1, vec![]));
    assert_eq!(
        held(&plan),
        [
            ": copies to eu-central-1 go ahead without a look at its key for EBS encryption: not allowed to look"
        ]
    );
    let default = "arn:aws:kms:eu-central-1:222222222222:key/default";
    let encryption = EbsEncryption { by_default: true, key: default.into() };
    world.inventory.encryption.insert(id(HOME), Ok(encryption));
    world.inventory.keys.insert(default.into(), Err(denied("no")));
    assert_eq!(copied(&world.good_plan()).len(), 1, "EC2 may know better");
}

#[test]
fn the_key_of_a_source_is_looked_at_too() {
    let gone = Ec2Error::Refused {
        operation: "DescribeKey",
        kind: ErrorKind::NotFound,
        code: "NotFoundException".into(),
        message: "not there".into(),
        request_id: "r-1".into(),
    };
    let state = |state: &str| Ok(Key { state: state.into(), ..good(&source_key()) });
    let managed = || Ok(Key { aws_managed: true, ..good(&source_key()) });
    let whose = format!("key {}, which {} of {MEMBER} is under,", source_key(), snap(1));
    for (read, wanted) in [
        (state("Enabled"), None),
        (Err(denied("no")), None), // it may be allowed to be used, though not to be looked at
        (state("Disabled"), Some("is disabled: enable it with kms:EnableKey")),
        (state("PendingDeletion"), Some("is pending deletion")),
        (managed(), Some("is AWS managed, and no other account can use it")),
        (Err(gone), Some("does not exist any more")),
    ] {
        let mut world = world(vec![encrypted(source(1, 1))], vec![], &ours());
        world.inventory.keys.insert(source_key(), read);
        let plan = world.good_plan();
        assert_eq!(copied(&plan).len(), usize::from(wanted.is_none()), "{wanted:?}");
        let texts = said(&plan);
        assert_eq!(texts.len(), usize::from(wanted.is_some()));
        if let (Some(wanted), [(.., text)]) = (wanted, &texts[..]) {
            assert!(text.starts_with(&format!("{whose} {wanted}")), "{text}");
        }
    }
    // Another's key is another matter.
    let mut world =
        world(vec![encrypted(source(1, 1)), of_volume(2, source(2, 1))], vec![], &ours());
    world.inventory.keys.insert(source_key(), state("Disabled"));
    assert_eq!(copied(&world.good_plan()).len(), 1);
}

/// The JSON that follows `before`.
fn statements(text: &str, before: &str) -> Value {
    let start = text.find(before).unwrap_or_else(|| panic!("{before:?} in {text}")) + before.len();
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter();
    values.next().unwrap().unwrap()
}

fn failed(copy: Snapshot, message: &str) -> Snapshot {
    with(copy, |it| {
        it.state = State::Error;
        it.state_message = Some(message.into());
        it.kms_key_id = Some(key(HOME).into());
    })
}

const NOT_ACCESSIBLE: &str = "Given key ID is not accessible";

#[test]
fn a_key_that_was_not_accessible_is_told_with_what_to_add_where() {
    let by_source = format!("the policy of key {} lacks ", source_key());
    let role = "arn:aws:iam::222222222222:role/vault-role lacks ";
    let cases: [(&str, &[&str], &[&str]); 3] = [
        // KMS says which of the two it is.
        (
            "User: x is not authorized to perform: kms:DescribeKey on resource: y because no resource-based \
             policy allows the kms:DescribeKey action",
            &[&by_source],
            &[role],
        ),
        (
            "User: x is not authorized to perform: kms:DescribeKey on resource: y because no identity-based \
             policy allows the kms:DescribeKey action",
            &[role],
            &[&by_source],
        ),
        ("no", &[&by_source, role], &[]),
    ];
    for (message, wanted, unwanted) in cases {
        let copies = vec![failed(copy_of(1, 9, 1), NOT_ACCESSIBLE)];
        let mut world = world(vec![encrypted(source(1, 1))], copies, &ours());
        world.inventory.keys.insert(source_key(), Err(denied(message)));
        let plan = world.good_plan();
        let [(kind, code, text)] = said(&plan)[..] else {
            panic!("{:?}", plan.impossible);
        };
        assert_eq!((kind, code), (ErrorKind::KeyUnusable, "error"));
        let begins = format!("copy {} of {} ended in error: {NOT_ACCESSIBLE}; ", snap(9), snap(1));
        assert!(text.starts_with(&begins), "{text}");
        assert!(unwanted.iter().all(|it| !text.contains(it)), "{text}");
        for before in wanted {
            let statements = statements(text, before);
            assert_eq!(statements[0]["Effect"], "Allow");
            assert_eq!(statements[1]["Action"], "kms:CreateGrant");
            if *before == role {
                assert_eq!(statements[0]["Resource"], source_key());
            } else {
                let principal = &statements[0]["Principal"]["AWS"];
                assert_eq!(principal, "arn:aws:iam::222222222222:role/vault-role");
            }
        }
    }
}

#[test]
fn what_is_seen_to_be_wrong_is_told_rather_than_what_may_be() {
    let copies = || vec![failed(copy_of(1, 9, 1), NOT_ACCESSIBLE)];
    let mut world = world(vec![encrypted(source(1, 1))], copies(), &ours());
    let disabled = |arn: &str| Ok(Key { state: "Disabled".into(), ..good(arn) });
    world.inventory.keys.insert(key(HOME), disabled(&key(HOME)));
    let plan = world.good_plan();
    let text = said(&plan).into_iter().map(|(.., text)| text).find(|it| it.starts_with("copy"));
    let text = text.unwrap();
    assert!(text.contains(&format!("key {} is disabled: enable it", key(HOME))), "{text}");
    assert!(!text.contains("lacks"), "{text}");
    // Neither key refuses to be looked at: it may be either.
    world.inventory.keys.insert(key(HOME), Ok(good(&key(HOME))));
    let plan = world.good_plan();
    let (.., text) = said(&plan)[0];
    let role = "arn:aws:iam::222222222222:role/vault-role";
    for part in [
        format!("the policy of key {} lacks [", source_key()),
        format!(", or {role} lacks ["),
        format!("]; the policy of key {} lacks [", key(HOME)),
    ] {
        assert!(text.contains(&part), "{part} in {text}");
    }
    // Without a name for the role the account has to do; what is not about keys gets no such advice.
    world.inventory.caller = String::new();
    let plan = world.good_plan();
    assert!(said(&plan)[0].2.contains(&format!("arn:aws:iam::{VAULT}:root lacks")));
    world.target().copies = vec![failed(copy_of(1, 9, 1), "Source snapshot ID is not valid")];
    let plan = world.good_plan();
    let ends =
        format!("copy {} of {} ended in error: Source snapshot ID is not valid", snap(9), snap(1));
    assert_eq!(said(&plan), [(ErrorKind::Internal, "error", ends.as_str())]);
}

#[test]
fn a_key_of_the_rule_that_refuses_is_told_with_what_to_add() {
    let mut world = Copying::new(vec![source(1, 1)], vec![]);
    world.inventory.caller = SESSION.into();
    world.inventory.keys.insert(key(AWAY), Err(denied("no")));
    let plan = world.good_plan();
    let (.., text) = said(&plan)[0];
    let statements = statements(text, "role/vault-role lacks ");
    assert_eq!(statements[0]["Resource"], key(AWAY));
    assert!(statements[0]["Action"].as_array().unwrap().contains(&json!("kms:Decrypt")));
}

#[test]
fn the_aws_managed_key_lacks_nothing_and_a_source_that_is_gone_tells_no_key() {
    let not_asked = json!({"Encrypted": true});
    let copies = || vec![failed(copy_of(1, 9, 1), NOT_ACCESSIBLE)];
    let mut with_source = world(vec![encrypted(source(1, 1))], copies(), &not_asked);
    let managed = EbsEncryption { by_default: false, key: AWS_MANAGED_KEY.into() };
    with_source.inventory.encryption.insert(id(HOME), Ok(managed.clone()));
    let plan = with_source.good_plan();
    let (.., text) = said(&plan)[0];
    let well = "the keys look well now; should the next copy fail too, ";
    assert!(
        text.contains(&format!("; {well}the policy of key {} lacks [", source_key())),
        "{text}"
    );
    assert!(!text.contains(VAULT_KEY), "{text}");
    let mut gone = world(vec![], copies(), &not_asked);
    gone.inventory.encryption.insert(id(HOME), Ok(managed));
    let plan = gone.good_plan();
    let (.., text) = said(&plan)[0];
    assert!(
        text.ends_with("; its source is not shared any more, so that its key cannot be told"),
        "{text}"
    );
}

/// How ARNs of the vault's keys begin.
const VAULT_KEY: &str = "arn:aws:kms:eu-central-1:222222222222:key/";

#[test]
fn what_aws_says_is_told_on_one_line() {
    let mut world = world(vec![source(1, 1)], vec![], &ours());
    world.inventory.keys.insert(key(HOME), Err(denied("two\nlines")));
    let plan = world.good_plan();
    assert!(said(&plan)[0].2.contains("two lines"), "{:?}", said(&plan));
    let failed = with(copy_of(1, 11, 1), |it| {
        it.state = State::Error;
        it.state_message = Some("not\r\naccessible".into());
    });
    let plan = Copying::new(vec![source(1, 1)], vec![failed]).good_plan();
    assert!(said(&plan).iter().any(|it| it.2.contains("not  accessible")), "{:?}", said(&plan));
}
