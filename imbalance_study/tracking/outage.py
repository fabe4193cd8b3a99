"""Calls to MLflow that outlast a store which does not answer for a while."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from imbalance_study.tracking import store

# Seconds to wait for a store that went away, and between two attempts to reach it.
PATIENCE = 600.0
_INTERVAL = 2.0
# Errors of a call to a store that does not answer.
_UNREACHABLE = (MlflowException, requests.RequestException, OSError)

T = TypeVar("T")
P = ParamSpec("P")


def retry_while_unreachable(call: Callable[[], T], patience: float = PATIENCE) -> T:
    """Call; if the store does not answer, say so, wait until it does, and call again.

    Args:
        call: Must be safe to repeat: only the answer to the first attempt may have been lost.
        patience: Seconds to wait.

    Raises:
        ValueError: The store did not answer for `patience` seconds.
        Exception: Raised by `call` although the store answers.
    """
    repeated = False
    while True:
        try:
            return call()
        except _UNREACHABLE:
            reachable = _is_reachable()
            if repeated and reachable:
                raise
            if not reachable:
                _wait(patience)
            repeated = True


def _wait(patience: float) -> None:
    shown = store.without_password(mlflow.get_tracking_uri())
    line = f"MLflow at {shown} does not answer; waiting at most {patience:.0f} seconds for it"
    print(line, file=sys.stderr, flush=True)
    until = time.monotonic() + patience
    while time.monotonic() < until:
        time.sleep(min(_INTERVAL, patience))
        if _is_reachable():
            return
    raise ValueError(
        f"MLflow at {shown} has not answered for {patience:.0f} seconds; once it is back, run "
        "imbalance-study sync and the same command again: finished runs are not repeated"
    )


def _is_reachable() -> bool:
    try:
        MlflowClient().search_experiments(max_results=1)
    except _UNREACHABLE:
        return False
    return True


def _patient(method: Callable[P, T]) -> Callable[P, T]:
    """Wrap a method of the client in `retry_while_unreachable`."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return retry_while_unreachable(lambda: method(*args, **kwargs))

    return call


class PatientClient(MlflowClient):  # type: ignore[misc]
    """A client that waits for its store; it covers reads, and writes that are safe to repeat."""

    get_experiment = _patient(MlflowClient.get_experiment)
    get_run = _patient(MlflowClient.get_run)
    search_runs = _patient(MlflowClient.search_runs)
    get_metric_history = _patient(MlflowClient.get_metric_history)
    list_artifacts = _patient(MlflowClient.list_artifacts)
    download_artifacts = _patient(MlflowClient.download_artifacts)
    set_tag = _patient(MlflowClient.set_tag)
    set_experiment_tag = _patient(MlflowClient.set_experiment_tag)
    set_terminated = _patient(MlflowClient.set_terminated)
    log_metric = _patient(MlflowClient.log_metric)
