"""Advice on one image set, from end to end: the page that tells the whole story."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.studies.advise import (
    collecting,
    comparing,
    deciding,
    figures,
    files,
    kept,
    looking,
    material,
    next_step,
    page,
    record,
    verdict,
)
from imbalance_study.studies.advise import metric as metrics
from imbalance_study.studies.advise.comparing import Compared, Judgement, Progress
from imbalance_study.studies.advise.heads import FeatureSet
from imbalance_study.studies.advise.material import Material
from imbalance_study.studies.advise.metric import Metric
from imbalance_study.studies.advise.result import Advice
from imbalance_study.studies.advise.settings import OF_RUNS, AdviceSettings
from imbalance_study.studies.report import html, markdown
from imbalance_study.tracking import run_kind, session, store


class _Found(NamedTuple):
    """The advice, and what its page and its record need beside it."""

    advice: Advice
    compared: Compared
    judged: Judgement
    metric: Metric
    repeats: pd.DataFrame


def advise(
    data_dir: str | Path,
    *,
    minutes: float = AdviceSettings.minutes,
    metric: str = AdviceSettings.metric,
    model: str = AdviceSettings.model,
    dataset: str = AdviceSettings.dataset,
    out: str | Path = AdviceSettings.out,
    **options: Any,
) -> Advice:
    """Advise on the images of a folder: which remedy, how sure, at what cost, and what next.

    Writes pages, figures and tables, and one run in MLflow. A call that was stopped goes on.

    Args:
        data_dir: Folder of the images, or a csv file.
        minutes: Time for everything.
        metric: That decides; see the option.
        model: Network whose features are used.
        dataset: Data set; auto tells folders from tables.
        out: Folder of the pages.
        options: Further options of images and record, such as ``image_size`` or ``tracking_uri``.

    Raises:
        ValueError: The options or the images are wrong; the message says how.
    """
    settings = AdviceSettings(str(data_dir), dataset, model, metric, float(minutes), str(out))
    unknown = sorted(set(options) - set(OF_RUNS))
    if unknown:
        raise ValueError(f"advise takes no option {unknown[0]!r}; known: {', '.join(OF_RUNS)}")
    return run(settings, options)


def run(
    settings: AdviceSettings, typed: Mapping[str, Any], *, progress: Progress | None = None
) -> Advice:
    """Advise; see `advise`.

    Args:
        settings: Options of the advice.
        typed: Options of images and record.
        progress: Follows the heads.
    """
    clock = _Clock(settings.minutes)
    cache = DataCache()
    with clock.stage("reading"):
        found = material.read(settings, typed, cache)
    decides = metrics.make(settings.metric, found.image_set.class_names)
    name = (
        Path(settings.data_dir).name
        if found.config.dataset in ("imagefolder", "csv")
        else (found.config.dataset)
    )
    config = found.config
    config = dataclasses.replace(config, system_metrics=False)
    tags = {"advice": "", run_kind.KIND: run_kind.ADVICE}
    with session.session(config, tags, name=f"advice on {name}") as active:
        uri = store.address(config.tracking_uri)
        with clock.stage("features"):
            images = material.features_of(found, cache)
        made = _advise(found, images, decides, clock, progress or Progress())
        params = {"metric": settings.metric, "minutes": settings.minutes, "model": settings.model}
        params |= {"dataset": config.dataset, "data_dir": config.data_dir}
        command = _command(settings, typed)
        drawn = record.pictures(made.advice.figures)
        about = {"name": name, "model": settings.model, "command": command}
        about |= {"report": "\n".join(found.report.lines()), "seen": _seen(found)}
        pages = _pages(made, drawn, about)
        folder = Path(settings.out).expanduser().absolute()
        advice = dataclasses.replace(made.advice, folder=folder, run_id=active.info.run_id)
        files.write(folder, advice, drawn, pages)
        record.record(advice, params, pages, drawn, made.repeats)
        record.link(active, name)
        return dataclasses.replace(advice, links=record.links(active, uri))


class _Clock:
    """The time of an advice, and the seconds of its stages."""

    def __init__(self, minutes: float) -> None:
        self.total, self._begun = 60 * minutes, time.perf_counter()
        self.stages: dict[str, float] = {}
        self._current = ("", 0.0)

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.total - (time.perf_counter() - self._begun)

    def of(self, stage: str) -> float:
        """Return the seconds of a stage so far."""
        name, begun = self._current
        return time.perf_counter() - begun if name == stage else self.stages.get(stage, 0.0)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        self._current = name, time.perf_counter()
        yield
        self.stages[name] = self.of(name)
        self._current = "", 0.0


def _seen(found: Material) -> str:
    """Say which images the advice has seen."""
    if found.unseen:
        return f"The {found.unseen:,} test images of the set stay unseen."
    return (
        "The set has no test part of its own, so all its images took part in the choice of the "
        "remedy: for a last, fair figure keep new images aside."
    )


def _pages(made: _Found, drawn: Mapping[str, bytes], about: Mapping[str, str]) -> dict[str, bytes]:
    report = page.make(made.advice, made.compared, made.judged, made.metric, drawn, about)
    return {
        "advice.html": html.page(report).encode(),
        "advice.md": markdown.text(report).encode(),
    }


def _advise(
    found: Material, images: FeatureSet, metric: Metric, clock: _Clock, progress: Progress
) -> _Found:
    tried = comparing.remedies(images)
    rows = kept.Rows(material.rows_file(found, images, tried))
    with clock.stage("labels"):
        plain = looking.out_of_fold(images, tried[0])
        suspects = looking.suspects(images, plain, found.files)
    with clock.stage("comparing"):
        left = functools.partial(_left_to_compare, images, len(tried), clock)
        compared = comparing.compare(images, tried, rows, time_left=left, progress=progress)
    judged = comparing.judge(compared, rows, metric, images.counts)
    by_name = {one.name: one for one in tried}
    with clock.stage("fewer images"):
        repeats, choice = 0, by_name[judged.choice]
        if compared.stopped != "keyboard":
            most, time_left = compared.repeats, clock.left
            repeats = collecting.vary(
                images, choice, rows, most, time_left=time_left, progress=progress
            )
        worth = collecting.worth(images, choice.name, rows, repeats, compared, metric)
    with clock.stage("deciding"):
        probs = {judged.baseline: plain}
        if judged.choice != judged.baseline:
            probs[judged.choice] = looking.out_of_fold(images, choice)
        decided = deciding.decide(images, probs, judged.baseline, judged.choice, metric)
    with clock.stage("next step"):
        measure = compared.stopped != "keyboard"
        best = next_step.of_pixels(judged.table["remedy"].tolist(), by_name)
        step = next_step.plan(found, by_name[judged.baseline], best, measure=measure)
    drawn = figures.all_of(found, images, rows, compared, judged, worth, suspects, decided, metric)
    advice = Advice(
        verdict=verdict.sentences(images, compared, judged, worth, suspects, metric, step),
        baseline=judged.baseline,
        best=judged.best,
        choice=judged.choice,
        proven=judged.proven,
        early=not judged.probabilities,
        repeats=compared.repeats,
        metric=metric.name,
        data=pd.DataFrame(found.report.columns()),
        remedies=judged.table,
        left_out=compared.left_out,
        classes=_classes(images, rows, compared, judged),
        images=worth,
        suspects=suspects,
        rules=decided.rules,
        thresholds=decided.thresholds,
        rejection=decided.rejection,
        sets=decided.sets,
        next=step,
        seconds=clock.stages,
        figures=drawn,
    )
    return _Found(advice, compared, judged, metric, _repeats(compared, rows, metric))


def _left_to_compare(images: FeatureSet, remedies: int, clock: _Clock) -> float:
    """Return the seconds for comparing, which leave time for fewer images of each class."""
    varied = len(collecting.candidates(images.counts)) * len(collecting.SHARES)
    each = max(clock.of("comparing"), 1e-3) / max(1, remedies * comparing.EARLY)
    return clock.left() - min(0.35 * clock.total, each * varied * collecting.REPEATS)


def _classes(
    images: FeatureSet, rows: kept.Rows, compared: Compared, judged: Judgement
) -> pd.DataFrame:
    columns = {"class": images.class_names, "images": images.counts}
    for name in dict.fromkeys((judged.baseline, judged.best)):
        columns[f"recall, {name}"] = figures.recall(rows, compared, name)
    return pd.DataFrame(columns).sort_values("images", ascending=False, ignore_index=True)


def _repeats(compared: Compared, rows: kept.Rows, metric: Metric) -> pd.DataFrame:
    """Return a row for each remedy and repeat, for the record."""
    found = []
    for one in compared.remedies:
        scores = np.asarray(metric.score(rows.stacked(one.name, compared.repeats)))
        found += [
            {"remedy": one.name, "repeat": number, "score": float(score)}
            for number, score in enumerate(scores)
        ]
    return pd.DataFrame(found)


def _command(settings: AdviceSettings, typed: Mapping[str, Any]) -> str:
    given = {"data_dir": settings.data_dir}
    for name in ("dataset", "model", "metric", "minutes"):
        if getattr(settings, name) != getattr(AdviceSettings, name):
            given[name] = str(getattr(settings, name))
    private = ("tracking_uri", "experiment", "run_name", "tracking", "cache_dir")
    given |= {name: str(value) for name, value in typed.items() if name not in private}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    return shlex.join(["imbalance-study", "advise", *words])
