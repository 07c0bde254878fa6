//! `PresignedUrl` against botocore's own output, and both functions where EC2 insists on it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use snapferry_aws::{Endpoints, Signing, presigned_url};
use snapferry_core::ec2::CopySnapshot;
use snapferry_tests::Result;
use snapferry_tests::local_aws::Place;
use snapferry_tests::machine::{Machine, project};
use snapferry_tests::stage::{Stage, TARGETS, VAULT};

use crate::common::{MEMBER, failed, night, of_volumes, run, vault_policy};

const ID: &str = "ASIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const KEY: &str = "8af79514-350d-4c52-bac8-8985e84171c7";
const TOKEN: &str = "IQoJb3JpZ2luX2VjE+/a=tok en~*%//////////==";

/// One copy, asked for in both languages.
#[derive(Clone, Debug)]
struct Case {
    destination: &'static str,
    endpoints: Endpoints,
    token: Option<&'static str>,
    at: &'static str,
    request: CopySnapshot,
}

/// Of a snapshot with nothing special about it.
fn case(source: &str, destination: &'static str) -> Result<Case> {
    let tags = [("snapferry:policy", "vault"), ("snapferry:slot", "2026-11-22T02:00:00Z")];
    Ok(Case {
        destination,
        endpoints: Endpoints::default(),
        token: None,
        at: "2026-11-22T02:15:07Z",
        request: CopySnapshot {
            source: "snap-0123456789abcdef0".parse()?,
            source_region: source.parse()?,
            source_encrypted: true,
            description: "Created for policy: daily schedule: nightly".to_owned(),
            encrypted: true,
            kms_key: Some(format!("arn:aws:kms:{destination}:999999999999:key/{KEY}").parse()?),
            completion_duration_minutes: None,
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        },
    })
}

fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (source, destination) in [
        ("eu-central-1", "us-east-1"),
        ("us-east-1", "eu-central-1"),
        ("eu-central-1", "eu-central-1"),
        ("eu-west-1", "eu-west-3"),
        ("cn-north-1", "cn-northwest-1"),
        ("us-gov-west-1", "us-gov-east-1"),
        ("us-iso-east-1", "us-iso-west-1"),
    ] {
        for token in [None, Some(TOKEN)] {
            cases.push(Case { token, ..case(source, destination)? });
        }
    }
    for at in ["2026-01-01T00:00:00Z", "2028-02-29T23:59:59.999Z"] {
        cases.push(Case { at, ..case("eu-central-1", "us-east-1")? });
    }
    for (url, use_fips, use_dual_stack) in [
        (Some("http://127.0.0.1:5000"), false, false),
        (Some("http://127.0.0.1:5000/"), false, false),
        (Some("https://proxy.example:443/a/b%20c"), false, false),
        (Some("http://proxy.example:80"), false, false),
        (Some("https://vpce-1.ec2.us-west-2.vpce.amazonaws.com"), false, false),
        (None, true, false),
        (None, false, true),
        (None, true, true),
    ] {
        let endpoints = Endpoints { url: url.map(str::to_owned), use_fips, use_dual_stack };
        cases.push(Case { endpoints, ..case("us-east-1", "us-west-2")? });
    }
    let mut plain = case("eu-central-1", "us-east-1")?;
    (plain.request.encrypted, plain.request.kms_key) = (false, None);
    cases.push(plain.clone());
    plain.request.completion_duration_minutes = Some(2880);
    plain.request.description = String::new();
    cases.push(plain);
    let every_byte: String = (' '..='~').collect();
    for text in [
        "two  words",
        "100% of a+b *~",
        "%2B%20%",
        "a=b&c=d;e#f?g/h",
        "tab\tline\nend",
        "Büro, 東京, 🗼, e\u{301}",
        "\u{80}\u{7ff}\u{800}\u{ffff}",
        &every_byte,
    ] {
        let mut odd = case("eu-central-1", "us-east-1")?;
        text.clone_into(&mut odd.request.description);
        odd.request.tags.insert(format!("key {text}"), text.to_owned());
        odd.request.tags.insert("empty".to_owned(), String::new());
        cases.push(odd);
    }
    let mut many = case("eu-central-1", "us-east-1")?;
    many.request.tags = (0..50).map(|n| (format!("k{n:02}"), "ü".repeat(200))).collect();
    cases.push(many);
    Ok(cases)
}

impl Case {
    fn ours(&self) -> Result<String> {
        let by = Signing {
            access_key_id: ID,
            secret_access_key: SECRET,
            session_token: self.token,
            at: self.at.parse()?,
        };
        presigned_url(&self.request, &self.destination.parse()?, &self.endpoints, by)
    }

    /// As `presigned_url.py` reads it. botocore writes what it is given in the order in which it is given.
    fn python(&self) -> Value {
        let request = &self.request;
        let mut parameters = vec![json!(["Description", request.description])];
        if request.encrypted {
            parameters.push(json!(["Encrypted", true]));
        }
        if let Some(key) = &request.kms_key {
            parameters.push(json!(["KmsKeyId", key]));
        }
        parameters.push(json!(["SourceRegion", request.source_region]));
        parameters.push(json!(["SourceSnapshotId", request.source]));
        let tag = |(key, value): (&String, &String)| json!({"Key": key, "Value": value});
        let tags: Vec<Value> = request.tags.iter().map(tag).collect();
        let specification = json!({"ResourceType": "snapshot", "Tags": tags});
        parameters.push(json!(["TagSpecifications", [specification]]));
        if let Some(minutes) = request.completion_duration_minutes {
            parameters.push(json!(["CompletionDurationMinutes", minutes]));
        }
        json!({
            "region": self.destination, "endpoint_url": self.endpoints.url,
            "use_fips": self.endpoints.use_fips, "use_dual_stack": self.endpoints.use_dual_stack,
            "access_key_id": ID, "secret_access_key": SECRET, "session_token": self.token,
            "at": self.at, "parameters": parameters,
        })
    }
}

fn botocore(cases: &[Case]) -> Result<Vec<Value>> {
    let machine = Machine::prepare()?;
    let mut child = Command::new(&machine.python)
        .arg(project().join("tests/local-aws/presigned_url.py"))
        .env_clear()
        .env("AWS_CONFIG_FILE", "/dev/null") // whoever runs this may have one
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let cases: Value = cases.iter().map(Case::python).collect();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(cases.to_string().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "botocore failed, see above");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The members of a URL's query, as they stand there.
fn members(url: &str) -> BTreeSet<&str> {
    url.split_once('?').map(|(_, query)| query.split('&').collect()).unwrap_or_default()
}

#[test]
fn every_member_and_the_signature_are_botocores() -> Result<()> {
    let cases = cases()?;
    let theirs = botocore(&cases)?;
    assert_eq!(theirs.len(), cases.len());
    let mut signatures = BTreeSet::new();
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = case.ours()?;
        let url = theirs["url"].as_str().unwrap_or_default();
        assert_eq!(members(&ours), members(url), "{case:?}");
        assert_eq!(ours, url, "from the same host, in the same order: {case:?}");
        let signature = ours.rsplit_once("&X-Amz-Signature=").map(|(_, it)| it.to_owned());
        signatures.extend(signature.filter(|it| it.len() == 64));
        // Beside it, botocore sends what is in it, DestinationRegion too; see the unit tests for what we send.
        let sent = theirs["sent"].as_array().into_iter().flatten();
        let sent: BTreeSet<&str> = sent.filter_map(|pair| pair[0].as_str()).collect();
        let names = members(&ours).into_iter().filter_map(|member| member.split('=').next());
        assert_eq!(sent, names.filter(|name| !name.starts_with("X-Amz-")).collect());
    }
    // Only an endpoint with and without its last slash is the same.
    assert_eq!(signatures.len(), cases.len() - 1, "other requests have other signatures");
    Ok(())
}

/// Encrypted snapshots of the first member, shared with the vault and copied within the account.
fn shared_and_copied(key: &str) -> Value {
    of_volumes(
        "daily",
        &json!({
            "RetainRule": {"Count": 2},
            "ShareRules": [{"TargetAccounts": [VAULT]}],
            "CrossRegionCopyRules": [{
                "Target": TARGETS[0], "Encrypted": true, "CmkArn": key,
                "RetainRule": {"Interval": 3, "IntervalUnit": "DAYS"},
            }],
        }),
    )
}

/// A volume under a key of its account, and one that is not encrypted.
fn volumes(stage: &Stage) -> Result<()> {
    let key = stage.key(MEMBER)?;
    let tags = json!({"Backup": "daily"});
    stage.aws.volumes(MEMBER, 1, &json!({"tags": tags, "kms_key": key}))?;
    stage.aws.volumes(MEMBER, 1, &json!({"tags": tags}))?;
    Ok(())
}

/// What EC2 was asked as `CopySnapshot`: by whom, of an encrypted source, with which URL.
fn asked(stage: &Stage) -> Result<Vec<(String, bool, Option<String>)>> {
    let encrypted: BTreeSet<String> = stage
        .aws
        .snapshots()?
        .into_iter()
        .filter(|it| !it.copied && it.key.is_some())
        .map(|it| it.id)
        .collect();
    let answer = stage.aws.get("calls?action=CopySnapshot")?;
    let calls = answer["calls"].as_array().into_iter().flatten();
    let asked = calls.map(|call| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let source = text(&call["params"]["SourceSnapshotId"]).unwrap_or_default();
        let account = text(&call["account"]).unwrap_or_default();
        (account, encrypted.contains(&source), text(&call["params"]["PresignedUrl"]))
    });
    Ok(asked.collect())
}

#[test]
fn both_functions_copy_encrypted_snapshots_where_ec2_insists() -> Result<()> {
    let stage = Stage::new("presign")?;
    stage.aws.post("config", &json!({"presigned_url": "required"}))?;
    volumes(&stage)?;
    let vault_key = stage.key(Place { account: VAULT, region: TARGETS[0] })?;
    let member_key = stage.key(Place { account: MEMBER.account, region: TARGETS[0] })?;
    let rotate = stage.function("rotate-snapshots", &shared_and_copied(&member_key))?;
    let copy =
        stage.function("copy-shared-snapshots", &vault_policy(&[(TARGETS[0], &vault_key)]))?;
    for _ in 0..2 {
        run(&stage, &rotate, &night(1))?;
    }
    run(&stage, &copy, &json!({}))?;

    let copies: Vec<_> = stage.aws.snapshots()?.into_iter().filter(|it| it.copied).collect();
    let states: Vec<_> = copies.iter().map(|it| it.state.as_str()).collect();
    assert_eq!(states, ["completed"; 4], "of two snapshots, by two accounts: {copies:?}");
    let asked = asked(&stage)?;
    assert_eq!(asked.len(), 4);
    for account in [MEMBER.account, VAULT] {
        for of_encrypted in [true, false] {
            let mut calls =
                asked.iter().filter(|it| (it.0.as_str(), it.1) == (account, of_encrypted));
            let (_, _, url) = calls.next().ok_or("no call")?;
            assert_eq!(url.is_some(), of_encrypted, "only for an encrypted source: {url:?}");
        }
    }
    for function in [&rotate, &copy] {
        let printed = function.printed()?;
        assert!(!printed.contains("X-Amz-Signature"), "it is in the log: {printed}");
    }
    Ok(())
}

#[test]
fn it_can_be_switched_off() -> Result<()> {
    let stage = Stage::new("presign-off")?;
    volumes(&stage)?;
    let vault_key = stage.key(Place { account: VAULT, region: TARGETS[0] })?;
    let member_key = stage.key(Place { account: MEMBER.account, region: TARGETS[0] })?;
    let policies = [shared_and_copied(&member_key), vault_policy(&[(TARGETS[0], &vault_key)])];
    let functions = ["rotate-snapshots", "copy-shared-snapshots"];
    let start = |n: usize, switch: &str| {
        let env = vec![("POLICIES", policies[n].to_string()), ("PRESIGNED_URL", switch.to_owned())];
        stage.function_with(functions[n], env, 300)
    };
    for n in 0..2 {
        let message = failed(&start(n, "maybe")?.invoke(&json!({}))?, "InvalidConfiguration");
        assert!(message.contains("PRESIGNED_URL: want on or off"), "{message}");
    }
    let [rotate, copy] = [start(0, "off")?, start(1, "off")?];
    for _ in 0..2 {
        run(&stage, &rotate, &night(1))?;
    }
    run(&stage, &copy, &json!({}))?;
    let calls = asked(&stage)?;
    assert_eq!(calls.iter().filter(|it| it.1 && it.2.is_none()).count(), 2, "{calls:?}");
    assert_eq!(calls.len(), 4);

    // Where EC2 insists after all, the copy ends in error, and that is told.
    stage.aws.post("config", &json!({"presigned_url": "required"}))?;
    for _ in 0..2 {
        run(&stage, &rotate, &night(2))?;
    }
    run(&stage, &copy, &json!({}))?;
    for (function, event) in [(&rotate, night(2)), (&copy, json!({}))] {
        let message = failed(&function.invoke(&event)?, "ActionsFailed");
        assert!(message.contains("PresignedUrl is missing"), "{message}");
    }
    Ok(())
}
