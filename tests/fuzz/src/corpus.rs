//! What mutation begins with: the published fixtures, the examples, and what no fixture has.

use std::fs;
use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::tags::SEPARATOR;

fn folder(name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    let entries = fs::read_dir(&root).expect("a folder of the repository");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "json"));
    files.sort();
    files.iter().map(|path| fs::read(path).expect("a file of the repository")).collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Deeper than JSON may be.
fn deep(open: &str, close: &str, n: usize) -> Vec<u8> {
    format!("{}1{}", open.repeat(n), close.repeat(n)).into_bytes()
}

/// Events as AWS publishes them, and direct calls.
#[must_use]
pub fn events() -> Vec<Vec<u8>> {
    let mut all = folder("tests/fixtures/ebs-events");
    all.extend(folder("events"));
    all.extend(texts(&[
        "{}",
        "[]",
        r#"{"Policies":{"PolicyDetails":{}},"DryRun":true,"Now":"2026-11-22T02:10:00Z"}"#,
        r#"{"Policies":[{},[]],"Scopes":["333333333333/eu-central-1"],"ScheduledTime":""}"#,
        r#"{"SnapshotIds":["snap-01234567","snap-0123456789abcdef0"]}"#,
        r#"{"Policies":[{"Targets":{"RoleArn":"x","ExternalId":"very-secret-id"}}],"\u2028":1}"#,
    ]));
    all.push(deep("[", "]", 200));
    all.push(deep(r#"{"Policies":"#, "}", 126));
    all
}

/// Policies as AWS publishes them, and the examples.
#[must_use]
pub fn policies() -> Vec<Vec<u8>> {
    let mut all = folder("tests/fixtures/dlm-policies");
    all.extend(folder("events/policies"));
    all.extend(texts(&[
        "ssm:/snapferry/policies",
        r#"{"Name":"a","Name":"b"}"#,
        "\u{feff}{}",
        r#"{"Resources":{"P":{"Type":"AWS::DLM::LifecyclePolicy","Properties":{}}}}"#,
        r#"[{"Targets":[{"RoleArn":"x","ExternalId":"very-secret-id","Regions":["eu-west-1"]}]}]"#,
    ]));
    all.push(deep("[", "]", 200));
    all.push(deep(r#"{"Policy":"#, "}", 126));
    all
}

/// Descriptions of ours, of DLM, of copies, and cut ones.
#[must_use]
pub fn descriptions() -> Vec<Vec<u8>> {
    let slot = "Created for policy: daily schedule: nightly slot: 2026-11-22T02:00:00Z ";
    let copy = "Copied snap-0123456789abcdef0 of 333333333333 from eu-central-1. ";
    let volume = "volume: vol-0123456789abcdef0";
    let all = [
        format!("{slot}{volume}"),
        format!("{slot}{volume} name: web 1"),
        format!("{slot}instance: i-0123456789abcdef0 name: web"),
        format!("{copy}{slot}{volume} name: web"),
        format!("{slot}{volume} instance: i-01234567"),
        format!("{slot}{volume} name: {}", "x".repeat(300)),
        format!("{slot}{volume} name: \u{202e}\u{0}\u{1f980}"),
        "Created by CreateImage(i-0) for ami-0".to_owned(),
        " slot:  slot:  volume:  name: ".to_owned(),
        "slot: -009999-01-02T00:00:00Z volume: vol-ffffffff".to_owned(),
        " slot: 9999-12-30T22:00:00Z volume: vol-ffffffff name: ".to_owned(),
    ];
    all.into_iter().map(String::into_bytes).collect()
}

/// Complete sets of tags, and others.
#[must_use]
pub fn tags() -> Vec<Vec<u8>> {
    let own = "snapferry:policy=daily|snapferry:schedule=nightly,weekly|\
               snapferry:slot=2026-11-22T02:00:00Z";
    let copy = "snapferry:policy=v|snapferry:rule=eu-west-1|\
                snapferry:source-snapshot=snap-0123456789abcdef0|\
                snapferry:source-account=333333333333|snapferry:source-region=eu-central-1|\
                snapferry:source-volume=vol-0123456789abcdef0";
    let more = "snapferry:source-start-time=2026-11-22T02:00:07Z|\
                snapferry:source-volume-by=description|snapferry:slot=2026-11-22T02:00:00Z";
    let all = [
        own.to_owned(),
        format!("{own}|snapferry:instance=i-01234567|snapferry:volumes=3|Name=web|Owner=me"),
        format!("{own}|snapferry:expires-at=2026-12-22T02:00:00Z|snapferry:shared-with=1"),
        format!("{own}|aws:backup:source-resource=x|dlm:managed=true|AWS:x=1|Snapferry:y=2"),
        copy.to_owned(),
        format!("{copy}|{more}|snapferry:schedule=a,b"),
        format!("{copy}|snapferry:expires-at=9999-12-30T22:00:00Z"),
        "snapferry:volumes=18446744073709551616|=|\u{0}=\u{1f980}|dlm:managed=".to_owned(),
    ];
    let separated = |text: String| text.replace('|', SEPARATOR.to_string().as_str());
    all.into_iter().map(separated).map(String::into_bytes).collect()
}

/// One of everything else that is parsed.
#[must_use]
pub fn texts_of_all_kinds() -> Vec<Vec<u8>> {
    texts(&[
        "vol-0123456789abcdef0",
        "vol-ffffffff",
        "snap-01234567",
        "i-0123456789abcdef0",
        "333333333333",
        "18446744073709551615",
        "us-gov-west-1",
        "333333333333/eu-central-1",
        "arn:aws:iam::111111111111:role/path/snapferry-member",
        "arn:aws:kms:eu-central-1:111111111111:key/8af79514-350d-4c52-bac8-8985e84171c7",
        "arn:aws:kms:eu-west-2:222222222222:alias/aws/ebs",
        "mrk-1234abcd12ab34cd56ef1234567890ab",
        "arn:aws:ec2:us-west-2::snapshot/snap-01234567",
        "2026-11-22T02:00:00Z",
        "-009999-01-02T01:59:59Z",
        "cron(30 2 * * ? *)",
        "cron(0 0/6 LW,15W,1-7/2 JAN-MAR ? 2026,2030-2199/3)",
        "cron(59 23 ? * 6#5 *)",
        "cron(0 8 ? * MON-FRI,7L,L 1970)",
        "cron(0 0 29 2 ? 1970-2199)",
        "Europe/Berlin\ncron(30 2 L * ? *)",
        "Australia/Lord_Howe\ncron(0 0/1 * * ? *)",
        "Pacific/Apia\ncron(15 0 30,31 12 ? *)",
        "Africa/Casablanca",
        "^Created for policy: (a|b)*.*$\nCreated for policy: abab",
        "((a{9}){9}){9}\naaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "(?:){999}{999}\n",
        "*a*a*a*a*b\naaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ])
}

/// Bytes to choose by.
#[must_use]
pub fn choices() -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    [40, 200, 400, 800, 1600, 1600, 3200, 3200].map(|n| random.bytes(n)).to_vec()
}
