//! Calls that must be refused: why, the call, and the Sid of the Deny that refuses it whatever else allows it (empty: only
//! that nothing allows it). `<name>`: see `refused::World`.

mod of_vault;

pub(super) use of_vault::OF_VAULT;

pub(super) type Case = (&'static str, &'static str, &'static str);

/// Of the member role, and of the central function's own role with `ActInOwnAccount`.
pub(super) const OF_MEMBER: [Case; 70] = [
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
    (
        "a script's result on others",
        "ec2 CreateTags ResourceId.1=<others> Tag.1.Key=snapferry:app-consistent Tag.1.Value=true",
        "",
    ),
    (
        "one more than the two tags",
        "ec2 CreateTags ResourceId.1=<ours> Tag.1.Key=snapferry:post-script Tag.1.Value=x Tag.2.Key=x Tag.2.Value=x",
        "",
    ),
    (
        "a result that was known before",
        "ec2 CreateTags ResourceId.1=<ours> Tag.1.Key=snapferry:pre-script Tag.1.Value=Success",
        "",
    ),
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
    // On instances only what is listed, and whoever may run it may not change it.
    (
        "a document of AWS that is not listed",
        "ssm SendCommand DocumentName=AWS-RunShellScript InstanceIds=[\"<instance>\"]",
        "",
    ),
    (
        "a document of the account that is not listed",
        "ssm SendCommand DocumentName=another InstanceIds=[\"<instance>\"]",
        "",
    ),
    (
        "a stranger's with a name that is listed",
        "ssm SendCommand DocumentName=arn:aws:ssm:<home>:<stranger>:document/<script> InstanceIds=[\"<instance>\"]",
        "",
    ),
    ("no document is made", "ssm CreateDocument Name=another Content={}", ""),
    ("no document is changed", "ssm UpdateDocument Name=<script> Content={}", ""),
    (
        "no document is changed",
        "ssm UpdateDocumentDefaultVersion Name=<script> DocumentVersion=1",
        "",
    ),
    (
        "no document is given away",
        "ssm ModifyDocumentPermission Name=<script> PermissionType=Share AccountIdsToAdd=[\"<stranger>\"]",
        "",
    ),
    ("nothing runs by itself", "ssm CreateAssociation Name=<script>", ""),
    ("nobody logs in", "ssm StartSession Target=<instance>", ""),
    ("parameters of commands may be secrets", "ssm ListCommands", ""),
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
