"""What `sam package` and CloudFormation's Serverless transform make of a template, offline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

Json = dict[str, Any]


def package(template: Json, bucket: str, folder: Path) -> dict[str, Path]:
    """Points local code and definitions to the bucket; answers the file behind each key."""
    files = {}
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            key = resource["Metadata"]["BuildProperties"]["Binary"]
            properties["CodeUri"] = {"Bucket": bucket, "Key": key}
            files[key] = Path(key)
        elif isinstance(key := properties.get("DefinitionUri"), str):
            properties["DefinitionUri"] = {"Bucket": bucket, "Key": key}
            files[key] = folder / key
    return files


def transform(path: str, bucket: str, parameters: dict[str, str]) -> tuple[Json, dict[str, Path]]:
    """The template without its transform, and the files that it wants in the bucket."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    template = yaml_parse(Path(path).read_text())
    files = package(template, bucket, Path(path).parent)
    if "Transform" in template:
        template = Translator({}, Parser()).translate(template, parameters)
        template.pop("Transform", None)
    return template, files
