//! Roles as the project's templates make them, and sessions of them.

use serde_json::{Value, json};

use crate::Result;
use crate::lambda::Lambda;
use crate::local_aws::{Place, element};
use crate::stage::{EXTERNAL_ID, HOME, MEMBERS, ROLE, Stage, VAULT};

/// The name of the role of the vault's function.
pub const VAULT_ROLE: &str = "copy-shared-snapshots";
/// The name of the role that reads tags in member accounts, by default.
pub const READER: &str = "snapferry-source-reader";

/// The document with scripts that tests make in member accounts.
pub const SCRIPT_DOCUMENT: &str = "freeze-database";

/// `ScriptDocumentArns`: that document of the members, and those of AWS.
#[must_use]
pub fn script_documents() -> Value {
    let own = MEMBERS.map(|it| format!("arn:aws:ssm:*:{it}:document/{SCRIPT_DOCUMENT}"));
    let of_aws = [
        "AWSEC2-CreateVssSnapshot",
        "AWSEC2-VssInstallAndSnapshot",
        "AWSSystemsManagerSAP-CreateDLMSnapshotForSAPHANA",
    ];
    own.into_iter().chain(of_aws.map(|it| format!("arn:aws:ssm:*::document/{it}"))).collect()
}

/// The role of the vault's function.
#[must_use]
pub fn vault_role() -> String {
    format!("arn:aws:iam::{VAULT}:role/{VAULT_ROLE}")
}

/// The role that reads tags in an account.
#[must_use]
pub fn reader(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/{READER}")
}

/// Credentials of a role.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Session {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub token: String,
}

impl Session {
    /// The environment of a function that has this role.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
            ("AWS_SESSION_TOKEN", self.token.clone()),
        ]
    }
}

impl Stage {
    /// Has sessions of roles do only what the roles may, by the templates: the members' role, and the vault's, which is
    /// made here.
    ///
    /// # Errors
    /// When the templates cannot be understood.
    pub fn ask_roles(&self) -> Result<()> {
        for account in MEMBERS {
            self.put_policy(account, ROLE, &self.member_policy(account)?)?;
        }
        self.function_role(VAULT, VAULT_ROLE, &self.vault_policy()?)?;
        self.aws.post("config", &json!({"identity_policies": true})).map(drop)
    }

    /// Makes the role of a function. Lambda is to be trusted; here it is the account, whose root stands for Lambda.
    ///
    /// # Errors
    /// When it exists.
    pub fn function_role(&self, account: &str, name: &str, policy: &Value) -> Result<()> {
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole",
        }]});
        self.create_role(account, name, &trust)?;
        self.put_policy(account, name, policy)
    }

    /// Makes the role of a template that functions assume, with its name, trust and policy.
    ///
    /// # Errors
    /// When it exists, or the template cannot be understood.
    pub fn deploy_role(
        &self,
        account: &str,
        path: &str,
        logical_id: &str,
        parameters: &[(&str, Value)],
    ) -> Result<()> {
        let parameters = [parameters, &[("AWS::AccountId", json!(account))]].concat();
        let template = self.template(path, &parameters)?;
        let name = template.parameter(&format!("{logical_id}Name"))?;
        let name = name.as_str().unwrap_or_default();
        self.create_role(account, name, &template.trust(logical_id)?)?;
        self.put_policy(account, name, &template.policy(logical_id)?)
    }

    /// What the template lets the vault's function do.
    ///
    /// # Errors
    /// When the template cannot be understood.
    pub fn vault_policy(&self) -> Result<Value> {
        let parameters = [("AWS::AccountId", json!(VAULT)), ("SourceAccounts", json!(MEMBERS))];
        self.template("template.yaml", &parameters)?.policy("CopySharedSnapshotsRole")
    }

    /// What the template lets the central function do in an account.
    ///
    /// # Errors
    /// When the template cannot be understood.
    pub fn member_policy(&self, account: &str) -> Result<Value> {
        let parameters = [
            ("AWS::AccountId", json!(account)),
            ("VaultAccounts", json!([VAULT])),
            ("ScriptDocumentArns", script_documents()),
        ];
        let path = "functions/rotate-snapshots/member-role.yaml";
        self.template(path, &parameters)?.policy("MemberRole")
    }

    /// Makes the role that reads tags in an account, as its template does.
    ///
    /// # Errors
    /// When it exists, or the template cannot be understood.
    pub fn reader_role(&self, account: &str) -> Result<()> {
        let parameters =
            [("VaultRoleArn", json!(vault_role())), ("ExternalId", json!(EXTERNAL_ID))];
        let path = "functions/copy-shared-snapshots/source-reader-role.yaml";
        self.deploy_role(account, path, "SourceReaderRole", &parameters)
    }

    /// Starts `copy-shared-snapshots` in the role that [`Self::ask_roles`] has made.
    ///
    /// # Errors
    /// When it does not start.
    pub fn vault_function(&self, policies: &Value) -> Result<Lambda> {
        let mut env = self.session(&vault_role())?.env();
        env.push(("POLICIES", policies.to_string()));
        self.function_with("copy-shared-snapshots", env, 300)
    }

    /// A session of a role that trusts the vault's account.
    ///
    /// # Errors
    /// When it does not.
    pub fn session(&self, role_arn: &str) -> Result<Session> {
        self.assume(VAULT, role_arn, Some(EXTERNAL_ID))
    }

    /// A session of a role, for whoever has this access key id.
    ///
    /// # Errors
    /// When the role does not trust them, or they may not assume it.
    pub fn assume(&self, key_id: &str, role: &str, external_id: Option<&str>) -> Result<Session> {
        let mut form = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", "by-hand"),
        ];
        form.extend(external_id.map(|id| ("ExternalId", id)));
        let xml = self.aws.query(Place { account: key_id, region: HOME }, "sts", &form)?;
        let text = |name: &str| element(&xml, name).to_owned();
        Ok(Session {
            access_key_id: text("AccessKeyId"),
            secret_access_key: text("SecretAccessKey"),
            token: text("SessionToken"),
        })
    }
}
