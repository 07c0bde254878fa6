//! Policy documents in Parameter Store.

use std::collections::BTreeSet;

use aws_sdk_ssm::Client;
use snapferry_core::documents::{Content, Raw, Source};
use snapferry_core::ec2::Ec2Error;

use crate::bounded::Bounded;
use crate::convert;
use crate::in_time::InTime;
use crate::pages::Pages;
use crate::provider::{Aws, retries};

/// The configured documents: those in the variable, or every parameter below the path, `SecureString` included.
///
/// # Errors
/// When Parameter Store cannot be read: then there are no documents at all, rather than some.
pub(crate) async fn documents(aws: &Aws, source: &Source) -> Result<Vec<Raw>, Ec2Error> {
    const OPERATION: &str = "GetParametersByPath";
    let path = match source {
        Source::Inline(values) => {
            let raw = |value: &serde_json::Value| Raw {
                default_name: String::new(),
                content: Content::Json(value.clone()),
            };
            return Ok(values.iter().map(raw).collect());
        }
        Source::ParameterStore(path) => path,
    };
    let config = aws_sdk_ssm::config::Builder::from(aws.own_config())
        // Every run of a fleet reads them, all at the same moment.
        .retry_config(retries().with_max_attempts(10))
        .retry_classifier(InTime(aws.deadline()))
        .interceptor(Bounded)
        .build();
    let call = Client::from_conf(config)
        .get_parameters_by_path()
        .path(path)
        .recursive(true)
        .with_decryption(true)
        .into_paginator()
        .page_size(10)
        .stop_on_duplicate_token(false);
    let (mut read, mut pages) = (call.send(), Pages::default());
    let (mut raw, mut names) = (Vec::new(), BTreeSet::new());
    while let Some(page) = aws.deadline().answer(OPERATION, read.try_next()).await? {
        pages.turn(OPERATION, page.next_token())?;
        for parameter in convert::list(OPERATION, "Parameters", page.parameters)? {
            let name = convert::text(OPERATION, "a parameter with the name", parameter.name())?;
            let value = parameter.value().ok_or_else(|| {
                convert::malformed(OPERATION, "no value of the parameter", name.as_str())
            })?;
            let default_name = name.rsplit('/').next().unwrap_or_default().to_owned();
            if names.insert(name) {
                // What two pages have is one document.
                raw.push(Raw { default_name, content: Content::Text(value.to_owned()) });
            }
        }
    }
    Ok(raw)
}
