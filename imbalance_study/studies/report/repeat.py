"""Describe how to repeat runs: commands, data, versions and seeds, as blocks of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from imbalance_study.studies.report import document
from imbalance_study.studies.report.document import Block, Code, Paragraph

_COMMANDS = 12


def blocks(contents: Sequence[Mapping[str, Any]], commands: Sequence[str]) -> list[Block]:
    """Make the blocks on repeating runs.

    Args:
        contents: The config.json of each run, the oldest first.
        commands: Command lines, the most important first.
    """
    seeds = sorted({int(one["config"]["seed"]) for one in contents})
    shown = list(dict.fromkeys(commands))
    more = len(shown) - _COMMANDS
    made: list[Block] = [Paragraph("In a clone of the repository, in its environment:")]
    made += [Code("\n".join(shown[:_COMMANDS]))]
    if more > 0:
        made.append(Paragraph(f"{more} more commands are in the config.json of the runs."))
    made.append(Paragraph(f"Seeds: {', '.join(map(str, seeds))}."))
    made += _data(contents)
    return [*made, *_versions(contents)]


def _data(contents: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Make the table of data sets and their splits."""
    rows: dict[str, dict[str, Any]] = {}
    for one in contents:
        config, facts = one["config"], one["resolved"]
        fingerprint = facts["fingerprint"]["fingerprint"]
        row = rows.setdefault(
            fingerprint,
            {
                "data set": config["dataset"],
                "fingerprint": fingerprint,
                "imbalance": config["imbalance"],
                "data_seed": config["data_seed"],
                **{f"{part} images": count for part, count in facts["images"].items()},
                "classes": len(facts["class_names"]),
                "runs": 0,
            },
        )
        row["runs"] += 1
    names = dict.fromkeys(name for row in rows.values() for name in row)
    columns = {name: [row.get(name) for row in rows.values()] for name in names}
    caption = "The data: the fingerprint is of the images and of how they were split."
    return document.table("data", caption, columns)


def _versions(contents: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Make the table of the newest run's environment, and note the other environments."""
    kinds = {json.dumps(one["environment"], sort_keys=True) for one in contents}
    newest = contents[-1]["environment"]
    device = contents[-1]["resolved"]
    values = newest | {"device": device["device"], "precision": device["precision"]}
    made = document.table(
        "versions",
        "Versions and machine" + ("." if len(kinds) == 1 else " of the newest run."),
        {"what": list(values), "is": [str(value) for value in values.values()]},
    )
    if len(kinds) > 1:
        differing = sorted(
            name
            for name in newest
            if len({str(one["environment"].get(name)) for one in contents}) > 1
        )
        text = f"The runs were made in {len(kinds)} environments: {', '.join(differing)} differ."
        made.append(Paragraph(text, remark=True))
    return made
