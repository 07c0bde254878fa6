"""KMS: keys by ARN across accounts, EBS's own key, and which key EC2 may use."""

from __future__ import annotations

import re
from typing import Any

from moto.ec2.models import elastic_block_store as ebs
from moto.kms import kms_backends
from moto.kms import models as kms_m
from moto.kms import responses as kms_r

from .errors import AwsError
from .policy import allows
from .roles import denial, may
from .world import KNOBS, Caller, backend, current_caller

ARN = re.compile(r"arn:aws[\w-]*:kms:([\w-]+):(\d{12}):(key|alias)/(.+)")
# What KMS lets another account do, named by the key's ARN.
CROSS_ACCOUNT = {
    "DescribeKey",
    "CreateGrant",
    "ListGrants",
    "GetPublicKey",
    "Encrypt",
    "Decrypt",
    "ReEncrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "Sign",
    "Verify",
}

# What EC2 does with keys in the name of whoever copies a snapshot.
READ = ("kms:CreateGrant", "kms:Decrypt", "kms:ReEncryptFrom")  # with the source's
WRITE = ("kms:CreateGrant", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptTo")  # with the copy's


def find(account: str, region: str, name: str) -> Any:
    """moto's key for a key id, an alias or an ARN of either; None if there is none."""
    match = ARN.fullmatch(name)
    if match:
        if match.group(1) != region:
            return None
        account = match.group(2)
        name = f"alias/{match.group(4)}" if match.group(3) == "alias" else match.group(4)
    if name == "alias/aws/ebs":
        ebs_key(account, region)
    state = kms_backends[account][region]
    if name.startswith("alias/"):
        name = state.get_key_id_from_alias(name) or ""
    return state.keys.get(name)


def usable(caller: Caller, region: str, name: str, actions: tuple[str, ...] = WRITE) -> str | None:
    """ARN of a key EC2 may use for `caller`; None where it would say "Given key ID is not accessible"."""
    key = find(caller.account, region, name)
    if key is None or key.key_state != "Enabled" or key.key_usage != "ENCRYPT_DECRYPT":
        return None
    if not key.key_spec.startswith("SYMMETRIC"):
        return None
    context = {"kms:ViaService": f"ec2.{region}.amazonaws.com", "kms:GrantIsForAWSResource": "true"}
    return None if any(denied_by(caller, key, action, context) for action in actions) else key.arn


def denied_by(caller: Caller, key: Any, action: str, context: dict[str, str]) -> str | None:
    """The kind of policy that does not let `caller`: "identity", "resource", or None: it may.

    The policies of a role count where knob `identity_policies` is on, and those of foreign keys where
    `key_policies` is. A key's policy leaves its own account to IAM, as the one that KMS gives to every key.
    """
    ours = key.account_id == caller.account
    if key.key_manager == "AWS":
        return None if ours else "resource"
    context = {"kms:CallerAccount": caller.account, "aws:ResourceAccount": key.account_id, **context}
    if not may(caller, action, key.arn, context):
        return "identity"
    if ours or not KNOBS["key_policies"] or allows(key.policy or "{}", caller, action, context):
        return None
    return "resource"


def aws_managed(arn: str | None) -> bool:
    match = ARN.fullmatch(arn or "")
    if not match:
        return False
    key = kms_backends[match.group(2)][match.group(1)].keys.get(match.group(4))
    return key is not None and key.key_manager == "AWS"


def default_key(account: str, region: str) -> str:
    """The key of default encryption: `aws/ebs`, made on first use, unless another was chosen."""
    return backend(account, region).default_kms_key_id or ebs_key(account, region)


def ebs_key(account: str, region: str) -> str:
    """`aws/ebs`, whichever key was chosen for default encryption."""
    state = backend(account, region)
    chosen = state.default_kms_key_id
    arn = state._create_default_encryption_key()  # makes it the chosen one, too
    state.default_kms_key_id = chosen or arn
    return arn


def install() -> None:
    create = ebs.EBSBackend._create_default_encryption_key

    def create_default_key(self: Any) -> str:
        arn = create(self)
        kms_backends[self.account_id][self.region_name].keys[arn.rsplit("/", 1)[1]].key_manager = "AWS"
        return arn

    ebs.EBSBackend._create_default_encryption_key = create_default_key

    create_key = kms_m.KmsBackend.create_key

    def create_with_usage(self: Any, *args: Any, **kwargs: Any) -> Any:
        key = create_key(self, *args, **kwargs)
        key.key_usage = key.key_usage or "ENCRYPT_DECRYPT"  # moto leaves the default out
        return key

    kms_m.KmsBackend.create_key = create_with_usage

    def with_key_id(name: str) -> None:
        plain = getattr(kms_m.KmsBackend, name)

        def method(self: Any, key_id: str, *args: Any, **kwargs: Any) -> Any:
            return plain(self, self.get_key_id(key_id), *args, **kwargs)

        setattr(kms_m.KmsBackend, name, method)

    for name in ("disable_key", "enable_key", "cancel_key_deletion", "schedule_key_deletion"):
        with_key_id(name)  # moto knows these by id only

    def kms_backend(self: Any) -> Any:
        match = ARN.fullmatch(self._get_param("KeyId") or "")
        if match and match.group(1) == self.region and self._get_action() in CROSS_ACCOUNT:
            return kms_backends[match.group(2)][self.region]
        return kms_backends[self.current_account][self.region]

    kms_r.KmsResponse.kms_backend = property(kms_backend)
    describe = kms_r.KmsResponse.describe_key

    def describe_key(self: Any) -> str:
        name = self._get_param("KeyId") or ""
        key = find(self.current_account, self.region, name)
        caller, action = current_caller(), "kms:DescribeKey"
        kind = denied_by(caller, key, action, {}) if key is not None else None
        if kind:
            raise AwsError("AccessDeniedException", denial(caller, action, key.arn, kind))
        return describe(self)

    kms_r.KmsResponse.describe_key = describe_key
