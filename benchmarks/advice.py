"""Is advice right? Simulated small sets whose truth is known, from the features of a large one.

    python benchmarks/advice.py --features FILE.npz --sets 200 --out results/advice.jsonl
    python benchmarks/advice.py --out results/advice.jsonl --report advice.md

FILE.npz has `features` (N, F), `labels` (N,) and `names` (C,). Half of the images of each class are
drawn from, the other half is for the truth: each remedy is trained on a whole set with several
seeds, and tested there. Each set is a line of the output; sets that are there are not made again.
The report needs no features.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import store
import tables
import torch

from imbalance_study.evaluation import confident_learning, corrected_differences, metrics
from imbalance_study.studies.advise import collecting, comparing, heads, looking
from imbalance_study.studies.advise import metric as decides
from imbalance_study.studies.advise.heads import FeatureSet
from imbalance_study.studies.advise.kept import Rows

NONE = np.empty(0, np.int64)
SEEDS = 3
# Remedies beside these are tried: two stages are those of the class-balanced sampler here.
WITHOUT = ("smote on features", "re-trained head")
BALANCED = "balanced_softmax"
CE = "cross_entropy"


class Halves(NamedTuple):
    """The images that sets are drawn from, and those of the truth."""

    pool: FeatureSet
    truth: FeatureSet


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--part", default="0/1", help="0/2 makes every second set, 1/2 the others")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--images", type=int, default=30, help="sets with real gains of images")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--out", type=Path, default=Path("results/advice.jsonl"))
    parser.add_argument("--report", type=Path)
    options = parser.parse_args(words)
    if options.features is not None:
        simulate(options)
    rows = read(options.out)
    if not rows:
        raise ValueError(f"there is no set in {options.out}; give --features FILE.npz")
    text = report(rows, words)
    print(text)
    if options.report is not None:
        options.report.write_text(text, encoding="utf-8")
    return 0


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def simulate(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    halves = load(options.features)
    digest = hashlib.sha256(halves.pool.features.tobytes()).hexdigest()[:12]
    done = {row["set"] for row in read(options.out)}
    end = time.monotonic() + 60 * options.minutes
    options.out.parent.mkdir(parents=True, exist_ok=True)
    first, step = map(int, options.part.split("/"))
    for number in range(first, options.sets, step):
        if number in done or time.monotonic() > end:
            continue
        row = one_set(halves, number, options.repeats, images=number < options.images)
        row |= {"hardware": store.hardware("cpu"), "versions": store.versions(), "parallel": 1}
        row |= {"data": digest, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"set {number}: {sum(row['counts'])} images, {row['seconds']:.0f} s", flush=True)


def load(path: Path) -> Halves:
    """Cut the images of each class into two halves."""
    with np.load(path, allow_pickle=False) as found:
        features = np.asarray(found["features"], np.float32)
        labels = np.asarray(found["labels"], np.int64)
        names = tuple(map(str, found["names"]))
    generator = np.random.default_rng(0)
    first = np.zeros(len(labels), bool)
    for label in range(len(names)):
        own = generator.permutation(np.flatnonzero(labels == label))
        first[own[: len(own) // 2]] = True
    every = FeatureSet(features, labels, names, NONE)
    return Halves(every.rows(np.flatnonzero(first)), every.rows(np.flatnonzero(~first)))


class Drawn(NamedTuple):
    """A small imbalanced set, and where its images come from."""

    images: FeatureSet
    classes: np.ndarray  # (K,) labels of the large set, by label of the small one
    rows: np.ndarray  # of the pool
    rest: list[np.ndarray]  # rows of the pool that are left, by class
    ratio: float


def draw(pool: FeatureSet, number: int) -> Drawn:
    """Draw 300 to 3,000 images of 3 to 10 classes at a ratio of 10 to 200."""
    generator = np.random.default_rng([number, 1])
    available = pool.counts
    while True:
        kinds = int(generator.integers(3, min(10, len(available)) + 1))
        classes = generator.choice(len(available), kinds, replace=False)
        size, ratio = (
            math.exp(generator.uniform(*np.log(range_))) for range_ in ((300, 3000), (10, 200))
        )
        shares = ratio ** (-np.arange(kinds) / (kinds - 1))
        counts = np.round(size * shares / shares.sum()).astype(int)
        if counts.min() >= 2 and (counts <= 0.8 * available[classes]).all():
            break
    rows, labels, rest = [], [], []
    for place, (label, count) in enumerate(zip(classes, counts, strict=True)):
        own = generator.permutation(np.flatnonzero(pool.labels == label))
        rows.append(own[:count])
        rest.append(own[count:])
        labels.append(np.full(count, place))
    chosen = np.concatenate(rows)
    names = tuple(pool.class_names[label] for label in classes)
    images = FeatureSet(pool.features[chosen], np.concatenate(labels), names, NONE)
    return Drawn(images, classes, chosen, rest, ratio)


def truth_of(truth: FeatureSet, classes: np.ndarray) -> FeatureSet:
    """Return the images of the truth that are of the classes of a set, with its labels."""
    place = np.full(len(truth.class_names), -1)
    place[classes] = np.arange(len(classes))
    rows = np.flatnonzero(place[truth.labels] >= 0)
    names = tuple(truth.class_names[label] for label in classes)
    return FeatureSet(truth.features[rows], place[truth.labels[rows]], names, NONE)


def score(
    remedy: heads.Remedy, images: FeatureSet, test: FeatureSet, metric: decides.Metric
) -> float:
    """Train on a whole set with several seeds; return the mean score on the truth."""
    every = np.arange(len(images.labels))
    trained = heads.train(remedy, images, [every] * SEEDS, range(1000, 1000 + SEEDS))
    found = []
    for head in trained:
        predicted = head.logits(test.features).argmax(1)
        matrix = metrics.confusion_matrix(test.labels, predicted, len(test.class_names))
        found.append(float(metric.score(matrix)))
    return float(np.mean(found))


def one_set(halves: Halves, number: int, repeats: int, *, images: bool) -> dict[str, Any]:
    """Advise on a set, and measure the truth."""
    begun = time.perf_counter()
    drawn = draw(halves.pool, number)
    small, test = drawn.images, truth_of(halves.truth, drawn.classes)
    metric = decides.make("balanced_accuracy", small.class_names)
    tried = [one for one in comparing.remedies(small) if one.name not in WITHOUT]
    rows = Rows(None)
    compared = comparing.compare(small, tried, rows, time_left=lambda: math.inf, most=repeats)
    judged = comparing.judge(compared, rows, metric, small.counts)
    table = judged.table.set_index("remedy")
    truth = {one.name: score(one, small, test, metric) for one in compared.remedies}
    scores = {
        one.name: np.asarray(metric.score(rows.stacked(one.name, compared.repeats))).tolist()
        for one in compared.remedies
    }
    row: dict[str, Any] = {
        "set": number,
        "counts": small.counts.tolist(),
        "ratio": drawn.ratio,
        "correction": compared.ratio,
        "baseline": judged.baseline,
        "best": judged.best,
        "choice": judged.choice,
        "scores": scores,
        "truth": truth,
        "probability": table.get("best", table["score"] * math.nan).to_dict(),
        "near": table.get("near_best", table["score"] * math.nan).to_dict(),
        "low": table["low_95"].to_dict(),
        "high": table["high_95"].to_dict(),
        "p_holm": table["p_holm"].to_dict(),
        "labels": planted(small, tried[0], number),
    }
    if images:
        chosen = next(one for one in tried if one.name == judged.choice)
        row["images"] = more(halves, drawn, test, chosen, rows, compared, metric)
    row["seconds"] = time.perf_counter() - begun
    return row


def planted(images: FeatureSet, remedy: heads.Remedy, number: int) -> dict[str, int]:
    """Give 5 % of the images another label, and count how many of them are found."""
    generator = np.random.default_rng([number, 2])
    count, classes = len(images.labels), len(images.class_names)
    wrong = generator.choice(count, round(0.05 * count), replace=False)
    labels = images.labels.copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, classes, len(wrong))) % classes
    if np.bincount(labels, minlength=classes).min() < 2:
        return {}
    noisy = images._replace(labels=labels)
    found = confident_learning.suspicious_labels(labels, looking.out_of_fold(noisy, remedy)).rows
    first = found[: len(wrong)]
    return {
        "planted": len(wrong),
        "listed": len(found),
        "found": int(np.isin(found, wrong).sum()),
        "found_first": int(np.isin(first, wrong).sum()),
    }


def more(
    halves: Halves,
    drawn: Drawn,
    test: FeatureSet,
    remedy: heads.Remedy,
    rows: Rows,
    compared: comparing.Compared,
    metric: decides.Metric,
) -> list[dict[str, Any]]:
    """Compare the predicted and the real gain from 20 and 100 more images of the rarest classes."""
    images = drawn.images
    done = collecting.vary(images, remedy, rows, compared.repeats, time_left=lambda: math.inf)
    worth = collecting.worth(images, remedy.name, rows, done, compared, metric)
    now = score(remedy, images, test, metric)
    found = []
    for label in collecting.candidates(images.counts)[:4]:
        line = worth[worth["class"] == images.class_names[label]].iloc[0]
        for number in collecting.MORE:
            added = drawn.rest[label][:number]
            larger = FeatureSet(
                np.concatenate([images.features, halves.pool.features[added]]),
                np.concatenate([images.labels, np.full(len(added), label)]),
                images.class_names,
                NONE,
            )
            cells = {name: float(line[f"{name}_{number}"]) for name in ("gain", "low", "high")}
            real = score(remedy, larger, test, metric) - now
            found.append(
                cells | {"images": int(images.counts[label]), "more": number, "real": real}
            )
    return found


def report(rows: list[dict[str, Any]], words: list[str]) -> str:
    """Write the tables of all sets."""
    parts = [
        f"{len(rows)} sets of {min(sum(r['counts']) for r in rows):,} to "
        f"{max(sum(r['counts']) for r in rows):,} images.",
        coverage(rows),
        reliability(rows),
        regret(rows),
        labels(rows),
        gains(rows),
        tables.provenance(rows, "advice.py", words),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _share(values: list[bool]) -> str:
    return f"{100 * np.mean(values):.1f} % of {len(values)}" if values else "–"


def coverage(rows: list[dict[str, Any]]) -> str:
    """Coverage of the intervals of differences, with the correction and without."""
    inside: dict[str, list[bool]] = {"corrected": [], "plain t": []}
    false: dict[str, list[bool]] = {"corrected": [], "plain t": []}
    for row in rows:
        base, claims = row["baseline"], {"corrected": False, "plain t": False}
        for name in row["scores"]:
            if name == base:
                continue
            real = row["truth"][name] - row["truth"][base]
            values = np.array(row["scores"][name]) - np.array(row["scores"][base])
            for kind, ratio in (("corrected", row["correction"]), ("plain t", 0.0)):
                one = corrected_differences.corrected(values, ratio)
                inside[kind].append(bool(one.low <= real <= one.high))
                p = one.p if kind == "plain t" else row["p_holm"][name]
                claims[kind] |= bool(one.mean > 0 and p < 0.05 and real <= 0)
        for kind, claimed in claims.items():
            false[kind].append(claimed)
    body = [[kind, _share(inside[kind]), _share(false[kind])] for kind in inside]
    head = ["interval", "holds the truth", "sets with a false 'better than the baseline'"]
    return tables.markdown(head, body)


def reliability(rows: list[dict[str, Any]]) -> str:
    """How often the remedy said to be the best with a probability is the best."""
    edges, body = [0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0001], []
    pairs = {"best": [], "near": []}
    for row in rows:
        top = max(row["truth"].values())
        for name, real in row["truth"].items():
            pairs["best"].append((row["probability"][name], real >= top))
            pairs["near"].append((row["near"][name], real >= top - 0.01))
    for low, high in itertools.pairwise(edges):
        cells = [f"{low:.0%} to {min(high, 1):.0%}"]
        for kind in ("best", "near"):
            of = [(p, right) for p, right in pairs[kind] if low <= p < high]
            cells.append(
                f"{np.mean([p for p, _ in of]):.0%} -> {np.mean([r for _, r in of]):.0%} "
                f"({len(of)})"
                if of
                else "–"
            )
        body.append(cells)
    head = ["probability", "of being the best: said -> was", "of being within a point: said -> was"]
    return tables.markdown(head, body)


def advised(row: dict[str, Any]) -> str:
    """The remedy that is advised, by the scores of the repeats."""
    gain = np.array(row["scores"][row["best"]]) - np.array(row["scores"][CE])
    found = corrected_differences.corrected(gain, row["correction"])
    sure = corrected_differences.above_zero(found) >= comparing.SURE
    return str(row["best"]) if sure else CE


def regret(rows: list[dict[str, Any]]) -> str:
    """Points lost against the best remedy of each set."""
    rules = {
        "the advice": advised,
        "the advice, but only what is proven (Holm)": lambda row: (
            row["best"] if row["p_holm"].get(row["best"], 1) < 0.05 else CE
        ),
        "the remedy of the largest mean": lambda row: row["best"],
        "always cross-entropy": lambda row: CE,
        "always balanced softmax": lambda row: BALANCED,
    }
    body = []
    for name, rule in rules.items():
        lost = [max(row["truth"].values()) - row["truth"][rule(row)] for row in rows]
        body.append([name, f"{100 * np.mean(lost):.2f}", f"{100 * np.max(lost):.2f}"])
    return tables.markdown(["rule", "mean regret, points", "largest"], body)


def labels(rows: list[dict[str, Any]]) -> str:
    """Precision and recall of the list of suspicious labels."""
    known = [row["labels"] for row in rows if row["labels"]]
    if not known:
        return ""
    total = {name: sum(one[name] for one in known) for name in known[0]}
    return (
        f"Planted label errors (5 %, {len(known)} sets, {total['planted']:,} errors): the list has "
        f"{total['found'] / total['planted']:.0%} of them, and "
        f"{total['found'] / total['listed']:.0%} of the list are planted; of its first images, as "
        f"many as were planted, {total['found_first'] / total['planted']:.0%} are."
    )


def gains(rows: list[dict[str, Any]]) -> str:
    """Predicted and real gain from more images."""
    found = [one for row in rows for one in row.get("images", [])]
    body = []
    for more_ in collecting.MORE:
        of = [one for one in found if one["more"] == more_ and np.isfinite(one["gain"])]
        if not of:
            continue
        said, real = (np.array([one[name] for one in of]) for name in ("gain", "real"))
        inside = [one["low"] <= one["real"] <= one["high"] for one in of]
        body.append(
            [
                str(more_),
                str(len(of)),
                f"{100 * said.mean():.2f}",
                f"{100 * real.mean():.2f}",
                f"{100 * np.abs(said - real).mean():.2f}",
                f"{np.corrcoef(said, real)[0, 1]:.2f}" if len(of) > 2 else "–",
                _share(inside),
            ]
        )
    head = ["more images", "classes", "said, points", "real", "mean error", "correlation"]
    return tables.markdown([*head, "interval holds it"], body) if body else ""


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
