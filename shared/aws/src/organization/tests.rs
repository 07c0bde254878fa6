use snapferry_core::chain::Chain;
use snapferry_core::ec2::{Ec2Provider, ErrorKind};

use super::*;
use crate::testing::{Answer, Script, id, json};
use serde_json::{Value, json as value};

const ACCOUNTS: &str = "ListAccountsForParent";
const UNITS: &str = "ListOrganizationalUnitsForParent";

fn unit() -> UnitId {
    id("ou-ab12-cd34ef56")
}

fn page(name: &str, items: &[Value], next: Option<&str>) -> Answer {
    json(200, value!({name: items, "NextToken": next}))
}

fn account(id: &str, state: Option<&str>) -> Value {
    value!({"Id": id, "Name": "web", "Status": "ACTIVE", "State": state})
}

#[tokio::test]
async fn active_accounts_of_all_pages_are_members() {
    let first = [account("111111111111", Some("ACTIVE")), account("222222222222", None)];
    let more = [
        account("333333333333", Some("SUSPENDED")),
        account("444444444444", Some("PENDING_CLOSURE")),
        account("555555555555", Some("ACTIVE")),
    ];
    let script = Script::default()
        .on(ACCOUNTS, [page("Accounts", &first, Some("more")), page("Accounts", &more, None)]);
    let found = script.aws().accounts_in(&unit()).await.unwrap();
    let want = ["111111111111", "222222222222", "555555555555"].map(id);
    assert_eq!(found, want.into());
    let sent = script.sent(ACCOUNTS);
    assert_eq!(sent[0].json(), value!({"ParentId": "ou-ab12-cd34ef56", "MaxResults": 20}));
    assert_eq!(sent[1].json()["NextToken"], "more");
    assert_eq!(sent[0].host, "organizations.us-east-1.amazonaws.com");
}

#[tokio::test]
async fn units_of_all_pages_are_below() {
    let [one, other] = ["ou-ab12-11111111", "ou-ab12-22222222"].map(|id| value!({"Id": id}));
    let script = Script::default().on(
        UNITS,
        [
            page("OrganizationalUnits", &[one], Some("more")),
            page("OrganizationalUnits", &[other], None),
        ],
    );
    let found = script.aws().units_in(&id("r-ab12")).await.unwrap();
    assert_eq!(found, ["ou-ab12-11111111", "ou-ab12-22222222"].map(id).into());
}

#[tokio::test]
async fn what_is_no_list_is_no_list() {
    let circle = |_| page("Accounts", &[], Some("same"));
    for (answers, want) in [
        (vec![json(200, value!({}))], "no \"Accounts\""),
        (vec![page("Accounts", &[value!({"Id": "1"})], None)], "an account with the id"),
        ((0..3).map(circle).collect(), "leads back to an earlier one"),
    ] {
        let script = Script::default().on(ACCOUNTS, answers);
        let said = Chain(&script.aws().accounts_in(&unit()).await.unwrap_err()).to_string();
        assert!(
            said.starts_with("no answer to ListAccountsForParent") && said.contains(want),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_aws_refuses_says_who_must_act() {
    for (code, kind) in [
        ("AccessDeniedException", ErrorKind::AccessDenied),
        ("ParentNotFoundException", ErrorKind::NotFound),
        ("AWSOrganizationsNotInUseException", ErrorKind::Invalid),
    ] {
        let refusal = json(400, value!({"__type": code, "Message": "no"}));
        let script = Script::default().on(ACCOUNTS, [refusal]);
        let err = script.aws().accounts_in(&unit()).await.unwrap_err();
        assert_eq!(err.kind(), kind, "{code}");
    }
}

#[tokio::test]
async fn throttling_and_resets_are_tried_again() {
    let refusal = json(400, value!({"__type": "TooManyRequestsException", "Message": "slow down"}));
    let script =
        Script::default().on(ACCOUNTS, [refusal, Answer::Reset, page("Accounts", &[], None)]);
    assert!(script.aws().accounts_in(&unit()).await.unwrap().is_empty());
    assert_eq!(script.sent(ACCOUNTS).len(), 3);
}
