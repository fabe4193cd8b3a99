"""Does a search pay? The winner of a study against the untuned remedies at the same budget, on the
real long-tailed CIFAR-10.

    python benchmarks/tuned.py --data_dir DIR --parallel 2 --out results/tuned.jsonl

The study searches losses, samplers and optimizers on a balanced validation part; batch size and
updates are fixed, so that a trial costs what an untuned run costs. Then the winner and each untuned
remedy are trained with every seed, on the same images, initial weights and order, and the winner is
compared with that remedy which does best on the test set, which favours the remedy. What was
stopped goes on: the trials are kept in the study, finished runs in --out.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import store
import tables

from imbalance_study.config import resolve
from imbalance_study.studies.search import job, records, space
from imbalance_study.studies.search.optuna_study import OptunaStudy, open_storage
from imbalance_study.studies.search.run import run_search
from imbalance_study.studies.search.settings import StudySettings

WINNER = "winner of the study"
UNTUNED = 6  # remedies that the winner is compared with
METRIC = "test/balanced_accuracy"
HEADER = (
    *("settings", "balanced accuracy of each seed, %", "mean", "it minus the winner"),
    *(*tables.COMPARED[1:], "seconds a run"),
)
FIXED: dict[str, Any] = {
    "dataset": "cifar10",
    "imbalance_ratio": 100,
    "image_size": 24,
    "validation": "balanced:per_class=50",
    "model": "resnet20",
    "augment": "crop+flip",
    "epochs": 10,
    "steps_per_epoch": 150,
    "batch_size": 64,
    "schedule": "cosine:warmup=1",
}


def main(words: list[str]) -> int:
    parser = store.parser(__doc__ or "", out="tuned.jsonl")
    parser.set_defaults(seeds=5)
    parser.add_argument("--trials", type=int, default=40, help="trials of the study")
    parser.add_argument("--search", default="loss|sampler|optimizer", help="groups, apart by |")
    options = parser.parse_args(words)
    fixed = {name: str(value) for name, value in (FIXED | store.given(options)).items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    folder = options.out.parent.absolute()
    settings = StudySettings(
        study=f"tuned-{options.out.stem}",
        trials=options.trials,
        search=options.search,
        winner_seeds=0,
        parallel=options.parallel,
        storage=str(folder / f"{options.out.stem}.journal"),
    )
    tracked = {"tracking_uri": f"sqlite:///{folder / options.out.stem}.db"}
    best, found = searched(settings, fixed | tracked, search=not options.summary)
    settled = {WINNER: found.fixed | best.options}
    untuned = list(space.baselines(found).items())[:UNTUNED]
    settled |= {name: values_of(found, values) for name, values in untuned}
    jobs = [
        store.Job(name, resolve.resolve(values | tracked | {"seed": seed}).config)
        for seed in range(options.seeds)
        for name, values in settled.items()
    ]
    rows = store.rows_for(jobs, options)
    lines = [
        table(rows),
        "",
        f"- The winner is trial {best.number} of {options.trials}: "
        f"`{' '.join(f'{name}={value}' for name, value in best.options.items())}`, "
        f"{100 * best.values[0]:.2f} % on validation.",
        verdict(rows),
        tables.provenance(rows, "tuned.py", words),
    ]
    tables.publish("\n".join(lines), options.out)
    return 0


def searched(
    settings: StudySettings, fixed: dict[str, str], *, search: bool
) -> tuple[records.Trial, space.Space]:
    """The winner of the study, after what is missing of it, and its space.

    Raises:
        ValueError: No trial is complete.
    """
    if search:
        run_search(settings, fixed)
    ready = job.prepare_job(settings, fixed)
    study = OptunaStudy(open_storage(ready.storage, settings.patience), ready.plan)
    order = records.ranked(study.records(), ready.plan.goals)
    if not order:
        raise ValueError("the study has no complete trial; run it first")
    return order[0], ready.plan.space


def values_of(found: space.Space, values: dict[str, Any]) -> dict[str, Any]:
    """The options of a baseline."""
    resolved = space.options_of(found, values)
    return {
        name: getattr(resolved.config, name)
        for name, origin in resolved.origins.items()
        if origin == "given"
    }


def table(rows: Sequence[store.Row]) -> str:
    """Each setting with its seeds, and how it compares with the winner, paired by seed."""
    values = by_name(rows)
    verdicts = tables.compared(values, WINNER)
    lines = []
    for name, of in values.items():
        mine = [row for row in rows if row["name"] == name]
        lines.append(
            [
                name,
                ", ".join(f"{value:.2f}" for value in of.values()),
                f"{statistics.fmean(of.values()):.2f}",
                *verdicts.get(name, ("",) * len(tables.COMPARED)),
                f"{statistics.fmean(row['seconds'] for row in mine):.0f}",
            ]
        )
    return tables.markdown(HEADER, lines)


def by_name(rows: Sequence[store.Row]) -> dict[str, dict[int, float]]:
    """Name to seed to balanced accuracy on the test set, in percent."""
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        values.setdefault(row["name"], {})[row["seed"]] = tables.percents([row], METRIC)[0]
    return values


def verdict(rows: Sequence[store.Row]) -> str:
    """The winner against the best untuned remedy, in a sentence."""
    values = by_name(rows)
    means = {name: statistics.fmean(of.values()) for name, of in values.items() if name != WINNER}
    best = max(means, key=lambda name: means[name], default="")
    if not best or WINNER not in values:
        return "- Too few seeds to say whether the search pays."
    difference, interval, p, word = tables.compared(values, WINNER)[best]
    if interval == "–":
        return "- Too few seeds to say whether the search pays."
    pays = {"worse": "pays", "better": "costs"}.get(word, "is not shown to pay")
    return (
        f"- {best}, the best untuned remedy on the test set, minus the winner is {difference} "
        f"points (95 % interval {interval}, Holm-corrected p {p}): the search {pays}."
    )


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
