"""Checkpoints of an unfinished run: their content, and the conditions to go on from them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import torch

from imbalance_study import __version__
from imbalance_study.experiment.setup.build import RunSetup
from imbalance_study.experiment.setup.facts import RunFacts, config_record
from imbalance_study.training import snapshot
from imbalance_study.training.procedure import EpochResult, Fit

# Packages whose version decides about the last digit.
_PACKAGES = ("torch", "torchvision", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"imbalance_study": __version__} | found


def content(setup: RunSetup, taken: snapshot.Snapshot, before: Fit | None) -> dict[str, Any]:
    """Return the content of a checkpoint.

    Args:
        setup: Of the run.
        taken: The state of the stage that trains.
        before: The finished first stage, where the second one trains.
    """
    return {
        "config": config_record(setup.config),
        "facts": setup.facts.to_dict(),
        "versions": versions(),
        "fit": taken,
        "stage1": {} if before is None else snapshot.encode_fit(before),
    }


def begun(state: Mapping[str, Any]) -> tuple[snapshot.Snapshot, Fit | None]:
    """Return the state of the stage that a checkpoint was taken in, and the stage before it."""
    return state["fit"], snapshot.decode_fit(state["stage1"]) if state["stage1"] else None


def earlier_epochs(state: Mapping[str, Any] | None) -> list[EpochResult]:
    """Return the epochs before the one that a checkpoint ends with; none without a checkpoint.

    The last one is reported again by the training itself.
    """
    if state is None:
        return []
    taken, before = begun(state)
    history = [snapshot.decode_epoch(epoch) for epoch in taken["history"]]
    return [*(before.history if before is not None else ()), *history[:-1]]


def facts_of(state: Mapping[str, Any] | None) -> RunFacts | None:
    """Return the facts that a checkpoint holds; None without one."""
    return None if state is None else RunFacts.from_dict(state["facts"])


def check(state: Mapping[str, Any] | None, facts: RunFacts) -> None:
    """See that a run would go on as it began: same data, versions, device, processes.

    Raises:
        ValueError: Something differs; the message says what to do.
    """
    before = facts_of(state)
    if state is None or before is None:
        return
    here = versions()
    for name, version in state["versions"].items():
        if version != here.get(name):
            raise ValueError(
                f"the run began with {name} {version}, here is {here.get(name)}; install "
                "that version, or train the run again"
            )
    if before.digest != facts.digest:
        raise ValueError(
            f"the data have changed since the run began (fingerprint {before.digest}, now "
            f"{facts.digest}); bring them back, or train the run again"
        )
    _check_space(state, facts)
    for name in ("device", "precision"):
        old, new = getattr(before, name), getattr(facts, name)
        if old != new:
            raise ValueError(
                f"the run began with {name}={old}, and here it would be {new}; "
                "go on where it began, or train it again"
            )
    if before.processes != facts.processes:
        raise ValueError(
            f"the run began with {before.processes} processes, here are {facts.processes}; start "
            "as many by torchrun"
        )


def _check_space(state: Mapping[str, Any], facts: RunFacts) -> None:
    old = state["config"].get("space", "pixels")
    new = "pixels" if facts.features is None else "features"
    if old != new:
        raise ValueError(
            f"the run began with space={old}, and here it would be {new}; go on with space={old}, "
            "or train it again"
        )


@contextlib.contextmanager
def same_threads(before: RunFacts | None) -> Iterator[None]:
    """Compute with as many threads as the run that goes on: on a processor sums depend on them."""
    threads = torch.get_num_threads()
    if before is not None and before.threads:
        torch.set_num_threads(before.threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
