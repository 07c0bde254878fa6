"""KMS: keys by ARN across accounts, EBS's own key, and which key EC2 may use."""

from __future__ import annotations

import re
from typing import Any

from moto.ec2.models import elastic_block_store as ebs
from moto.kms import kms_backends
from moto.kms import models as kms_m
from moto.kms import responses as kms_r
from moto.kms.exceptions import AccessDeniedException

from .policy import allows
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


def usable(caller: Caller, region: str, name: str) -> str | None:
    """ARN of a key EC2 may use for `caller`; None where it would say "Given key ID is not accessible"."""
    key = find(caller.account, region, name)
    if key is None or key.key_state != "Enabled" or key.key_usage != "ENCRYPT_DECRYPT":
        return None
    if not key.key_spec.startswith("SYMMETRIC"):
        return None
    return key.arn if may_use(caller, key, "kms:CreateGrant") else None


def may_use(caller: Caller, key: Any, action: str) -> bool:
    """A foreign key needs a key policy that says so, where knob `key_policies` is on."""
    if key.account_id == caller.account:
        return True
    if key.key_manager == "AWS":
        return False
    return not KNOBS["key_policies"] or allows(key.policy or "{}", caller, action, {})


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
        if key is not None and not may_use(current_caller(), key, "kms:DescribeKey"):
            raise AccessDeniedException(
                f"User: {current_caller().arn} is not authorized to perform: "
                f"kms:DescribeKey on resource: {key.arn}"
            )
        return describe(self)

    kms_r.KmsResponse.describe_key = describe_key
