//! AWS without a network: keeps what it is asked, as AWS gets it, and answers from a script.
//!
//! The SDK's own `test-util` features would do it too, but they are another feature set, and `aws-sdk-ec2` would be
//! compiled twice.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use snapferry_core::ec2::{Access, Ec2Provider};

use crate::deadline::Deadline;
use crate::ec2::AwsEc2;
use crate::provider::{Aws, retries};

/// In every answer's header.
pub(crate) const REQUEST_ID: &str = "59dbff89-35bd-4eac-99ed-be587EXAMPLE";

/// What AWS does about a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status and body.
    Http(u16, String),
    /// The connection breaks after the request was sent.
    Reset,
    /// The connector gives up.
    TimedOut,
    /// Nothing, ever.
    Never,
}

/// A request as AWS gets it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) action: String,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Sent {
    /// The Query API's parameters as `name=value`, decoded and sorted; without `Action` and `Version`.
    pub(crate) fn parameters(&self) -> Vec<String> {
        let all = self.body.split('&').map(decoded);
        let mut own: Vec<String> =
            all.filter(|it| !it.starts_with("Action=") && !it.starts_with("Version=")).collect();
        own.sort_unstable();
        own
    }

    /// The body of a JSON API.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// AWS, scripted per action.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<&'static str, VecDeque<Answer>>,
    sent: Vec<Sent>,
}

impl Script {
    /// Answers `action` so, one after the other. A request too many panics.
    pub(crate) fn on(
        self,
        action: &'static str,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Self {
        let mut state = self.state();
        state.answers.entry(action).or_default().extend(answers);
        drop(state);
        self
    }

    /// The requests for `action` so far.
    pub(crate) fn sent(&self, action: &str) -> Vec<Sent> {
        let state = self.state();
        let of_action = state.sent.iter().filter(|it| it.action == action);
        of_action.cloned().collect()
    }

    /// The actions of all requests so far.
    pub(crate) fn actions(&self) -> Vec<String> {
        let state = self.state();
        state.sent.iter().map(|it| it.action.clone()).collect()
    }

    /// As `Aws::config` makes it, except that it does not wait between attempts.
    pub(crate) fn sdk(&self) -> SdkConfig {
        let moment = Duration::from_millis(1);
        let retries = retries().with_initial_backoff(moment).with_max_backoff(moment);
        let own = Credentials::new("AKIAOWN", "secret", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(own))
            .http_client(self.clone())
            .retry_config(retries)
            .build()
    }

    /// For an invocation with a minute left.
    pub(crate) fn aws(&self) -> Aws {
        invocation(self.sdk(), Duration::from_mins(1))
    }

    /// EC2 of the function's own account in `eu-central-1`.
    pub(crate) async fn ec2(&self) -> AwsEc2 {
        home_ec2(&self.aws()).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn next(&self, sent: Sent) -> Answer {
        let mut state = self.state();
        let answers = state.answers.get_mut(sent.action.as_str());
        let answer = answers.and_then(VecDeque::pop_front);
        let text = format!("no answer is left for {sent:?}");
        state.sent.push(sent);
        drop(state);
        answer.expect(&text)
    }
}

impl HttpClient for Script {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.next(sent(&request));
        HttpConnectorFuture::new(async move {
            tokio::task::yield_now().await; // others get their turn, as they would
            match answer {
                Answer::Http(status, body) => Ok(http(status, body)),
                Answer::Reset => Err(ConnectorError::io("connection reset by peer".into())),
                Answer::TimedOut => Err(ConnectorError::timeout("no byte for 20 s".into())),
                Answer::Never => std::future::pending().await,
            }
        })
    }
}

fn sent(request: &HttpRequest) -> Sent {
    let headers: BTreeMap<String, String> =
        request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
    let of_json = headers.get("x-amz-target").and_then(|it| it.split('.').nth(1));
    let of_query = || body.split('&').find_map(|it| it.strip_prefix("Action="));
    Sent {
        action: of_json.or_else(of_query).unwrap_or_default().to_owned(),
        method: request.method().to_owned(),
        host: request.uri().split('/').nth(2).unwrap_or_default().to_owned(),
        headers,
        body,
    }
}

fn http(status: u16, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    let headers = response.headers_mut();
    headers.insert("x-amzn-requestid", REQUEST_ID);
    response
}

/// A form or a query, without what it is written with.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut found = Vec::new();
    while let Some(byte) = bytes.next() {
        found.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(found).unwrap()
}

/// With so much time left.
pub(crate) fn invocation(sdk: SdkConfig, left: Duration) -> Aws {
    Aws::new(sdk, Deadline::after(left), "0f9b2a6c", true).unwrap()
}

/// EC2 of the function's own account and Region.
pub(crate) async fn home_ec2(aws: &Aws) -> AwsEc2 {
    aws.connect(&Access::default(), &aws.home()).await.unwrap()
}

/// A success of an XML API.
pub(crate) fn ok(action: &str, members: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         {members}<requestId>{REQUEST_ID}</requestId></{action}Response>"
    );
    Answer::Http(200, body)
}

/// An error of EC2, the way it writes them.
pub(crate) fn refused(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
         <RequestID>another-id-than-the-header</RequestID></Response>"
    );
    Answer::Http(status, body)
}

/// EC2 has had enough of us.
pub(crate) fn throttled() -> Answer {
    refused(503, "RequestLimitExceeded", "Request limit exceeded.")
}

/// EC2 broke.
pub(crate) fn broken() -> Answer {
    let message = "An internal error has occurred";
    refused(500, "InternalError", message)
}

/// An error of STS.
pub(crate) fn refused_by_sts(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    );
    Answer::Http(status, body)
}

/// An answer of a JSON API.
#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
pub(crate) fn json(status: u16, body: serde_json::Value) -> Answer {
    Answer::Http(status, body.to_string())
}

/// The answer up to where `text` begins.
pub(crate) fn cut(answer: &Answer, text: &str) -> Answer {
    let Answer::Http(status, body) = answer else { panic!("{answer:?} has no body") };
    let (begin, _) = body.split_once(text).unwrap();
    Answer::Http(*status, begin.to_owned())
}

/// An identifier.
pub(crate) fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Several.
pub(crate) fn ids<T: FromStr<Err: Debug>, C: FromIterator<T>>(texts: &[&str]) -> C {
    texts.iter().map(|text| id(text)).collect()
}
