//! Credentials: the function's own, and roles in member accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::config::retry::{RetryPartition, TokenBucket};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::{Provider as TlsProvider, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use snapferry_core::documents::InvalidConfiguration;
use snapferry_core::ec2::{Access, Ec2Error, Ec2Provider};
use snapferry_core::ids::{AccountId, Region, RoleArn, UnitId};
use tokio::sync::{Mutex, OnceCell};

use crate::bounded::Bounded;
use crate::convert;
use crate::deadline::Deadline;
use crate::ec2::AwsEc2;
use crate::in_time::InTime;
use crate::organization;
use crate::presign::Presigner;
use crate::whole::Whole;

/// AWS for one invocation: assumes every role once.
#[derive(Debug)]
pub struct Aws {
    config: SdkConfig,
    home: Region,
    deadline: Deadline,
    /// The function's request id, so that CloudTrail tells which invocation did it.
    session: String,
    presigned_url: bool,
    identity: OnceCell<Identity>,
    roles: Mutex<BTreeMap<Access, Arc<OnceCell<SharedCredentialsProvider>>>>,
}

#[derive(Clone, Debug)]
struct Identity {
    account: AccountId,
    arn: String,
}

impl Aws {
    /// The SDK's configuration from the environment, `AWS_ENDPOINT_URL` and its per-service forms included. To be made
    /// once and used for every invocation: connections are kept, and root certificates are read only once.
    pub async fn config() -> SdkConfig {
        let http = HttpClientBuilder::new()
            .tls_provider(TlsProvider::Rustls(CryptoMode::Ring))
            .build_https();
        aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(retries())
            .timeout_config(time_outs())
            .load()
            .await
    }

    /// For one invocation; `presigned_url`: whether copies of encrypted snapshots carry one.
    ///
    /// # Errors
    /// When the environment names no Region.
    pub fn new(
        config: SdkConfig,
        deadline: Deadline,
        request_id: &str,
        presigned_url: bool,
    ) -> Result<Self, InvalidConfiguration> {
        let found = config.region().map(ToString::to_string).unwrap_or_default();
        let home = found.parse().map_err(|_| InvalidConfiguration {
            variable: "AWS_REGION",
            want: "a Region such as eu-central-1",
            found: format!("{found:?}"),
        })?;
        Ok(Self {
            config,
            home,
            deadline,
            session: session_name(request_id),
            presigned_url,
            identity: OnceCell::new(),
            roles: Mutex::new(BTreeMap::new()),
        })
    }

    /// The configuration of the function's own credentials.
    pub(crate) fn own_config(&self) -> &SdkConfig {
        &self.config
    }

    /// When the invocation ends.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    fn sts(&self) -> aws_sdk_sts::Client {
        let config = aws_sdk_sts::config::Builder::from(&self.config)
            .retry_classifier(InTime(self.deadline))
            .interceptor(Bounded)
            .interceptor(Whole);
        aws_sdk_sts::Client::from_conf(config.build())
    }

    async fn identity(&self) -> Result<&Identity, Ec2Error> {
        const OPERATION: &str = "GetCallerIdentity";
        self.identity
            .get_or_try_init(|| async {
                let call = self.sts().get_caller_identity().send();
                let answer = self.deadline.answer(OPERATION, call).await?;
                Ok(Identity {
                    account: convert::member(OPERATION, "the account", answer.account())?,
                    arn: answer.arn().unwrap_or("an unknown principal").to_owned(),
                })
            })
            .await
    }

    /// `AssumeRole`, once per role and run.
    async fn assume(
        &self,
        role: &RoleArn,
        access: &Access,
    ) -> Result<SharedCredentialsProvider, Ec2Error> {
        let cell = self.roles.lock().await.entry(access.clone()).or_default().clone();
        cell.get_or_try_init(|| async {
            match self.assume_role(role, access).await {
                Ok(credentials) => Ok(SharedCredentialsProvider::new(credentials)),
                Err(source) => Err(Ec2Error::AssumeRole {
                    role: role.clone(),
                    account: role.account(),
                    caller: match self.identity().await {
                        Ok(identity) => identity.arn.clone(),
                        Err(_) => "a principal that GetCallerIdentity does not tell".to_owned(),
                    },
                    external_id: access.external_id.is_some(),
                    source: Box::new(source),
                }),
            }
        })
        .await
        .cloned()
    }

    async fn assume_role(&self, role: &RoleArn, access: &Access) -> Result<Credentials, Ec2Error> {
        const OPERATION: &str = "AssumeRole";
        let call = self.sts()
            .assume_role()
            .role_arn(role.as_str())
            .role_session_name(&self.session)
            .set_external_id(access.external_id.as_ref().map(|id| id.0.clone()))
            .duration_seconds(3600) // the most that a chained role gets, and four times a Lambda's life
            .send();
        let answer = self.deadline.answer(OPERATION, call).await?;
        let found = answer
            .credentials()
            .ok_or_else(|| convert::malformed(OPERATION, "no credentials for", role.as_str()))?;
        // What is missing is empty here, and would only show as a refusal of every later call.
        let whole = |what, found| convert::text(OPERATION, what, Some(found));
        Ok(Credentials::new(
            whole("credentials with the access key id", found.access_key_id())?,
            whole("credentials with the secret", found.secret_access_key())?,
            Some(whole("credentials with the session token", found.session_token())?),
            None, // the run ends before they do
            "AssumeRole",
        ))
    }
}

/// Of every call; creating ones take less ([`only_refused`](crate::only_refused)).
pub(crate) fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(5)
}

/// Of every call; the end of the invocation comes on top.
fn time_outs() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(20))
        .operation_timeout(Duration::from_mins(1))
        .build()
}

/// What STS takes: 2 to 64 characters of `[\w+=,.@-]`
/// ([AssumeRole](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html)).
fn session_name(request_id: &str) -> String {
    let known = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    format!("snapferry-{request_id}")
        .chars()
        .map(|c| if known(c) { c } else { '-' })
        .take(64)
        .collect()
}

impl Ec2Provider for Aws {
    type Ec2 = AwsEc2;

    fn home(&self) -> Region {
        self.home.clone()
    }

    async fn account(&self) -> Result<AccountId, Ec2Error> {
        self.identity().await.map(|identity| identity.account.clone())
    }

    async fn caller(&self) -> Result<String, Ec2Error> {
        self.identity().await.map(|identity| identity.arn.clone())
    }

    async fn accounts_in(&self, unit: &UnitId) -> Result<BTreeSet<AccountId>, Ec2Error> {
        organization::accounts(self, unit).await
    }

    async fn units_in(&self, unit: &UnitId) -> Result<BTreeSet<UnitId>, Ec2Error> {
        organization::units(self, unit).await
    }

    async fn connect(&self, access: &Access, region: &Region) -> Result<AwsEc2, Ec2Error> {
        let mut config =
            self.config.clone().into_builder().region(aws_config::Region::new(region.to_string()));
        if let Some(role) = &access.role_arn {
            config = config.credentials_provider(self.assume(role, access).await?);
        }
        let config = config.build();
        // EC2 counts calls by account and Region. The SDK's own allowance of retries is one for the Region and the
        // life of the process: the throttling of one account, or of a run before, would cost another its retries.
        // Throttling costs nothing of it: a scope with thousands of snapshots due is throttled all the time, is to go on
        // as fast as EC2 lets it, and has no more than a few calls under way. What breaks still does.
        let allowance = TokenBucket::builder().throttling_retry_cost(0).build();
        let ec2 = aws_sdk_ec2::config::Builder::from(&config)
            .retry_partition(RetryPartition::custom("scope").token_bucket(allowance).build())
            .retry_classifier(InTime(self.deadline))
            .interceptor(Bounded)
            .interceptor(Whole)
            .build();
        let kms = aws_sdk_kms::config::Builder::from(&config)
            .retry_classifier(InTime(self.deadline))
            .interceptor(Bounded)
            .build();
        let allowance = TokenBucket::builder().throttling_retry_cost(0).build();
        let ssm = aws_sdk_ssm::config::Builder::from(&config)
            .retry_partition(RetryPartition::custom("commands").token_bucket(allowance).build())
            .retry_classifier(InTime(self.deadline))
            .interceptor(Bounded)
            .build();
        Ok(AwsEc2 {
            ec2: aws_sdk_ec2::Client::from_conf(ec2),
            kms: aws_sdk_kms::Client::from_conf(kms),
            ssm: aws_sdk_ssm::Client::from_conf(ssm),
            deadline: self.deadline,
            presigner: self.presigned_url.then(|| Presigner::new(&config, region)),
        })
    }
}

#[cfg(test)]
mod tests;
