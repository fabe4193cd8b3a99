"""What a checkpoint of an unfinished run holds beside the training, and what it must find again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import torch

from imbalance_study import __version__
from imbalance_study.config.schema import Config
from imbalance_study.experiment.setup import build
from imbalance_study.training import snapshot
from imbalance_study.training.checkpointing import Keeper
from imbalance_study.training.distributed import group
from imbalance_study.training.loop import Fit, Keep, no_keep

# Packages whose version decides about the last digit.
_PACKAGES = ("torch", "torchvision", "numpy")


def versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"imbalance_study": __version__} | found


def keeping(
    keeper: Keeper | None, config: Config, facts: dict[str, Any]
) -> Callable[[Fit | None], Keep]:
    """What `fit` calls after each epoch, for each stage: of the first it is told the result."""

    def keep_all(before: Fit | None) -> Keep:
        stage1 = {} if before is None else snapshot.encode_fit(before)

        def keep(state: Callable[[], snapshot.Snapshot], then: Callable[[], None]) -> None:
            taken = state()
            if keeper is None:  # one of several processes; the first one writes for all
                then()
                return
            content = {
                "config": build.as_dict(config),
                "facts": facts,
                "versions": versions(),
                "fit": taken,
                "stage1": stage1,
            }
            keeper.save(taken["history"][-1]["epoch"], content, then)

        return keep

    if keeper is None and group().size == 1:
        return lambda before: no_keep
    return keep_all


def begun(state: dict[str, Any]) -> tuple[snapshot.Snapshot, Fit | None]:
    """The state of the stage that a checkpoint was taken in, and the stage before it."""
    return state["fit"], snapshot.decode_fit(state["stage1"]) if state["stage1"] else None


def check(state: dict[str, Any] | None, facts: dict[str, Any]) -> None:
    """See that a run would go on as it began: same data, versions, device, processes.

    Raises:
        ValueError: Something differs; says what, and what to do.
    """
    if state is None:
        return
    for name, version in state["versions"].items():
        if version != versions().get(name):
            raise ValueError(
                f"the run began with {name} {version}, here is {versions().get(name)}; install "
                "that version, or train the run again"
            )
    before, now = (found["fingerprint"]["fingerprint"] for found in (state["facts"], facts))
    if before != now:
        raise ValueError(
            f"the data have changed since the run began (fingerprint {before}, now {now}); bring "
            "them back, or train the run again"
        )
    for name, found in {
        "device": facts["device"],
        "precision": facts["precision"],
    }.items():
        if state["facts"][name] != found:
            raise ValueError(
                f"the run began with {name}={state['facts'][name]}, and here it would be {found}; "
                "go on where it began, or train it again"
            )
    if state["facts"]["processes"] != facts["processes"]:
        raise ValueError(
            f"the run began with {state['facts']['processes']} processes, here are "
            f"{facts['processes']}; start as many by torchrun"
        )


@contextlib.contextmanager
def same_threads(state: dict[str, Any] | None) -> Iterator[None]:
    """Compute with as many threads as before: on a processor sums depend on them."""
    before = torch.get_num_threads()
    if state is not None:
        torch.set_num_threads(state["facts"]["threads"])
    try:
        yield
    finally:
        torch.set_num_threads(before)
