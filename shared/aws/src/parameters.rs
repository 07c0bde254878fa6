//! Policy documents in Parameter Store.

use aws_sdk_ssm::Client;
use aws_sdk_ssm::operation::get_parameters_by_path::GetParametersByPathOutput;
use aws_sdk_ssm::types::Parameter;
use snapferry_core::documents::{Content, Raw, Source};
use snapferry_core::ec2::Ec2Error;

use crate::provider::Aws;

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
    let paginator = Client::new(aws.own_config())
        .get_parameters_by_path()
        .path(path)
        .recursive(true)
        .with_decryption(true)
        .into_paginator()
        .page_size(10);
    let call = paginator.send().collect::<Result<Vec<_>, _>>();
    let pages = aws.deadline().answer(OPERATION, call).await?;
    let raw = |parameter: &Parameter| Raw {
        default_name: parameter
            .name()
            .and_then(|name| name.rsplit('/').next())
            .unwrap_or("default")
            .to_owned(),
        content: Content::Text(parameter.value().unwrap_or_default().to_owned()),
    };
    Ok(pages.iter().flat_map(GetParametersByPathOutput::parameters).map(raw).collect())
}
