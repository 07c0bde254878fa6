//! Snapshots, volumes and what else EC2 tells, with the tags and descriptions that anybody may write.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use snapferry_core::description;
use snapferry_core::ec2::{Ec2Error, ErrorKind};
use snapferry_core::ids::{Region, SnapshotId, VolumeId};
use snapferry_core::inventory::{Guards, Key, Snapshot, State, Unread};
use snapferry_core::tags::{self, Claim, Tags};

use super::Choices;

pub(super) const MEMBER: &str = "333333333333";
pub(super) const VAULT: &str = "222222222222";
pub(super) const OTHER: &str = "444444444444";
pub(super) const HOME: &str = "eu-central-1";
pub(super) const AWAY: &str = "eu-west-1";

/// The AWS managed key of the member.
pub(super) const SEALED: &str = "arn:aws:kms:eu-central-1:333333333333:key/ebs";

pub(super) fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("an id")
}

pub(super) fn snap(n: i64) -> SnapshotId {
    id(&format!("snap-{n:08x}"))
}

pub(super) fn vol(n: i64) -> VolumeId {
    id(&format!("vol-{n:08x}"))
}

pub(super) fn key(account: &str, region: &str) -> String {
    format!("arn:aws:kms:{region}:{account}:key/k")
}

/// Mostly an ordinary night; else the ends of the calendar.
pub(super) fn now(choices: &mut Choices<'_>) -> Timestamp {
    let night = id("2026-11-22T02:05:00Z");
    if choices.once_in(20) {
        choices.pick(&[Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH, night])
    } else {
        night
    }
}

/// Some time before now, rarely after.
pub(super) fn time(choices: &mut Choices<'_>, now: Timestamp) -> Timestamp {
    let hours = match choices.upto(11) {
        0 => -choices.upto(48),
        1 => choices.upto(48),
        2 => 24 * choices.upto(4000),
        3 => return choices.pick(&[Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH, now]),
        _ => 24 * choices.upto(30),
    };
    let ago = SignedDuration::from_hours(hours) - SignedDuration::from_secs(choices.upto(3));
    now.checked_sub(ago).unwrap_or(Timestamp::MIN)
}

fn policy_name(choices: &mut Choices<'_>) -> String {
    if choices.once_in(30) {
        return choices.text();
    }
    choices.pick(&["p", "p", "p", "q", "gone", "example", "daily", "vault"]).to_owned()
}

fn schedule_names(choices: &mut Choices<'_>) -> String {
    if choices.once_in(30) {
        return choices.text();
    }
    choices.pick(&["a", "a", "b", "a,b", "gone", "a,gone", "b,a", "nightly"]).to_owned()
}

fn slot_of(choices: &mut Choices<'_>, start: Timestamp) -> String {
    if choices.once_in(30) {
        return choices.text();
    }
    let floor = |seconds: i64| {
        let second = start.as_second().div_euclid(seconds) * seconds;
        tags::instant(Timestamp::from_second(second).unwrap_or(start))
    };
    match choices.upto(5) {
        0 => floor(1),
        1 => tags::instant(time(choices, start)),
        2 => floor(3600),
        _ => {
            let two = SignedDuration::from_hours(2);
            let second = start.as_second().div_euclid(86_400) * 86_400;
            let night = Timestamp::from_second(second).ok().and_then(|it| it.checked_add(two).ok());
            tags::instant(night.unwrap_or(start))
        }
    }
}

/// What `rotate-snapshots` writes, more or less.
fn own_tags(choices: &mut Choices<'_>, start: Timestamp) -> Tags {
    let mut tags = Tags::from([
        (tags::POLICY.to_owned(), policy_name(choices)),
        (tags::SCHEDULE.to_owned(), schedule_names(choices)),
        (tags::SLOT.to_owned(), slot_of(choices, start)),
    ]);
    if choices.once_in(4) {
        tags.insert(tags::INSTANCE.into(), format!("i-{:08x}", 1 + choices.upto(1)));
        let size = choices.pick(&["1", "2", "2", "3", "0", "+2", "18446744073709551615", "x"]);
        tags.insert(tags::VOLUMES.into(), size.to_owned());
    }
    if choices.once_in(4) {
        tags.insert(tags::EXPIRES_AT.into(), tags::instant(time(choices, start)));
    }
    if choices.once_in(6) {
        let with = choices.pick(&["", VAULT, "222222222222,444444444444", "x,,"]);
        tags.insert(tags::SHARED_WITH.into(), with.to_owned());
    }
    tags
}

/// What a copy or a stand-in has, more or less.
fn copy_tags(choices: &mut Choices<'_>, rule: &str, within: bool, start: Timestamp) -> Tags {
    let n = 1 + choices.upto(40);
    let volume = choices.pick(&["vol-00000001", "vol-00000002", "vol-ffffffff"]);
    let account = choices.pick(&[MEMBER, MEMBER, MEMBER, OTHER]);
    let region = choices.pick(&[HOME, HOME, HOME, AWAY]);
    let mut tags = Tags::from([
        (tags::POLICY.to_owned(), policy_name(choices)),
        (tags::RULE.to_owned(), rule.to_owned()),
        (tags::SOURCE_SNAPSHOT.to_owned(), snap(n).to_string()),
        (tags::SOURCE_ACCOUNT.to_owned(), account.to_owned()),
        (tags::SOURCE_REGION.to_owned(), region.to_owned()),
        (tags::SOURCE_VOLUME.to_owned(), volume.to_owned()),
    ]);
    if within {
        tags.insert(tags::SCHEDULE.into(), schedule_names(choices));
    }
    if !choices.once_in(4) {
        tags.insert(tags::SOURCE_START_TIME.into(), slot_of(choices, start));
    }
    if !choices.once_in(4) {
        tags.insert(tags::SLOT.into(), slot_of(choices, start));
    }
    if choices.once_in(4) {
        tags.insert(tags::EXPIRES_AT.into(), tags::instant(time(choices, start)));
    }
    if choices.once_in(5) {
        tags.insert(tags::SOURCE_VOLUME_BY.into(), "description".into());
    }
    tags
}

/// Takes something away, or adds what does not belong there.
fn spoil(choices: &mut Choices<'_>, tags: &mut Tags) {
    match choices.upto(20) {
        0 => {
            let keys: Vec<String> = tags.keys().cloned().collect();
            let n = usize::try_from(choices.upto(9)).unwrap_or(0);
            keys.get(n).map(|key| tags.remove(key));
        }
        1 => {
            let keys: Vec<String> = tags.keys().cloned().collect();
            let n = usize::try_from(choices.upto(9)).unwrap_or(0);
            let value = choices.text();
            keys.get(n).map(|key| tags.insert(key.clone(), value));
        }
        2 => {
            let keys = [
                "aws:backup:source-resource",
                "aws:dlm:lifecycle-policy-id",
                "dlm:managed",
                "aws:cloudformation:stack-name",
                "AWS:x",
            ];
            tags.insert(choices.pick(&keys).to_owned(), "x".to_owned());
        }
        3 => tags.extend((0..45).map(|n| (format!("k{n}"), "x".to_owned()))),
        4 => drop(tags.insert(choices.text(), choices.text())),
        _ => {}
    }
    if choices.once_in(4) {
        tags.insert("Name".into(), choices.pick(&["web", "", "\0\u{202e}\u{1f980}"]).to_owned());
    }
}

fn described(choices: &mut Choices<'_>, tags: &Tags) -> String {
    let volume = vol(1 + choices.upto(2));
    match choices.upto(5) {
        0 => String::new(),
        1 => choices.text(),
        2 => " slot: ".repeat(30),
        3 => format!("Created for policy: {volume} slot: 2026-11-21T02:00:00Z volume: {volume}"),
        _ => match Claim::read(tags) {
            Some(claim) => description::write(&claim, Some(&volume), Some("web")),
            None => format!("Created for policy: p schedule: a slot: x volume: {volume}"),
        },
    }
}

/// Whose tags a snapshot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Own,
    StandIn,
    /// By the vault, or by a policy within the account.
    Copy {
        within: bool,
    },
}

/// The `n`th snapshot.
pub(super) fn snapshot(
    choices: &mut Choices<'_>,
    n: i64,
    kind: Kind,
    owner: &str,
    now: Timestamp,
) -> Snapshot {
    let start_time = time(choices, now);
    let mut tags = match kind {
        Kind::Own => own_tags(choices, start_time),
        Kind::StandIn => {
            let mut tags = copy_tags(choices, tags::RESCUE, true, start_time);
            tags.insert(tags::SOURCE_ACCOUNT.into(), MEMBER.into());
            tags
        }
        Kind::Copy { within } => {
            let rule = choices.pick(&[HOME, AWAY, "eu-central-1/1", "eu-west-1/2", "us-east-1"]);
            let within = if choices.once_in(12) { !within } else { within };
            copy_tags(choices, rule, within, start_time)
        }
    };
    spoil(choices, &mut tags);
    let placeholder = vol(0xffff_ffff);
    let is_copy = kind != Kind::Own || choices.once_in(15);
    let state = match choices.upto(7) {
        0 => State::Pending,
        1 => State::Error,
        2 if choices.once_in(3) => State::Other,
        _ => State::Completed,
    };
    let encrypted = choices.once_in(3);
    let keys = [SEALED, "arn:aws:kms:eu-central-1:333333333333:key/k", "not an ARN"];
    let owner = if choices.once_in(25) { OTHER } else { owner };
    Snapshot {
        id: snap(n),
        volume_id: if is_copy { placeholder } else { vol(1 + choices.upto(2)) },
        owner: id(owner),
        state,
        state_message: choices.once_in(4).then(|| "Given key ID is not\naccessible".to_owned()),
        start_time,
        description: described(choices, &tags),
        volume_size_gib: choices.pick(&[8, 0, 16_385, u32::MAX]),
        archived: state == State::Completed && choices.once_in(8),
        encrypted,
        kms_key_id: encrypted.then(|| choices.pick(&keys).into()),
        tags,
    }
}

/// Up to `max` ids of the first 60.
pub(super) fn some_ids(choices: &mut Choices<'_>, max: i64) -> BTreeSet<SnapshotId> {
    choices.many(max, |choices| snap(1 + choices.upto(59))).into_iter().collect()
}

pub(super) fn guards(choices: &mut Choices<'_>) -> Result<Guards, String> {
    if choices.once_in(15) {
        return Err("nobody knows".into());
    }
    let images = some_ids(choices, 3).into_iter().map(|id| (id, "ami-1".to_owned())).collect();
    Ok(Guards { images, locked: some_ids(choices, 3) })
}

pub(super) fn unread() -> Unread {
    Unread { kind: ErrorKind::AccessDenied, code: "x".into(), message: "no answer".into() }
}

pub(super) fn refused(choices: &mut Choices<'_>) -> Ec2Error {
    let kinds = [ErrorKind::AccessDenied, ErrorKind::NotFound, ErrorKind::Throttled];
    Ec2Error::Refused {
        operation: "DescribeKey",
        kind: choices.pick(&kinds),
        code: "Code".into(),
        message: "two\nlines".into(),
        request_id: "r".into(),
    }
}

pub(super) fn a_key(choices: &mut Choices<'_>, arn: &str) -> Key {
    Key {
        arn: arn.to_owned(),
        aws_managed: arn == SEALED,
        state: choices.pick(&["Enabled", "Enabled", "Enabled", "Disabled", ""]).to_owned(),
        usage: choices.pick(&["ENCRYPT_DECRYPT", "ENCRYPT_DECRYPT", "SIGN_VERIFY"]).to_owned(),
        spec: "SYMMETRIC_DEFAULT".into(),
    }
}

pub(super) fn region(text: &str) -> Region {
    id(text)
}
