import time

import pytest
from mlflow.exceptions import MlflowException

from imbalance_study.tracking import outage, store


def test_what_is_asked_of_a_store_waits_for_it_and_then_gives_up(monkeypatch, capsys):
    monkeypatch.setattr(outage, "_INTERVAL", 0.05)
    answers = iter([False, False, True])
    monkeypatch.setattr(outage, "_is_reachable", lambda: next(answers))
    calls = []

    def call():
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise MlflowException("connection refused")
        return "found"

    assert outage.retry_while_unreachable(call, 5) == "found"
    assert capsys.readouterr().err.count("does not answer") == 1
    monkeypatch.setattr(outage, "_is_reachable", lambda: False)
    calls.clear()
    with pytest.raises(ValueError, match="the same command again"):
        outage.retry_while_unreachable(call, 0.2)


def test_what_a_store_refuses_is_not_waited_for(empty_store, capsys):
    store.connect(empty_store)
    with pytest.raises(MlflowException, match="not found"):
        outage.PatientClient().get_run("0" * 32)
    assert not capsys.readouterr().err
