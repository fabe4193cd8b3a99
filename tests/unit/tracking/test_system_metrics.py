import time

from imbalance_study.tracking import system_metrics
from imbalance_study.tracking.journal import Journal


def _wait_for_steps(journal, count):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        entries = [entry for entry in journal.entries() if entry.op == "metrics"]
        if len(entries) >= count:
            return entries
        time.sleep(0.05)
    raise AssertionError(f"no {count} samples within a minute")


def test_samples_are_recorded_at_rising_steps_while_the_context_is_open(tmp_path, monkeypatch):
    monkeypatch.setattr(system_metrics, "INTERVAL", 0.1)
    journal = Journal(tmp_path / "one")
    with system_metrics.SystemMetrics(journal):
        entries = _wait_for_steps(journal, 3)
    assert [entry.content["step"] for entry in entries[:3]] == [0, 1, 2]
    for entry in entries:
        names = entry.content["values"].keys()
        assert "system/cpu_utilization_percentage" in names
        assert all(name.startswith("system/") for name in names)
    count = len(journal.entries())
    time.sleep(0.3)
    assert len(journal.entries()) == count


def test_a_resumed_run_goes_on_after_its_last_step(tmp_path, monkeypatch):
    monkeypatch.setattr(system_metrics, "INTERVAL", 0.1)
    journal = Journal(tmp_path / "one")
    journal.metrics({"system/cpu_utilization_percentage": 1.0}, 7)
    with system_metrics.SystemMetrics(journal):
        entries = _wait_for_steps(journal, 2)
    assert entries[1].content["step"] == 8


def test_samples_of_a_run_that_ends_early_are_not_recorded(own_place, tmp_path, monkeypatch):
    monkeypatch.setattr("imbalance_study.tracking.system_metrics.INTERVAL", 0.05)
    journal = Journal(tmp_path / "one")
    with system_metrics.SystemMetrics(journal, after=60):
        time.sleep(0.5)
    assert journal.pending() == []


def test_the_first_samples_of_a_long_run_are_recorded_with_their_times(tmp_path, monkeypatch):
    monkeypatch.setattr("imbalance_study.tracking.system_metrics.INTERVAL", 0.05)
    journal = Journal(tmp_path / "one")
    with system_metrics.SystemMetrics(journal, after=0.5):
        until = time.monotonic() + 30
        while len(journal.pending()) < 3:
            assert time.monotonic() < until
            time.sleep(0.05)
    contents = [entry.content for entry in journal.pending()]
    assert [content["step"] for content in contents] == list(range(len(contents)))
    times = [content["time"] for content in contents]
    assert times == sorted(set(times))
