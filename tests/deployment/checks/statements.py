"""Every statement of every policy document has a Sid, unique in its document, and a comment directly above it."""

from __future__ import annotations

from typing import Iterator

import yaml

from .report import Report, counted
from .templates import Template


def statements(templates: list[Template], report: Report) -> None:
    for template in templates:
        n_statements = n_documents = 0
        lines = template.text.splitlines()
        for document in _documents(yaml.compose(template.text)):
            n_documents += 1
            sids: set[str] = set()
            for first_line, statement in document:
                n_statements += 1
                where = f"{template.name}:{first_line + 1}"
                sid = _scalar(statement, "Sid")
                if not sid:
                    report.finding(where, "a statement without Sid")
                elif sid in sids:
                    report.finding(where, f"the Sid {sid} is there twice in one document")
                sids.add(sid)
                if not lines[first_line - 1].lstrip().startswith("#"):
                    report.finding(
                        where, f"no comment directly above the statement {sid} that says why it is there"
                    )
        report.looked_at(
            template.name, f"{counted(n_statements, 'statement')} in {counted(n_documents, 'document')}"
        )


def _documents(node: yaml.Node) -> Iterator[list[tuple[int, yaml.MappingNode]]]:
    """The statements of each document, with the line where each begins."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "Statement":
                items = (
                    value.value if isinstance(value, yaml.SequenceNode) and value.tag != "!If" else [value]
                )
                yield [(item.start_mark.line, it) for item in items for it in _in_item(item)]
            else:
                yield from _documents(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _documents(item)


def _in_item(item: yaml.Node) -> Iterator[yaml.MappingNode]:
    """A statement, or those between which an `!If` chooses."""
    if isinstance(item, yaml.MappingNode):
        yield item
    elif isinstance(item, yaml.SequenceNode):
        for inner in item.value:
            yield from _in_item(inner)


def _scalar(statement: yaml.MappingNode, name: str) -> str:
    return next((value.value for key, value in statement.value if key.value == name), "")
