"""The verdict in five sentences."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from imbalance_study.studies.advise.collecting import LEAST, MORE
from imbalance_study.studies.advise.comparing import ENOUGH, Compared, Judgement
from imbalance_study.studies.advise.heads import FeatureSet
from imbalance_study.studies.advise.metric import Metric, percent, signed
from imbalance_study.studies.advise.next_step import NextStep


def sentences(
    images: FeatureSet,
    compared: Compared,
    judged: Judgement,
    worth: pd.DataFrame,
    suspects: pd.DataFrame,
    metric: Metric,
    step: NextStep,
) -> list[str]:
    """Say data, remedy, certainty and cost, images, and the next step, a sentence each."""
    return [
        _data(images, suspects),
        _remedy(judged, metric),
        _certainty(compared, judged),
        _images(images, judged, worth, metric),
        _next(suspects, step),
    ]


def _data(images: FeatureSet, suspects: pd.DataFrame) -> str:
    counts, names = images.counts, images.class_names
    most, least = int(counts.argmax()), int(counts.argmin())
    ratio = counts[most] / counts[least]
    wrong = len(suspects)
    labels = f"{wrong:,} labels look wrong" if wrong != 1 else "1 label looks wrong"
    return (
        f"Data: {counts.sum():,} images of {len(names)} classes, from {counts[most]:,} "
        f"({names[most]}) to {counts[least]:,} ({names[least]}), a ratio of {ratio:.3g}; "
        f"{labels} ({percent(wrong / counts.sum(), 1)})."
    )


def _remedy(judged: Judgement, metric: Metric) -> str:
    row, plain = judged.row(judged.best), judged.row(judged.baseline)
    words, base = metric.words, metric.value(plain["score"])
    if judged.best == judged.baseline:
        return f"Remedy: none of those tried beats plain cross-entropy ({words} {base}); keep it."
    change = (
        f"{metric.change(row['difference'])}, 95 % interval "
        f"{metric.range(row['low_95'], row['high_95'])}"
    )
    if judged.choice == judged.baseline:
        return (
            f"Remedy: keep plain cross-entropy ({words} {base}), as none is shown to beat it; most "
            f"promising is {judged.best} ({change})."
        )
    doubt = "" if judged.proven else ", probably: the test of all remedies leaves it open"
    return (
        f"Remedy: use {judged.best}, whose {words} is {metric.value(row['score'])} against "
        f"{base} of plain cross-entropy ({change}){doubt}."
    )


def _certainty(compared: Compared, judged: Judgement) -> str:
    row = judged.row(judged.best)
    trade = ""
    if judged.best != judged.baseline:
        rare, often = 100 * row["rare_change"], 100 * row["frequent_change"]
        trade = (
            f"; with it the recall of the rarest third of the classes changes by {signed(rare)} "
            f"points and that of the most frequent third by {signed(often)}"
        )
    if not judged.probabilities:
        return (
            f"How sure: this is an early answer from {compared.repeats} repeats, without "
            f"probabilities, which need {ENOUGH}; the same command goes on{trade}."
        )
    return (
        f"How sure: after {compared.repeats} repeats {judged.best} is the best of "
        f"{len(judged.table)} with a probability of {percent(row['best'])}, and within a point of "
        f"the best with {percent(row['near_best'])}{_beats(judged)}{trade}."
    )


def _beats(judged: Judgement) -> str:
    if judged.best == judged.baseline:
        return ""
    return f"; it beats plain cross-entropy with {percent(judged.better)}"


def _images(images: FeatureSet, judged: Judgement, worth: pd.DataFrame, metric: Metric) -> str:
    known = worth[worth[f"gain_{MORE[-1]}"].notna()]
    few = int((images.counts < LEAST).sum())
    rest = f" (not estimated for classes of fewer than {LEAST} images: {few})" if few else ""
    if not len(known):
        return f"Images: the worth of more images was not estimated{rest}."
    first = known.iloc[0]
    gain, low, high = (float(first[f"{name}_{MORE[-1]}"]) for name in ("gain", "low", "high"))
    remedy = float(judged.row(judged.best)["difference"])
    interval = f"95 % interval {metric.range(low, high)}"
    if low <= 0:
        return (
            f"Images: {MORE[-1]} more of no class are shown to help; most promising is "
            f"{first['class']} ({metric.change(gain)}, {interval}){rest}."
        )
    beside = ""
    if judged.choice != judged.baseline:
        beside = f", {'more' if gain > remedy else 'less'} than the remedy"
    return (
        f"Images: collect {first['class']} first; {MORE[-1]} more are worth "
        f"{metric.change(gain)} ({interval}){beside}{rest}."
    )


def _next(suspects: pd.DataFrame, step: NextStep) -> str:
    look = ""
    if len(suspects):
        shown = min(25, len(suspects))
        look = (
            f"look at the {shown} most suspicious labels, then "
            if shown > 1
            else ("look at the suspicious label, then ")
        )
    hours = ""
    if math.isfinite(step.hours_here):
        hours = (
            f" (about {duration(step.hours_here)} on this machine, {duration(step.hours_gpu)} on "
            "a GPU)"
        )
    both = " and ".join(step.remedies)
    return (
        f"Next: {look}train the whole network with {both}, {step.trainings} trainings of "
        f"{step.epochs} epochs{hours}."
    )


def duration(hours: float) -> str:
    """Write hours as minutes or hours."""
    if hours < 1 / 60:
        return "a minute"
    if hours < 1.5:
        minutes = round(60 * hours)
        return f"{minutes} minutes" if minutes > 1 else "a minute"
    return f"{hours:.1f} hours" if hours < 10 else f"{np.round(hours):.0f} hours"
