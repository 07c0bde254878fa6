//! `PresignedUrl` in the requests that EC2 gets. What it is made of is in [`crate::presign`].

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::sdk_config::TimeSource;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use snapferry_core::chain::Chain;
use snapferry_core::ec2::{Access, CopySnapshot, Ec2, Ec2Provider, ErrorKind, ExternalId};

use super::copying::{copied, request as plain};
use super::{assert_no_answer, assert_refused};
use crate::deadline::Deadline;
use crate::ec2::AwsEc2;
use crate::presign::{Endpoints, Signing, presigned_url};
use crate::provider::Aws;
use crate::testing::{REQUEST_ID, Script, Sent, decoded, id, invocation, ok, refused, throttled};

const DESTINATION: &str = "eu-west-1";
const NOW: &str = "2026-11-22T02:15:07Z";

/// The clock stands still.
#[derive(Debug)]
struct Stopped;

impl TimeSource for Stopped {
    fn now(&self) -> SystemTime {
        NOW.parse::<jiff::Timestamp>().unwrap().into()
    }
}

fn sdk(script: &Script) -> SdkConfig {
    script.sdk().into_builder().time_source(Stopped).build()
}

fn request() -> CopySnapshot {
    CopySnapshot { source_encrypted: true, ..plain() }
}

async fn in_ireland(aws: &Aws, access: &Access) -> AwsEc2 {
    aws.connect(access, &id(DESTINATION)).await.unwrap()
}

/// What EC2 got, as the function itself.
async fn sent(sdk: SdkConfig, script: &Script, request: &CopySnapshot) -> Sent {
    let aws = invocation(sdk, Duration::from_mins(1));
    in_ireland(&aws, &Access::default()).await.copy_snapshot(request).await.unwrap();
    script.sent("CopySnapshot").pop().unwrap()
}

fn member(sent: &Sent, name: &str) -> Option<String> {
    let start = format!("{name}=");
    sent.parameters().iter().find_map(|it| it.strip_prefix(&start).map(str::to_owned))
}

fn url(sent: &Sent) -> String {
    member(sent, "PresignedUrl").unwrap()
}

/// The members of the URL, decoded and sorted; the signer's own and the others.
fn members(url: &str) -> (Vec<String>, Vec<String>) {
    let (_, query) = url.split_once('?').unwrap();
    let mut members: Vec<String> = query.split('&').map(decoded).collect();
    members.sort_unstable();
    members.into_iter().partition(|it| it.starts_with("X-Amz-"))
}

#[tokio::test]
async fn every_member_of_the_request_is_in_the_url_and_nothing_else() {
    let many = (0..50).map(|n| (format!("key {n}"), format!("100% of a+b *~ é {n}"))).collect();
    let bare = CopySnapshot {
        description: String::new(),
        encrypted: false,
        kms_key: None,
        completion_duration_minutes: None,
        tags: [("a".to_owned(), String::new())].into(),
        ..request()
    };
    for request in [
        request(),
        CopySnapshot { tags: many, ..request() },
        CopySnapshot { tags: snapferry_core::policy::Tags::new(), ..bare.clone() },
        bare,
    ] {
        let script = Script::default().on("CopySnapshot", [copied()]);
        let sent = sent(sdk(&script), &script, &request).await;
        let (_, in_url) = members(&url(&sent));
        let mut in_request: Vec<String> = sent.body.split('&').map(decoded).collect();
        in_request.retain(|it| !it.starts_with("PresignedUrl="));
        in_request.sort_unstable();
        assert_eq!(in_url, in_request);
        assert_eq!(member(&sent, "DestinationRegion").as_deref(), Some(DESTINATION));
    }
}

#[tokio::test]
async fn only_a_copy_of_an_encrypted_snapshot_has_one_and_only_while_it_is_switched_on() {
    let script = Script::default().on("CopySnapshot", [copied(), copied()]);
    let off = Aws::new(sdk(&script), Deadline::after(Duration::from_mins(1)), "id", false).unwrap();
    for (aws, request) in [(script.aws(), plain()), (off, request())] {
        in_ireland(&aws, &Access::default()).await.copy_snapshot(&request).await.unwrap();
    }
    for sent in script.sent("CopySnapshot") {
        for name in ["PresignedUrl", "DestinationRegion"] {
            assert_eq!(member(&sent, name), None);
        }
    }
}

#[tokio::test]
async fn it_is_signed_for_the_region_of_the_source_as_who_asks() {
    let role = Access {
        role_arn: Some(id("arn:aws:iam::222222222222:role/snapferry-member")),
        external_id: Some(ExternalId("seat 7".into())),
    };
    let credentials = "<AssumeRoleResult><Credentials><AccessKeyId>ASIAMEMBER</AccessKeyId>\
        <SecretAccessKey>of the member</SecretAccessKey>\
        <SessionToken>token-of-member==</SessionToken>\
        <Expiration>2026-11-22T03:00:00Z</Expiration></Credentials></AssumeRoleResult>";
    let script = Script::default()
        .on("AssumeRole", [ok("AssumeRole", credentials)])
        .on("CopySnapshot", [copied(), copied()]);
    let aws = invocation(sdk(&script), Duration::from_mins(1));
    for (access, access_key_id, secret_access_key, session_token) in [
        (Access::default(), "AKIAOWN", "secret", None),
        (role, "ASIAMEMBER", "of the member", Some("token-of-member==")),
    ] {
        in_ireland(&aws, &access).await.copy_snapshot(&request()).await.unwrap();
        let sent = script.sent("CopySnapshot").pop().unwrap();
        assert!(sent.headers["authorization"].contains(&format!("Credential={access_key_id}/")));
        let found = url(&sent);
        assert!(found.starts_with("https://ec2.eu-central-1.amazonaws.com/?"), "{found}");
        let at = NOW.parse().unwrap();
        let by = Signing { access_key_id, secret_access_key, session_token, at };
        let want = presigned_url(&request(), &id(DESTINATION), &Endpoints::default(), by);
        assert_eq!(found, want.unwrap());
    }
}

#[tokio::test]
async fn what_is_sent_again_has_the_same_one() {
    let answers = [throttled(), throttled(), copied()];
    let script = Script::default().on("CopySnapshot", answers);
    let last = sent(script.sdk(), &script, &request()).await;
    let urls: Vec<String> = script.sent("CopySnapshot").iter().map(url).collect();
    assert_eq!(urls, vec![url(&last); 3]);
}

#[derive(Debug)]
struct OfEc2(&'static str);

impl LoadServiceConfig for OfEc2 {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let known = key.service_id() == "EC2" && key.env() == "AWS_ENDPOINT_URL";
        known.then(|| self.0.to_owned())
    }
}

#[tokio::test]
async fn a_given_endpoint_is_for_the_source_too() {
    for (of_all, of_ec2, want) in [
        (Some("http://127.0.0.1:5000"), None, "http://127.0.0.1:5000/?"),
        (None, Some("http://127.0.0.1:6000"), "http://127.0.0.1:6000/?"),
        (Some("http://127.0.0.1:5000"), Some("http://127.0.0.1:6000"), "http://127.0.0.1:6000/?"),
        (Some("https://eu-west-1.inner"), None, "https://eu-central-1.inner/?"),
    ] {
        let script = Script::default().on("CopySnapshot", [copied()]);
        let mut sdk = sdk(&script).into_builder();
        sdk.set_endpoint_url(of_all.map(str::to_owned));
        sdk.set_service_config(of_ec2.map(OfEc2));
        let sent = sent(sdk.build(), &script, &request()).await;
        assert!(url(&sent).starts_with(want), "{}", url(&sent));
        let asked = of_ec2.or(of_all).unwrap();
        assert!(asked.ends_with(&sent.host), "both ask the endpoint that was given");
    }
}

#[derive(Debug)]
enum Broken {
    Refuses,
    Hangs,
}

impl ProvideCredentials for Broken {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match self {
            Self::Refuses => {
                let err = CredentialsError::not_loaded("the metadata service is gone");
                future::ProvideCredentials::ready(Err::<Credentials, _>(err))
            }
            Self::Hangs => future::ProvideCredentials::new(std::future::pending()),
        }
    }
}

#[tokio::test]
async fn credentials_that_are_not_to_be_had_are_an_error_in_time() {
    for broken in [Broken::Refuses, Broken::Hangs] {
        let is_late = matches!(broken, Broken::Hangs);
        let script = Script::default();
        let provider = SharedCredentialsProvider::new(broken);
        let sdk = sdk(&script).into_builder().credentials_provider(provider).build();
        let aws = invocation(sdk, Duration::from_millis(300));
        let ec2 = in_ireland(&aws, &Access::default()).await;
        let err = ec2.copy_snapshot(&request()).await.unwrap_err();
        if is_late {
            assert_no_answer(&err, "CopySnapshot", "deadline has elapsed");
        } else {
            let said = Chain(&err).to_string();
            assert_eq!((err.kind(), err.code()), (ErrorKind::Invalid, None));
            assert!(said.starts_with("cannot send CopySnapshot: "), "{said}");
            assert!(said.contains("the metadata service is gone"), "{said}");
        }
        assert_eq!(script.actions(), [""; 0]);
    }
}

#[tokio::test]
async fn it_is_not_told_even_where_ec2_does() {
    let by = Signing {
        access_key_id: "AKIAOWN",
        secret_access_key: "secret",
        session_token: None,
        at: NOW.parse().unwrap(),
    };
    let url = presigned_url(&request(), &id(DESTINATION), &Endpoints::default(), by).unwrap();
    let echo = format!("Value ({}) is invalid.", url.replace('&', "&amp;"));
    let answer = refused(400, "InvalidParameterValue", &echo);
    let script = Script::default().on("CopySnapshot", [answer]);
    let aws = invocation(sdk(&script), Duration::from_mins(1));
    let ec2 = in_ireland(&aws, &Access::default()).await;
    let err = ec2.copy_snapshot(&request()).await.unwrap_err();
    let text = format!(
        "AWS refused CopySnapshot: Value ((PresignedUrl)) is invalid. (InvalidParameterValue, \
         request ID {REQUEST_ID})"
    );
    assert_refused(&err, ErrorKind::Invalid, &text);
    for secret in ["X-Amz-Signature", "\"secret\""] {
        assert!(!format!("{err:?} {:?}", ec2.presigner).contains(secret));
    }
}
