//! Calls that must be refused: why, the call, and the Sid of the Deny that refuses it whatever else allows it (empty: only
//! that nothing allows it). `<name>`: see `refused::World`.

pub(super) type Case = (&'static str, &'static str, &'static str);

/// Of the member role, and of the central function's own role with `ActInOwnAccount`.
pub(super) const OF_MEMBER: [Case; 57] = [
    // What is not ours.
    ("not ours", "ec2 DeleteSnapshot SnapshotId=<others>", ""),
    ("not ours", "ec2 LockSnapshot SnapshotId=<others> LockMode=governance LockDuration=1", ""),
    ("not ours", "ec2 ModifySnapshotTier SnapshotId=<others> StorageTier=archive", ""),
    ("not ours", "<share> SnapshotId=<others> OperationType=add UserId.1=<vault>", ""),
    ("not ours", "<share> SnapshotId=<others> OperationType=remove UserId.1=<vault>", ""),
    (
        "not ours",
        "ec2 EnableFastSnapshotRestores SourceSnapshotId.1=<others> AvailabilityZone.1=<zone>",
        "",
    ),
    (
        "not ours",
        "ec2 DisableFastSnapshotRestores SourceSnapshotId.1=<others> AvailabilityZone.1=<zone>",
        "",
    ),
    (
        "not ours",
        "ec2 CreateTags ResourceId.1=<others> Tag.1.Key=snapferry:shared-with Tag.1.Value=x",
        "",
    ),
    (
        "not this account's",
        "ec2 CopySnapshot SourceRegion=<home> SourceSnapshotId=<theirs> <tagged>",
        "",
    ),
    // What others keep, even with our tag on it.
    ("AWS Backup's", "ec2 DeleteSnapshot SnapshotId=<backup>", "NeverTouchRecoveryPoints"),
    (
        "AWS Backup's",
        "ec2 LockSnapshot SnapshotId=<backup> LockMode=governance LockDuration=1",
        "NeverTouchRecoveryPoints",
    ),
    (
        "AWS Backup's",
        "ec2 ModifySnapshotTier SnapshotId=<backup> StorageTier=archive",
        "NeverTouchRecoveryPoints",
    ),
    (
        "Lifecycle Manager's",
        "ec2 DeleteSnapshot SnapshotId=<dlm>",
        "NeverTouchLifecycleManagerSnapshots",
    ),
    (
        "Lifecycle Manager's",
        "ec2 LockSnapshot SnapshotId=<dlm> LockMode=governance LockDuration=1",
        "NeverTouchLifecycleManagerSnapshots",
    ),
    (
        "Lifecycle Manager's",
        "ec2 ModifySnapshotTier SnapshotId=<dlm> StorageTier=archive",
        "NeverTouchLifecycleManagerSnapshots",
    ),
    // Giving data away.
    (
        "with a stranger",
        "<share> SnapshotId=<ours> OperationType=add UserId.1=<stranger>",
        "NeverShareWithOthers",
    ),
    (
        "with the vault and a stranger",
        "<share> SnapshotId=<ours> OperationType=add UserId.1=<vault> UserId.2=<stranger>",
        "NeverShareWithOthers",
    ),
    ("public", "<share> SnapshotId=<ours> OperationType=add UserGroup.1=all", "NeverPublic"),
    (
        "a stranger's share",
        "<share> SnapshotId=<ours> OperationType=remove UserId.1=<stranger>",
        "",
    ),
    (
        "all shares at once",
        "ec2 ResetSnapshotAttribute SnapshotId=<ours> Attribute=createVolumePermission",
        "",
    ),
    // Tags are what all of this hangs on.
    (
        "our tag on what exists",
        "ec2 CreateTags ResourceId.1=<others> Tag.1.Key=snapferry:policy Tag.1.Value=x",
        "",
    ),
    (
        "another policy's",
        "ec2 CreateTags ResourceId.1=<ours> Tag.1.Key=snapferry:policy Tag.1.Value=x",
        "",
    ),
    (
        "one more than the one tag",
        "ec2 CreateTags ResourceId.1=<ours> Tag.1.Key=snapferry:shared-with Tag.1.Value=x Tag.2.Key=x Tag.2.Value=x",
        "",
    ),
    ("no key is no good key", "ec2 CreateTags ResourceId.1=<ours>", ""),
    (
        "a volume's tag",
        "ec2 CreateTags ResourceId.1=<volume> Tag.1.Key=snapferry:shared-with Tag.1.Value=x",
        "",
    ),
    ("no tag is taken away", "ec2 DeleteTags ResourceId.1=<ours> Tag.1.Key=snapferry:policy", ""),
    ("nor from others", "ec2 DeleteTags ResourceId.1=<backup> Tag.1.Key=Name", ""),
    ("nobody could rotate it", "ec2 CreateSnapshot VolumeId=<volume>", ""),
    (
        "nor with another tag",
        "ec2 CreateSnapshot VolumeId=<volume> TagSpecification.1.ResourceType=snapshot \
         TagSpecification.1.Tag.1.Key=Name TagSpecification.1.Tag.1.Value=x",
        "",
    ),
    (
        "nobody could rotate them",
        "ec2 CreateSnapshots InstanceSpecification.InstanceId=<instance>",
        "",
    ),
    ("nobody could expire it", "ec2 CopySnapshot SourceRegion=<home> SourceSnapshotId=<ours>", ""),
    // No way back, and no way out.
    ("no lock is ended", "ec2 UnlockSnapshot SnapshotId=<ours>", ""),
    (
        "nothing is brought back",
        "ec2 RestoreSnapshotTier SnapshotId=<ours> TemporaryRestoreDays=1",
        "",
    ),
    ("volumes are read only", "ec2 DeleteVolume VolumeId=<volume>", ""),
    ("nothing is restored", "ec2 CreateVolume SnapshotId=<ours> AvailabilityZone=<zone>", ""),
    ("instances are read only", "ec2 StopInstances InstanceId.1=<instance>", ""),
    ("instances are read only", "ec2 TerminateInstances InstanceId.1=<instance>", ""),
    ("settings are read only", "ec2 DisableEbsEncryptionByDefault", ""),
    ("settings are read only", "ec2 ModifyEbsDefaultKmsKeyId KmsKeyId=<key>", ""),
    // Keys only through EC2, and only for what EC2 does.
    ("not via EC2", "kms Decrypt KeyId=<key> CiphertextBlob=eA==", ""),
    ("not via EC2", "kms GenerateDataKey KeyId=<key> KeySpec=AES_256", ""),
    ("not via EC2", "kms GenerateDataKeyWithoutPlaintext KeyId=<key> KeySpec=AES_256", ""),
    (
        "not for an AWS resource",
        "kms CreateGrant KeyId=<key> GranteePrincipal=<stranger> Operations=[\"Decrypt\"]",
        "",
    ),
    ("keys are used, not kept", "kms DisableKey KeyId=<key>", ""),
    ("keys are used, not kept", "kms ScheduleKeyDeletion KeyId=<key>", ""),
    ("keys are used, not kept", "kms PutKeyPolicy KeyId=<key> PolicyName=default Policy={}", ""),
    // No further than this role.
    ("another role", "sts AssumeRole RoleArn=<admin> RoleSessionName=xx", ""),
    (
        "a role with another name in the vault",
        "sts AssumeRole RoleArn=<vault-admin> RoleSessionName=xx",
        "",
    ),
    ("another path", "ssm GetParametersByPath Path=/other/", ""),
    ("the stack beside it", "ssm GetParametersByPath Path=/snapferry/local-2/policies/", ""),
    ("by name", "ssm GetParameter Name=/snapferry/local/policies/x", ""),
    (
        "policies are read only",
        "ssm PutParameter Name=/snapferry/local/policies/x Value=x Type=String",
        "",
    ),
    ("policies are read only", "ssm DeleteParameter Name=/snapferry/local/policies/x", ""),
    ("nothing of IAM", "iam CreateRole RoleName=x AssumeRolePolicyDocument={}", ""),
    ("nothing of IAM", "iam PutRolePolicy RoleName=bystander PolicyName=x PolicyDocument={}", ""),
    ("nothing of IAM", "iam AttachRolePolicy RoleName=bystander PolicyArn=x", ""),
    ("nothing of IAM", "iam UpdateAssumeRolePolicy RoleName=bystander PolicyDocument={}", ""),
];

/// Of the role of the vault's function.
pub(super) const OF_VAULT: [Case; 43] = [
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

/// Of the central function's own role.
pub(super) const OF_CENTRAL: [Case; 14] = [
    ("only in the member role", "ec2 DescribeSnapshots", ""),
    ("only in the member role", "ec2 CreateSnapshot VolumeId=<vault-volume> <tagged>", ""),
    ("only in the member role", "ec2 DeleteSnapshot SnapshotId=<copy>", ""),
    (
        "only in the member role",
        "ec2 LockSnapshot SnapshotId=<copy> LockMode=governance LockDuration=1",
        "",
    ),
    (
        "only in the member role",
        "<share> SnapshotId=<copy> OperationType=add UserId.1=<member>",
        "",
    ),
    ("another role", "sts AssumeRole RoleArn=<admin> RoleSessionName=xx", ""),
    (
        "a role with another name in the vault",
        "sts AssumeRole RoleArn=<vault-admin> RoleSessionName=xx",
        "",
    ),
    ("another path", "ssm GetParametersByPath Path=/other/", ""),
    ("the stack beside it", "ssm GetParametersByPath Path=/snapferry/local-2/policies/", ""),
    (
        "another key's parameter",
        "ssm GetParametersByPath Path=/snapferry/local/policies/elsewhere/ WithDecryption=true",
        "",
    ),
    (
        "not via Parameter Store",
        "kms Decrypt KeyId=<policy-key> CiphertextBlob=eA== EncryptionContext=<of-parameter>",
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

/// Of the roles that only look, in the vault and in a source account: `<a>` is a snapshot there.
pub(super) const OF_READERS: [Case; 12] = [
    ("it only looks at snapshots", "ec2 DescribeVolumes", ""),
    ("it only looks at snapshots", "ec2 DescribeInstances", ""),
    (
        "it only looks",
        "ec2 DescribeSnapshotAttribute SnapshotId=<a> Attribute=createVolumePermission",
        "",
    ),
    ("it only looks", "ec2 DeleteSnapshot SnapshotId=<a>", ""),
    ("it only looks", "ec2 CopySnapshot SourceRegion=<home> SourceSnapshotId=<a> <tagged>", ""),
    ("it only looks", "<share> SnapshotId=<a> OperationType=add UserId.1=<stranger>", ""),
    ("it only looks", "ec2 CreateTags ResourceId.1=<a> Tag.1.Key=x Tag.1.Value=x", ""),
    ("it only looks", "ec2 LockSnapshot SnapshotId=<a> LockMode=governance LockDuration=1", ""),
    ("it only looks", "ec2 UnlockSnapshot SnapshotId=<a>", ""),
    ("it only looks", "ec2 CreateVolume SnapshotId=<a> AvailabilityZone=<zone>", ""),
    ("another role", "sts AssumeRole RoleArn=<admin> RoleSessionName=xx", ""),
    ("nothing of IAM", "iam CreateRole RoleName=x AssumeRolePolicyDocument={}", ""),
];
