"""The page of an advice, as blocks that become HTML and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from imbalance_study.evaluation.bootstrap import p_text
from imbalance_study.studies.advise.collecting import LEAST, MORE, REPEATS
from imbalance_study.studies.advise.comparing import Compared, Judgement
from imbalance_study.studies.advise.deciding import ALPHA
from imbalance_study.studies.advise.metric import Metric, percent, signed
from imbalance_study.studies.advise.next_step import GPU_MACS
from imbalance_study.studies.advise.result import Advice
from imbalance_study.studies.report.document import (
    Block,
    Code,
    Figure,
    Items,
    Paragraph,
    Report,
    Section,
    Table,
)

_SUSPECTS = 25


def make(
    advice: Advice,
    compared: Compared,
    judged: Judgement,
    metric: Metric,
    drawn: Mapping[str, bytes],
    about: Mapping[str, str],
) -> Report:
    """Make the page.

    Args:
        advice: The advice.
        compared: The repeats behind it.
        judged: The judgement on them.
        metric: That decides.
        drawn: Name to PNG.
        about: Name, model, command and lines of the report of the images.
    """

    def figure(name: str, caption: str) -> list[Block]:
        return [Figure(name, caption, drawn[name])] if name in drawn else []

    sections = [
        Section("Verdict", _verdict(advice)),
        Section("Remedies", _remedies(advice, compared, judged, metric, figure)),
        Section("A remedy, or images?", _images(advice, metric, figure)),
        Section("Deciding", _decisions(advice, metric, figure)),
        Section("Labels that look wrong", _labels(advice, figure)),
        Section("The images", [Code(about["report"])]),
        Section("How this was found", _method(advice, compared, about)),
    ]
    return Report(f"Advice on {about['name']}", sections)


def _verdict(advice: Advice) -> list[Block]:
    early = "An early answer: the same command goes on, and adds what is missing."
    blocks: list[Block] = [Paragraph(early, remark=True)] if advice.early else []
    blocks.append(Items(advice.verdict))
    blocks += [Code(command) for command in advice.next.commands]
    return blocks


def _table(
    name: str, caption: str, columns: Mapping[str, Sequence[Any]], full: pd.DataFrame
) -> Table:
    every = {str(key): full[key].tolist() for key in full.columns}
    return Table(name, caption, dict(columns), every, raw=True)


def _percent(values: Any, digits: int = 1) -> list[str]:
    return [percent(one, digits) if np.isfinite(one) else "" for one in values]


def _bare(change: str) -> str:
    """Leave the unit out, which the caption says."""
    return change.removesuffix(" points")


def _change(values: Any) -> list[str]:
    return [signed(100 * one) if np.isfinite(one) else "" for one in values]


def _remedies(
    advice: Advice, compared: Compared, judged: Judgement, metric: Metric, figure: Any
) -> list[Block]:
    table = judged.table
    columns: dict[str, Sequence[Any]] = {
        "remedy": table["remedy"].tolist(),
        metric.words: [metric.value(one) for one in table["score"]],
        "difference": [
            "baseline" if name == judged.baseline else _bare(metric.change(one))
            for name, one in zip(table["remedy"], table["difference"], strict=True)
        ],
        "95 % interval": [
            metric.range(low, high) if np.isfinite(low) else ""
            for low, high in zip(table["low_95"], table["high_95"], strict=True)
        ],
        "p (Holm)": [
            p_text(one).removeprefix("p ").removeprefix("= ") if np.isfinite(one) else ""
            for one in table["p_holm"]
        ],
    }
    if judged.probabilities:
        columns["better with"] = _percent(table["better"], 0)
        columns["best with"] = _percent(table["best"], 0)
        columns["near the best with"] = _percent(table["near_best"], 0)
    columns["rare classes"] = _change(table["rare_change"])
    columns["frequent classes"] = _change(table["frequent_change"])
    caption = (
        f"Means over {compared.repeats} repeated splits. The intervals are those of new images and "
        "new trainings together, in points for shares. The last columns are changes of recall, in "
        "points, in the rarest and the most frequent third of the classes."
    )
    blocks = [
        *figure("remedies", "Difference of each remedy to plain cross-entropy."),
        _table("remedies", caption, columns, table),
        *figure("recalls", "Recall of each class, with its number of images."),
    ]
    blocks += [
        Paragraph(f"Left out: {name}: {reason}.", remark=True)
        for name, reason in advice.left_out.items()
    ]
    return blocks


def _images(advice: Advice, metric: Metric, figure: Any) -> list[Block]:
    table = advice.images
    known = table[f"gain_{MORE[-1]}"].notna()
    if not known.any():
        return [Paragraph("The worth of more images was not estimated.")]
    columns: dict[str, Sequence[Any]] = {
        "collect first": table["class"].tolist(),
        "images": table["images"].tolist(),
    }
    for more in MORE:
        of = [table[f"{name}_{more}"] for name in ("gain", "low", "high")]
        columns[f"{more} more"] = [
            f"{_bare(metric.change(gain))} ({metric.range(low, high)})"
            if np.isfinite(gain)
            else "–"
            for gain, low, high in zip(*of, strict=True)
        ]
    caption = (
        f"What more images of one class are worth in {metric.words}, with 95 % intervals: the head "
        "was trained again with half and three quarters of the images of each class, and the line "
        "over one by the root of the number goes on. A dash: not estimated (fewer than "
        f"{LEAST} images, or beyond the rarest classes)."
    )
    return [
        *figure(
            "more_images", "Expected gain from more images of a class, and of the best remedy."
        ),
        _table("images", caption, columns, table),
    ]


def _decisions(advice: Advice, metric: Metric, figure: Any) -> list[Block]:
    rules = advice.rules
    columns = {
        "rule": rules["rule"].tolist(),
        metric.words: [metric.value(one) for one in rules["score"]],
        "difference": [_bare(metric.change(one)) for one in rules["difference"]],
    }
    caption = (
        "Rules of decision after the training. Each was fitted to four fifths of the images and "
        "measured on the others, with heads that saw neither."
    )
    found = advice.thresholds
    thresholds = {"class": found["class"].tolist(), "threshold": found["threshold"].tolist()}
    sets = advice.sets
    of_sets = {
        "class": sets["class"].tolist(),
        "images": sets["images"].tolist(),
        "covered": _percent(sets["coverage"]),
        "classes in a set": [f"{one:.1f}" if np.isfinite(one) else "" for one in sets["size"]],
        "in every set": sets["always"].astype(bool).tolist(),
    }
    about_sets = (
        "Where a class must not be missed, show a set of classes in place of one: the set holds "
        f"the true class in {percent(1 - ALPHA)} of the images of each class (split conformal "
        "prediction by class). A class of fewer than "
        f"{round(1 / ALPHA) - 1} images is in every set, as nothing speaks against it."
    )
    ask = f"Thresholds t of {advice.choice}: the class with the largest p / t."
    return [
        _table("rules", caption, columns, rules),
        _table("thresholds", ask, thresholds, found),
        *figure("rejection", "The surest images alone, by the probability of the class."),
        _table("sets", about_sets, of_sets, sets),
    ]


def _labels(advice: Advice, figure: Any) -> list[Block]:
    found = advice.suspects
    if not len(found):
        return [Paragraph("No label looks wrong.")]
    first = found.head(_SUSPECTS)
    columns = {
        "file": first["file"].tolist(),
        "label": first["label"].tolist(),
        "looks like": first["looks_like"].tolist(),
        "probability": _percent(first["p_looks_like"], 0),
    }
    caption = (
        f"The {len(first)} most suspicious of {len(found):,} labels (confident learning); all are "
        "in tables/suspects.csv. A suspicious label is not always wrong: look at it."
    )
    return [
        *figure("suspects", "The most suspicious labels: the label above, and what it looks like."),
        _table("suspects", caption, columns, found),
    ]


def _method(advice: Advice, compared: Compared, about: Mapping[str, str]) -> list[Block]:
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in advice.seconds.items())
    return [
        Items(
            [
                f"Features of {about['model']}, frozen; the remedies were tried on its last layer. "
                "Whether their order holds for the whole network, the command above shows.",
                "Each repeat cuts a fifth of each class off for testing, with groups and copies "
                "kept whole. Repeats share images: intervals and tests are corrected for that "
                f"(Nadeau and Bengio 2003, n_test / n_train = {compared.ratio:.3f}).",
                f"More images: {min(REPEATS, compared.repeats)} repeats at most.",
                about["seen"],
                f"Hours on a GPU assume {GPU_MACS:.0e} multiply-adds a second; they are not "
                "measured.",
                f"Time: {spent}.",
            ]
        ),
        Code(about["command"]),
    ]
