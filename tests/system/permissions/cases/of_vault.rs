//! Calls of the vault's function that must be refused.

use super::Case;

/// Of the role of the vault's function.
pub(in crate::permissions) const OF_VAULT: [Case; 43] = [
    ("no copy of ours", "ec2 DeleteSnapshot SnapshotId=<vaults>", ""),
    (
        "no copy of ours",
        "ec2 LockSnapshot SnapshotId=<vaults> LockMode=governance LockDuration=1",
        "",
    ),
    ("copied by somebody else", "ec2 DeleteSnapshot SnapshotId=<half>", ""),
    (
        "copied by somebody else",
        "ec2 LockSnapshot SnapshotId=<half> LockMode=governance LockDuration=1",
        "",
    ),
    ("taken here, not copied", "ec2 DeleteSnapshot SnapshotId=<taken>", ""),
    (
        "taken here, not copied",
        "ec2 LockSnapshot SnapshotId=<taken> LockMode=governance LockDuration=1",
        "",
    ),
    ("AWS Backup's", "ec2 DeleteSnapshot SnapshotId=<recovery>", "NeverTouchRecoveryPoints"),
    (
        "AWS Backup's",
        "ec2 LockSnapshot SnapshotId=<recovery> LockMode=governance LockDuration=1",
        "NeverTouchRecoveryPoints",
    ),
    (
        "of no source account",
        "ec2 CopySnapshot SourceRegion=<home> SourceSnapshotId=<theirs> <tagged>",
        "",
    ),
    (
        "the vault's own",
        "ec2 CopySnapshot SourceRegion=<home> SourceSnapshotId=<vaults> <tagged>",
        "",
    ),
    (
        "nobody could expire it",
        "ec2 CopySnapshot SourceRegion=<home> SourceSnapshotId=<shared>",
        "",
    ),
    (
        "nor with another tag",
        "ec2 CopySnapshot SourceRegion=<home> SourceSnapshotId=<shared> TagSpecification.1.ResourceType=snapshot \
         TagSpecification.1.Tag.1.Key=Name TagSpecification.1.Tag.1.Value=x",
        "",
    ),
    ("it copies, and takes none", "ec2 CreateSnapshot VolumeId=<vault-volume> <tagged>", ""),
    (
        "no copy leaves the vault",
        "<share> SnapshotId=<copy> OperationType=add UserId.1=<stranger>",
        "",
    ),
    (
        "no copy leaves the vault",
        "<share> SnapshotId=<copy> OperationType=add UserId.1=<member>",
        "",
    ),
    ("public", "<share> SnapshotId=<copy> OperationType=add UserGroup.1=all", ""),
    (
        "no shares are its business",
        "<share> SnapshotId=<copy> OperationType=remove UserId.1=<member>",
        "",
    ),
    (
        "our tag on what exists",
        "ec2 CreateTags ResourceId.1=<vaults> Tag.1.Key=snapferry:policy Tag.1.Value=x",
        "",
    ),
    (
        "a copy is made, not declared",
        "ec2 CreateTags ResourceId.1=<taken> Tag.1.Key=snapferry:source-snapshot Tag.1.Value=x",
        "",
    ),
    (
        "no tag is changed",
        "ec2 CreateTags ResourceId.1=<copy> Tag.1.Key=snapferry:expires-at Tag.1.Value=x",
        "",
    ),
    ("no tag is taken away", "ec2 DeleteTags ResourceId.1=<copy> Tag.1.Key=snapferry:policy", ""),
    ("no lock is ended", "ec2 UnlockSnapshot SnapshotId=<copy>", ""),
    ("copies are not archived", "ec2 ModifySnapshotTier SnapshotId=<copy> StorageTier=archive", ""),
    (
        "nothing is brought back",
        "ec2 RestoreSnapshotTier SnapshotId=<copy> TemporaryRestoreDays=1",
        "",
    ),
    (
        "it costs by the hour",
        "ec2 EnableFastSnapshotRestores SourceSnapshotId.1=<copy> AvailabilityZone.1=<zone>",
        "",
    ),
    ("nothing is restored", "ec2 CreateVolume SnapshotId=<copy> AvailabilityZone=<zone>", ""),
    ("settings are read only", "ec2 DisableEbsEncryptionByDefault", ""),
    ("not via EC2", "kms Decrypt KeyId=<vault-key> CiphertextBlob=eA==", ""),
    (
        "not via Parameter Store",
        "kms Decrypt KeyId=<policy-key> CiphertextBlob=eA== EncryptionContext=<of-parameter>",
        "",
    ),
    ("not via EC2", "kms GenerateDataKey KeyId=<vault-key> KeySpec=AES_256", ""),
    (
        "not for an AWS resource",
        "kms CreateGrant KeyId=<vault-key> GranteePrincipal=<stranger> Operations=[\"Decrypt\"]",
        "",
    ),
    ("keys are used, not kept", "kms DisableKey KeyId=<vault-key>", ""),
    ("keys are used, not kept", "kms ScheduleKeyDeletion KeyId=<vault-key>", ""),
    (
        "keys are used, not kept",
        "kms PutKeyPolicy KeyId=<vault-key> PolicyName=default Policy={}",
        "",
    ),
    ("another role", "sts AssumeRole RoleArn=<admin> RoleSessionName=xx", ""),
    (
        "the central function's",
        "sts AssumeRole RoleArn=<member-role> RoleSessionName=xx ExternalId=<secret>",
        "",
    ),
    ("of no source account", "sts AssumeRole RoleArn=<stranger-reader> RoleSessionName=xx", ""),
    ("another path", "ssm GetParametersByPath Path=/other/", ""),
    ("the stack beside it", "ssm GetParametersByPath Path=/snapferry/local-2/policies/", ""),
    (
        "another key's parameter",
        "ssm GetParametersByPath Path=/snapferry/local/policies/elsewhere/ WithDecryption=true",
        "",
    ),
    (
        "policies are read only",
        "ssm PutParameter Name=/snapferry/local/policies/x Value=x Type=String",
        "",
    ),
    ("nothing of IAM", "iam PutRolePolicy RoleName=bystander PolicyName=x PolicyDocument={}", ""),
    ("nothing of IAM", "iam CreateRole RoleName=x AssumeRolePolicyDocument={}", ""),
];
