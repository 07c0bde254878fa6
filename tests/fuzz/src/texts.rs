//! Every other text that is parsed: identifiers, ARNs, times, cron expressions, time zones, patterns.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use snapferry_core::ids::{
    AccountId, InstanceId, KmsKeyArn, KmsKeyId, Region, RoleArn, Scope, SnapshotId, VolumeId,
};
use snapferry_core::policy::{DescriptionRegex, wildcard};
use snapferry_core::schedule::{CreateRule, Cron, Interval, Slot, When};

use crate::{Verdict, check};

/// Has every parser read the same text; of several lines, the first is a pattern or a time zone for the second.
pub fn run(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let (first, second) = text.split_once('\n').unwrap_or((&text, ""));
    let mut taken = 0;
    let mut count = |is_taken: bool| taken += usize::from(is_taken);
    count(id::<VolumeId>(&text).is_some());
    count(id::<InstanceId>(&text).is_some());
    count(id::<SnapshotId>(&text).is_some());
    count(id::<AccountId>(&text).is_some());
    count(id::<Region>(&text).is_some());
    count(id::<Scope>(&text).is_some());
    count(id::<Slot>(&text).is_some());
    count(arns(&text));
    count(cron(second, TimeZone::get(first).unwrap_or(TimeZone::UTC)));
    count(cron(&text, TimeZone::UTC));
    count(zone(first));
    patterns(first, second); // nearly every text is one
    Verdict::of(taken > 0)
}

/// What is taken prints as it read.
fn id<T: FromStr<Err: Display> + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(id) => {
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse::<T>().ok().as_ref(), Some(&id));
            Some(id)
        }
        Err(err) => {
            check::one_line(&err.to_string());
            None
        }
    }
}

fn arns(text: &str) -> bool {
    let role = id::<RoleArn>(text);
    if let Some(role) = &role {
        assert_eq!(id::<AccountId>(role.account().as_str()), Some(role.account()));
    }
    let key = id::<KmsKeyArn>(text);
    if let Some(key) = &key {
        assert_eq!(id::<Region>(key.region().as_str()), Some(key.region()));
    }
    let key_id = id::<KmsKeyId>(text);
    if let Some(key_id) = &key_id {
        let is_aws = text.contains("alias/aws/") && key_id.is_aws_managed();
        assert_eq!(is_aws, key_id.is_aws_managed());
    }
    let snapshot = SnapshotId::from_arn(text).ok();
    if let Some(snapshot) = &snapshot {
        assert!(text.ends_with(snapshot.as_str()));
    }
    let digits = text.parse::<u64>().ok().map(AccountId::from_number);
    if let Some(Ok(account)) = &digits {
        assert!(account.as_str().parse::<u64>() == text.parse(), "{account}");
    }
    role.is_some() || key.is_some() || key_id.is_some() || snapshot.is_some()
}

fn cron(text: &str, time_zone: TimeZone) -> bool {
    // A document's limit.
    let Some(text) = text.get(..text.len().min(106)) else {
        return false;
    };
    match text.parse::<Cron>() {
        Ok(cron) => {
            assert_eq!(cron.as_str(), text.trim());
            assert_eq!(cron.as_str().parse().as_ref(), Ok(&cron));
            let fires = cron.fires();
            slots(When::Cron(cron), time_zone, fires);
            true
        }
        Err(err) => {
            check::one_line(&err.to_string());
            false
        }
    }
}

fn zone(name: &str) -> bool {
    let Ok(time_zone) = TimeZone::get(name) else {
        return false;
    };
    for hours in [1, 12] {
        let interval = Interval::new(hours, Time::constant(2, 30, 0, 0)).expect("hours");
        slots(When::Interval(interval), time_zone.clone(), true);
    }
    true
}

/// Slots rise, each is due at its own time, and none is due before the one that comes next.
fn slots(when: When, time_zone: TimeZone, fires: bool) {
    let rule = CreateRule { when, time_zone, start_window_minutes: None };
    let starts = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX];
    let summer = "2026-03-28T23:59:59Z".parse().expect("a time");
    let winter = "2026-10-24T23:59:59Z".parse().expect("a time");
    for start in starts.into_iter().chain([summer, winter]) {
        let mut at = start;
        for _ in 0..4 {
            let Some(next) = rule.next(at) else {
                break;
            };
            assert!(fires && next.timestamp() > at, "{next} after {at}");
            assert_eq!(rule.due(next.timestamp()), Some(next));
            let before = next.timestamp().checked_sub(SignedDuration::from_secs(1)).ok();
            let due_before = before.and_then(|before| rule.due(before));
            assert!(due_before.is_none_or(|due| due.timestamp() <= at), "{due_before:?} {at}");
            at = next.timestamp();
        }
        assert!(rule.due(start).is_none_or(|due| due.timestamp() <= start));
    }
}

fn patterns(pattern: &str, text: &str) {
    let (pattern, text) = (cut(pattern, 1000), cut(text, 255));
    let (glob, short) = (cut(pattern, 60), cut(text, 60));
    assert_eq!(wildcard(glob, short), fits(glob, short), "{glob:?} {short:?}");
    // What is none is told escaped, in an issue of a policy.
    if let Ok(regex) = DescriptionRegex::new(pattern) {
        assert_eq!(regex.as_str(), pattern);
        check::same("a match", &regex.is_match(text), &regex.is_match(text));
    }
}

fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// What `*` and `?` mean, by the book: which beginnings of `text` fit each beginning of `pattern`.
fn fits(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut row = vec![true];
    row.resize(text.len() + 1, false);
    for wanted in pattern.chars() {
        let mut next = vec![wanted == '*' && row.first() == Some(&true)];
        for (n, c) in text.iter().enumerate() {
            let diagonal = row.get(n) == Some(&true);
            let above = row.get(n + 1) == Some(&true);
            let left = next.last() == Some(&true);
            next.push(match wanted {
                '*' => above || left,
                wanted => diagonal && (wanted == '?' || wanted == *c),
            });
        }
        row = next;
    }
    row.last() == Some(&true)
}
