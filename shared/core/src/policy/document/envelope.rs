//! What documents come wrapped in.

use super::reader::Node;

const LIFECYCLE_POLICY: &str = "AWS::DLM::LifecyclePolicy";

/// The node that holds a policy's own members: in what `GetLifecyclePolicy` prints, in an AWS
/// template or resource, or the document itself.
pub(super) fn open<'a>(document: &Node<'a>) -> Option<Node<'a>> {
    let document = document.single();
    if !document.is_object() {
        document.want("a policy document (a JSON object)")
    } else if document.member("Type").is_some_and(|node| node.string() == Some(LIFECYCLE_POLICY)) {
        resource(&document)
    } else if document.member("Resources").is_some() {
        resource(&template(&document)?)
    } else if document.member("Policy").is_some() {
        document.members(|response| {
            response.know(&["ResponseMetadata"]); // an SDK's
            response.required("Policy", "a policy")
        })?
    } else {
        Some(document)
    }
}

/// The template's only lifecycle policy. Its other resources are no business of ours.
fn template<'a>(document: &Node<'a>) -> Option<Node<'a>> {
    let resources = document.members(|template| {
        template.know(&[
            "AWSTemplateFormatVersion",
            "Conditions",
            "Description",
            "Hooks",
            "Mappings",
            "Metadata",
            "Outputs",
            "Parameters",
            "Rules",
            "Transform",
        ]);
        template.required("Resources", "resources")
    })??;
    let is_policy = |node: &Node<'_>| {
        node.member("Type").is_some_and(|node| node.string() == Some(LIFECYCLE_POLICY))
    };
    let mut policies: Vec<_> = resources.children().into_iter().filter(is_policy).collect();
    match (policies.pop(), policies.len()) {
        (Some(policy), 0) => Some(policy),
        (last, more) => {
            let found = more + usize::from(last.is_some());
            resources.fail(format_args!("want exactly one {LIFECYCLE_POLICY}, found {found}"))
        }
    }
}

fn resource<'a>(node: &Node<'a>) -> Option<Node<'a>> {
    node.members(|resource| {
        resource.know(&["DeletionPolicy", "DependsOn", "Metadata", "Type", "UpdateReplacePolicy"]);
        if let Some(condition) = resource.get("Condition") {
            condition.fail::<()>("CloudFormation's conditions are not evaluated here");
        }
        resource.required("Properties", "the policy's properties")
    })?
}
