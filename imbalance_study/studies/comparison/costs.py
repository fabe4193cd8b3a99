"""What each configuration costs: its network at inference, and its training over seeds.

A loss or a sampler cannot change the cost at inference, so that latencies of equal networks differ
by noise alone. They are pooled, and configurations of one network share its costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from imbalance_study.evaluation import significance
from imbalance_study.evaluation.text import short_number
from imbalance_study.studies.comparison import differences, tables
from imbalance_study.studies.comparison.grouping import Group, GroupedOutcomes

# Counts that make two networks equal, within a hundredth: heads of some losses have no bias.
NETWORK = ("cost/parameters", "cost/macs", "cost/size_mb")
_SAME = 0.01
_AT_INFERENCE = (*NETWORK, "cost/latency_ms_b1", "cost/latency_ms_b128")
SECONDS = "time/train_seconds"
MEMORY = "cost/peak_memory_mb"
ENERGY = "cost/train_kwh"


class Network(NamedTuple):
    """Configurations whose networks are equal, with the costs that they share at inference."""

    members: tuple[Group, ...]
    costs: dict[str, float]  # without unknown ones


class Training(NamedTuple):
    """What the training of a configuration takes, over its seeds."""

    seconds: significance.Summary
    memory: significance.Summary  # MB at the peak, on a GPU
    energy: significance.Summary  # kWh of processor and GPU while it trained
    times_baseline: float  # mean seconds over the baseline's, NaN where either is unknown
    verdict: str  # of the paired test of the seconds: that of a `Judgement`


def networks(grouped: GroupedOutcomes) -> list[Network]:
    """Group the configurations by their networks; one whose counts are unknown is left out."""
    found: list[list[Group]] = []
    for group in grouped.groups:
        if all(_mean(group, name) > 0 for name in NETWORK[:2]):
            same = next((one for one in found if _equal(one[0], group)), None)
            if same is None:
                found.append([group])
            else:
                same.append(group)
    return [Network(tuple(members), _pooled(members)) for members in found]


def _equal(first: Group, second: Group) -> bool:
    pairs = [(_mean(first, name), _mean(second, name)) for name in NETWORK]
    return all(abs(a - b) <= _SAME * max(abs(a), abs(b)) for a, b in pairs if a == a and b == b)


def _mean(group: Group, metric: str) -> float:
    return group.summary(metric).mean


def _pooled(members: Sequence[Group]) -> dict[str, float]:
    """Take the counts of the first member, and average latencies over all runs of all members."""
    costs = {}
    for name in _AT_INFERENCE:
        asked = members[:1] if name in NETWORK else members
        values = [value for group in asked for value in group.values(name).values()]
        mean = significance.summarise(values).mean
        if mean == mean:
            costs[name] = mean
    return costs


def one_network(grouped: GroupedOutcomes) -> bool:
    """Whether all configurations are the same network."""
    found = networks(grouped)
    return len(found) == 1 and len(found[0].members) == len(grouped.groups)


def at_inference(grouped: GroupedOutcomes) -> str:
    """Say what the networks cost at inference, once for equal ones; empty where it is unknown."""
    found = networks(grouped)
    if sum(len(one.members) for one in found) < len(grouped.groups):
        return ""
    if len(found) == 1:
        same = "All are the same network and cost the same at inference"
        start = same if len(grouped.groups) > 1 else "At inference"
        return f"{start}: {_in_words(found[0])}."
    parts = [f"{_names(one.members)}: {_in_words(one)}" for one in found]
    return f"At inference {'; '.join(parts)}."


def _names(members: Sequence[Group]) -> str:
    names = [group.name for group in members]
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more"


def _in_words(network: Network) -> str:
    costs = network.costs
    parts = [
        f"{costs['cost/parameters']:,.0f} parameters",
        f"{short_number(costs['cost/macs'])} multiply-accumulates an image",
    ]
    if "cost/latency_ms_b1" in costs:
        parts.append(f"{costs['cost/latency_ms_b1']:.3g} ms for one image")
    return ", ".join(parts)


def training(grouped: GroupedOutcomes) -> dict[str, Training]:
    """Summarise time, memory and energy of training; configuration to its costs."""
    verdicts = {one.group.name: one.verdict for one in differences.judge(grouped, SECONDS)}
    base = _seconds(grouped.baseline).mean
    found = {}
    for group in grouped.groups:
        seconds = _seconds(group)
        found[group.name] = Training(
            seconds,
            _on_gpu(group),
            group.summary(ENERGY),
            seconds.mean / base if base > 0 else significance.NAN,
            verdicts[group.name],
        )
    return found


def _seconds(group: Group) -> significance.Summary:
    return significance.summarise([one.seconds or significance.NAN for one in group.outcomes])


def _on_gpu(group: Group) -> significance.Summary:
    """Summarise the peak of memory; that of a process on a processor never falls between runs."""
    on_processor = any(one.threads for one in group.outcomes)
    return significance.summarise([] if on_processor else list(group.values(MEMORY).values()))


def table(grouped: GroupedOutcomes, price_per_kwh: float = 0.0) -> tables.Table:
    """Make a row per configuration: its network's costs, and those of training with their spread.

    Args:
        grouped: The runs.
        price_per_kwh: Price of a kilowatt-hour, in any currency; 0 leaves out what training costs.
    """
    by_name = training(grouped)
    shared = {group.name: one for one in networks(grouped) for group in one.members}
    order = list(dict.fromkeys(id(one) for one in shared.values()))
    rows = []
    for group in grouped.groups:
        costs, network = by_name[group.name], shared.get(group.name)
        first = group.outcomes[0]
        row: dict[str, Any] = {
            "configuration": group.name,
            tables.short(grouped.metric): group.summary(grouped.metric).mean,
            "network": order.index(id(network)) + 1 if network else None,
        }
        row |= {
            tables.short(name): network.costs.get(name, significance.NAN)
            if network
            else group.summary(name).mean
            for name in _AT_INFERENCE
        }
        row |= _over_seeds(costs, price_per_kwh)
        row |= {"epochs": first.epochs, "updates": first.steps, "images_seen": first.images_seen}
        rows.append(row)
    return _without_unknown(tables.columns(rows))


def _over_seeds(costs: Training, price: float) -> dict[str, Any]:
    row: dict[str, Any] = {}
    kinds = {
        "train_seconds": costs.seconds,
        "peak_memory_mb": costs.memory,
        "train_kwh": costs.energy,
    }
    for name, summary in kinds.items():
        row |= {name: summary.mean, f"{name}_sd": summary.sd}
    row["times_baseline_seconds"] = costs.times_baseline
    row["time_verdict"] = costs.verdict
    row["train_price"] = price * costs.energy.mean if price > 0 else significance.NAN
    return row


def _without_unknown(table: tables.Table) -> tables.Table:
    """Leave out the columns of numbers that no row has."""
    return {
        name: column
        for name, column in table.items()
        if any(value is not None and value == value for value in column)
    }


def spread(mean: float, sd: float) -> str:
    """Write a mean with its deviation over seeds, both to two digits of it; nothing for NaN."""
    if math.isnan(mean):
        return ""
    if sd > 0:
        digits = min(max(0, 1 - math.floor(math.log10(sd))), 9)
        return f"{mean:,.{digits}f} ± {sd:,.{digits}f}"
    text = f"{mean:.3g}" if abs(mean) < 1 else short_number(mean)
    return text if math.isnan(sd) else f"{text} ± 0"
