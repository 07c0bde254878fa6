//! What goes wrong, as the local AWS is told.

use serde_json::{Value, json};

/// A kind of fault.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// The members of the faults, without those that say which calls they hit.
    pub(super) faults: Vec<Value>,
    /// What the answer says of it: one of these. None: a clean success is one way to survive it.
    pub(super) says: &'static [&'static str],
    /// A creating call may be sent again in the same run: AWS said that it has not happened.
    pub(super) refused: bool,
}

fn kind(name: &'static str, fault: Value, says: &'static [&'static str]) -> Kind {
    Kind { name, faults: vec![fault], says, refused: false }
}

fn refusal(name: &'static str, fault: Value, says: &'static [&'static str]) -> Kind {
    Kind { refused: true, ..kind(name, fault, says) }
}

/// Without an answer that can be understood.
const NONE: &[&str] = &["no answer to"];

/// A load balancer's, and no XML.
const PAGE: &str = "<html><body><h1>Bad Gateway<br></h1></body></html>";

/// Those that end a call before its time is over.
pub(super) fn ending() -> Vec<Kind> {
    let cut = |name, place| kind(name, json!({"cut": place, "framing": "close"}), NONE);
    vec![
        kind("reset before the call", json!({"drop": "before"}), NONE),
        kind("reset after the call", json!({"drop": "after"}), NONE),
        kind("reset in the middle of the answer", json!({"cut": 0.5, "reset": true}), NONE),
        kind("reset after the answer", json!({"reset": true}), &[]),
        kind("half an answer, length known", json!({"truncate": true}), NONE),
        kind("half an answer, chunked", json!({"cut": 0.5, "framing": "chunked"}), NONE),
        cut("cut within a tag", "<[a-zA-Z]{3}|\"[A-Z]"),
        cut("cut within a number", "[0-9a-f]{3}"),
        kind("500", json!({"code": "InternalError", "status": 500}), &["InternalError"]),
        kind(
            "500 after the call",
            json!({"code": "InternalError", "status": 500, "after": true}),
            &["InternalError"],
        ),
        kind("502, a page", json!({"answer": PAGE, "status": 502}), &["HTTP status 502"]),
        kind("503, empty", json!({"answer": "", "status": 503}), &["HTTP status 503"]),
        kind(
            "504 after the call",
            json!({"answer": PAGE, "status": 504, "after": true}),
            &["HTTP status 504"],
        ),
        refusal(
            "throttled",
            json!({"code": "RequestLimitExceeded", "status": 503}),
            &["RequestLimitExceeded"],
        ),
        refusal(
            "throttled as JSON services do",
            json!({"code": "ThrottlingException"}),
            &["ThrottlingException"],
        ),
        refusal("expired token", json!({"code": "ExpiredToken", "status": 403}), &["ExpiredToken"]),
        refusal(
            "wrong signature",
            json!({"code": "SignatureDoesNotMatch", "status": 403}),
            &["SignatureDoesNotMatch"],
        ),
        refusal(
            "expired request, clock off",
            json!({"code": "RequestExpired", "headers": {"date": "Sat, 28 Nov 2026 00:00:00 GMT"}}),
            &["RequestExpired"],
        ),
    ]
    .into_iter()
    .chain(garbled())
    .collect()
}

/// Answers that are whole, and nonsense.
fn garbled() -> Vec<Kind> {
    let bomb = "<!DOCTYPE b [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\">]><b>&b;</b>";
    let rewritten = |name, xml: &str, by: &str, in_json: &str| {
        kind(name, json!({"rewrite": [[xml, by], [in_json, ""]]}), NONE)
    };
    let members = "<(snapshotId|volumeId|instanceId|Account|AccessKeyId)>[^<]*</[a-zA-Z]*>|\
                   <imagesSet ?/>|<imagesSet>.*</imagesSet>";
    vec![
        kind("not XML", json!({"answer": "all is well"}), NONE),
        kind("another's page", json!({"answer": PAGE}), NONE),
        kind("another's answer", json!({"answer": "<DescribeRegionsResponse/>"}), NONE),
        kind("entity bomb", json!({"answer": bomb}), NONE),
        kind("empty 200", json!({"answer": ""}), NONE),
        kind("UTF-16", json!({"encoding": "utf-16"}), NONE),
        rewritten("unclosed", "</(item|return|requestId|RequestId)>", "", "}$"),
        rewritten("nested deep", "(?=</[a-zA-Z]*Response>)", &"<a>".repeat(20_000), "}$"),
        rewritten("no XML in the middle", "</(item|requestId|RequestId)>", "<<", "\","),
        rewritten("members missing", members, "", "\"KeyMetadata\": |\"Name\": \"[^\"]*\", "),
        kind(
            "numbers too large, states unknown",
            json!({"rewrite": [
                ["<volumeSize>[0-9]*", "<volumeSize>99999999999999999999"],
                ["<size>[0-9]*", "<size>99999999999999999999"],
                ["<startTime>[^<]*", "<startTime>the day after tomorrow"],
            ]}),
            &[],
        ),
    ]
}

/// Those that last: only the end of the invocation ends them.
pub(super) fn lasting() -> Vec<Kind> {
    let endless = |bytes: u32, seconds: f64| {
        json!({"cut": 0.5, "framing": "chunked",
        "endless": {"bytes": bytes, "seconds": seconds}})
    };
    vec![
        kind("never an answer", json!({"hold": "before", "drop": "before"}), NONE),
        kind("never an answer to what happened", json!({"hold": "after", "drop": "after"}), NONE),
        kind("slow headers", json!({"slow": {"from": "head"}}), NONE),
        kind("slow body", json!({"slow": {"from": "body"}}), NONE),
        kind("a body that never ends", endless(1, 0.2), NONE),
        kind("a flood that never ends", endless(1 << 20, 0.0), NONE),
    ]
}

/// Of lists.
pub(super) fn pages() -> Vec<Kind> {
    let goes_on = |more: Value| {
        let mut fault = json!({"rewrite": [
            ["(?=</[a-zA-Z]*Response>)", "<nextToken>pageTwo</nextToken>"],
            ["}$", ",\"NextToken\":\"pageTwo\"}"],
        ]});
        if let (Some(fault), Some(more)) = (fault.as_object_mut(), more.as_object()) {
            fault.extend(more.clone());
        }
        fault
    };
    let two = |name, second: Value, first, says| Kind {
        name,
        faults: vec![second, first],
        says,
        refused: false,
    };
    let from_the_start = json!({"match": "pageTwo", "ask": {"NextToken": null}});
    let mut empty = goes_on(json!({}));
    if let Some(rules) = empty["rewrite"].as_array_mut() {
        for set in ["snapshotSet", "volumeSet", "reservationSet", "imagesSet"] {
            rules.push(json!([format!("(?<=<{set}>).*(?=</{set}>)"), ""]));
        }
        rules.push(json!(["(?<=\"Parameters\": \\[).*(?=\\])", ""]));
    }
    let refused = json!({"match": "pageTwo", "code": "InvalidParameterValue",
                         "message": "Unable to parse pagination token"});
    vec![
        kind(
            "the same page for ever",
            goes_on(json!({"ask": {"NextToken": null}})),
            &["leads back to an earlier one"],
        ),
        two("a page twice", from_the_start.clone(), goes_on(json!({})), &[]),
        two("an empty page, and more", from_the_start, empty, &[]),
        two("a token that is refused", refused, goes_on(json!({})), &["InvalidParameterValue"]),
    ]
}

/// Of every call, some.
pub(super) fn storms() -> Vec<Kind> {
    let storm = |name, mut fault: Value, chance: f64| {
        fault["chance"] = json!(chance);
        refusal(name, fault, &[])
    };
    let reset = json!({"drop": "before"});
    vec![
        storm("throttling storm", json!({"code": "RequestLimitExceeded", "status": 503}), 0.5),
        Kind { refused: false, ..storm("storm of resets", reset, 0.3) },
        Kind {
            refused: false,
            ..storm("storm of half answers", json!({"cut": 0.5, "framing": "chunked"}), 0.3)
        },
        refusal(
            "session expired",
            json!({"code": "RequestExpired", "role": ["<role>", "<reader>"]}),
            &["RequestExpired"],
        ),
        refusal(
            "own credentials expired in the middle",
            json!({"code": "ExpiredToken", "status": 403, "key": "<vault>", "skip": 1}),
            &["ExpiredToken"],
        ),
    ]
}
