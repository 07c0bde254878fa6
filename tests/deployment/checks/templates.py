"""The templates of the project, found wherever they are, as they are written and as the SAM transform makes them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import yaml
from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

SUFFIXES = (".yaml", ".yml", ".template")
REGION = "eu-central-1"
ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"

logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)  # it has nobody to send its metrics to


@dataclass(frozen=True)
class Template:
    """A template, with intrinsic functions in their long form."""

    name: str
    path: Path
    text: str
    data: dict[str, Any]

    @property
    def is_sam(self) -> bool:
        return "Transform" in self.data

    def transformed(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """As CloudFormation gets it: `sam validate` does the same. Nothing is asked for over the network."""
        if not self.is_sam:
            return self.data
        fresh = yaml_parse(self.text)
        validator = SamTemplateValidator(fresh, None, region=REGION, parameter_overrides=parameters)
        return yaml.safe_load(validator.get_translated_template_if_valid())


def read(top: Path, path: Path) -> Template:
    text = path.read_text(encoding="utf-8")
    return Template(str(path.relative_to(top)), path, text, yaml_parse(text))


def find(top: Path) -> list[Template]:
    """Every file that says which version of templates it has."""
    return [read(top, path) for path in sorted(_candidates(top)) if _is_template(path)]


def _candidates(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "target"]
        yield from (Path(folder, name) for name in files if name.endswith(SUFFIXES))


def _is_template(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    return any(line.startswith("AWSTemplateFormatVersion:") for line in lines)
