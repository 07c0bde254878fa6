//! `PresignedUrl`: the same copy asked of the source's Region, signed in its query by the same caller.
//!
//! EC2's reference wants it where the source is encrypted, and says that a wrong one ends in a copy in `error`
//! ([CopySnapshot](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html)). The SDKs for other
//! languages make it, the one for Rust does not. So it is made here as botocore makes it, member by member, down to
//! the signature.
//!
//! Whoever has the URL may ask for this one copy until it expires: it goes to EC2 and nowhere else, above all not into
//! a log. The URL stays valid longer than a function runs, so `CopySnapshot` that EC2 throttles is sent again with the
//! same one.

use std::error::Error;
use std::fmt::Write as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_types::sdk_config::SharedTimeSource;
use aws_types::service_config::ServiceConfigKey;
use jiff::Timestamp;
use snapferry_core::ec2::{CopySnapshot, Ec2Error};
use snapferry_core::ids::Region;

use crate::deadline::Deadline;

type BoxError = Box<dyn Error + Send + Sync>;

/// How long the URL is good for: an hour, as with botocore.
const EXPIRES: Duration = Duration::from_hours(1);

/// The longest URL that the signer can read, in bytes. Fifty tags of 256 characters can be more.
const MAX_BYTES: usize = 65_534;

/// What EC2's reference wants the URL to have.
const REQUIRED: [&str; 5] =
    ["Action", "Version", "DestinationRegion", "SourceRegion", "SourceSnapshotId"];

#[derive(Debug, thiserror::Error)]
enum CannotSign {
    #[error("no credentials for PresignedUrl")]
    NoCredentials,
    #[error("the endpoint {0:?} is no URL")]
    Endpoint(String),
    #[error("PresignedUrl would have {0} bytes, the limit is {MAX_BYTES}")]
    TooLong(usize),
}

/// How the hosts of Regions are found.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// `AWS_ENDPOINT_URL` or a form of it.
    pub url: Option<String>,
    /// `AWS_USE_FIPS_ENDPOINT`
    pub use_fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`
    pub use_dual_stack: bool,
}

impl Endpoints {
    fn of(config: &SdkConfig) -> Self {
        // As the client of EC2 itself looks for it.
        let key = ServiceConfigKey::builder()
            .service_id("EC2")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let of_ec2 =
            config.service_config().zip(key.ok()).and_then(|(it, key)| it.load_config(key));
        Self {
            url: of_ec2.or_else(|| config.endpoint_url().map(str::to_owned)),
            use_fips: config.use_fips().unwrap_or_default(),
            use_dual_stack: config.use_dual_stack().unwrap_or_default(),
        }
    }

    /// Where EC2 of the source's Region is. An endpoint that was given has the name of the destination in it or is
    /// for every Region; botocore puts the source in the destination's place.
    async fn source(&self, source: &Region, destination: &Region) -> Result<String, BoxError> {
        let given = self.url.as_ref().filter(|url| !url.is_empty()); // else the SDK panics
        let params = Params::builder()
            .region(source.as_str())
            .use_fips(self.use_fips)
            .use_dual_stack(self.use_dual_stack)
            .set_endpoint(given.map(|url| url.replace(destination.as_str(), source.as_str())))
            .build()?;
        let endpoint = DefaultResolver::new().resolve_endpoint(&params).await?;
        Ok(endpoint.url().to_owned())
    }
}

/// Makes `PresignedUrl` for copies to one Region, as one caller.
#[derive(Clone, Debug)]
pub(crate) struct Presigner {
    destination: Region,
    endpoints: Endpoints,
    credentials: Option<SharedCredentialsProvider>,
    clock: SharedTimeSource,
}

impl Presigner {
    /// With the credentials and the endpoints of this configuration.
    pub(crate) fn new(config: &SdkConfig, destination: &Region) -> Self {
        Self {
            destination: destination.clone(),
            endpoints: Endpoints::of(config),
            credentials: config.credentials_provider(),
            clock: config.time_source().unwrap_or_default(),
        }
    }

    /// The Region that is copied to: `DestinationRegion`.
    pub(crate) fn destination(&self) -> &Region {
        &self.destination
    }

    /// `PresignedUrl` of this copy.
    pub(crate) async fn url(
        &self,
        request: &CopySnapshot,
        deadline: Deadline,
    ) -> Result<String, Ec2Error> {
        const OPERATION: &str = "CopySnapshot";
        let signed = deadline.wait(OPERATION, self.signed(request)).await?;
        signed.map_err(|source| Ec2Error::NotSent { operation: OPERATION, source })
    }

    async fn signed(&self, request: &CopySnapshot) -> Result<String, BoxError> {
        let provider = self.credentials.as_ref().ok_or(CannotSign::NoCredentials)?;
        let credentials = provider.provide_credentials().await?;
        let endpoint = self.endpoints.source(&request.source_region, &self.destination).await?;
        url(request, &self.destination, &endpoint, &credentials, self.clock.now())
    }
}

/// The error without the URL: EC2 likes to say which value it does not take.
pub(crate) fn without_url(mut err: Ec2Error, url: Option<&str>) -> Ec2Error {
    if let (Ec2Error::Refused { message, .. }, Some(url)) = (&mut err, url) {
        *message = message.replace(url, "(PresignedUrl)");
    }
    err
}

/// The URL, from nothing but its arguments. `endpoint` is the one of the source's Region.
fn url(
    request: &CopySnapshot,
    destination: &Region,
    endpoint: &str,
    credentials: &Credentials,
    time: SystemTime,
) -> Result<String, BoxError> {
    let mut members = members(request, destination);
    let identity = Identity::from(credentials.clone());
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(EXPIRES);
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.source_region.as_str())
        .name("ec2")
        .time(time)
        .settings(settings)
        .build()?
        .into();

    // The signer's own members: a few hundred bytes and the token, of which each may become three.
    let added = 1_000 + 3 * credentials.session_token().map_or(0, str::len);
    let mut url = unsigned(endpoint, &members)?;
    if url.len() + added > MAX_BYTES {
        members.retain(|(name, _)| REQUIRED.contains(&name.as_str()));
        url = unsigned(endpoint, &members)?;
    }
    if url.len() + added > MAX_BYTES {
        return Err(CannotSign::TooLong(url.len() + added).into()); // the signer would panic
    }
    let signable = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::empty())?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    let (_, mut signers) = instructions.into_parts();
    signers.sort_by_key(|(name, _)| *name == "X-Amz-Signature"); // the last, as botocore has it
    for (name, value) in signers {
        url.push('&');
        push(&mut url, name, &value);
    }
    Ok(url)
}

/// Every member of the request, as EC2's Query API names them
/// ([Query requests](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html)), in the order in
/// which the SDK sends them, and the destination.
fn members(request: &CopySnapshot, destination: &Region) -> Vec<(String, String)> {
    let mut members = vec![
        ("Action".to_owned(), "CopySnapshot".to_owned()),
        ("Version".to_owned(), "2016-11-15".to_owned()),
        ("Description".to_owned(), request.description.clone()),
    ];
    let mut add = |name: &str, value: &str| members.push((name.to_owned(), value.to_owned()));
    if request.encrypted {
        add("Encrypted", "true");
    }
    if let Some(key) = &request.kms_key {
        add("KmsKeyId", key.as_str());
    }
    add("SourceRegion", request.source_region.as_str());
    add("SourceSnapshotId", request.source.as_str());
    add("TagSpecification.1.ResourceType", "snapshot");
    for (n, (key, value)) in (1..).zip(&request.tags) {
        add(&format!("TagSpecification.1.Tag.{n}.Key"), key);
        add(&format!("TagSpecification.1.Tag.{n}.Value"), value);
    }
    if let Some(minutes) = request.completion_duration_minutes {
        add("CompletionDurationMinutes", &minutes.to_string());
    }
    add("DestinationRegion", destination.as_str());
    members
}

fn unsigned(endpoint: &str, members: &[(String, String)]) -> Result<String, CannotSign> {
    let host = endpoint.split_once("://").map(|(_, host)| host).filter(|it| !it.is_empty());
    let host = host.ok_or_else(|| CannotSign::Endpoint(endpoint.to_owned()))?;
    let mut url = endpoint.to_owned();
    if !host.contains('/') {
        url.push('/');
    }
    for (n, (name, value)) in members.iter().enumerate() {
        url.push(if n == 0 { '?' } else { '&' });
        push(&mut url, name, value);
    }
    Ok(url)
}

fn push(url: &mut String, name: &str, value: &str) {
    encode(url, name);
    url.push('=');
    encode(url, value);
}

/// `UriEncode` of
/// [Create a signed request](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
fn encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}"); // to a String: it cannot fail
        }
    }
}

/// Who signs, and when: what a test gives instead of a configuration.
#[doc(hidden)]
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "secrets")]
pub struct Signing<'a> {
    /// `AKIA…` or `ASIA…`
    pub access_key_id: &'a str,
    /// The other half of it.
    pub secret_access_key: &'a str,
    /// Of temporary credentials.
    pub session_token: Option<&'a str>,
    /// When.
    pub at: Timestamp,
}

/// `PresignedUrl` with given credentials at a given time, to be held against botocore's.
///
/// # Errors
/// When there is no endpoint of the source's Region.
#[doc(hidden)]
pub fn presigned_url(
    request: &CopySnapshot,
    destination: &Region,
    endpoints: &Endpoints,
    by: Signing<'_>,
) -> Result<String, BoxError> {
    let mut endpoint = pin!(endpoints.source(&request.source_region, destination));
    let Poll::Ready(endpoint) = endpoint.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    else {
        return Err("the SDK's table of endpoints made us wait".into());
    };
    let token = by.session_token.map(str::to_owned);
    let credentials =
        Credentials::new(by.access_key_id, by.secret_access_key, token, None, "given");
    url(request, destination, &endpoint?, &credentials, by.at.into())
}

#[cfg(test)]
mod tests;
