import time

import pytest
import torch

from imbalance_study.experiment import energy
from imbalance_study.experiment.energy import Counter, Meter

CPU = torch.device("cpu")


@pytest.fixture
def powercap(tmp_path):
    """A folder as Linux has it: a package, a part of it, and another package."""
    for name, joules in (("intel-rapl:0", 5), ("intel-rapl:0:0", 1), ("intel-rapl:1", 7)):
        domain = tmp_path / name
        domain.mkdir()
        (domain / "energy_uj").write_text(f"{joules * 10**6}\n")
        (domain / "max_energy_range_uj").write_text("262143000000\n")
    (tmp_path / "dtpm").mkdir()
    return tmp_path


def test_the_packages_of_processors_are_read_and_their_parts_are_not(powercap):
    counters = energy.rapl(powercap)
    assert [counter.read() for counter in counters] == [5.0, 7.0]
    assert {counter.limit for counter in counters} == {262_143.0}
    (powercap / "intel-rapl:1" / "energy_uj").write_text("8000000\n")
    assert counters[1].read() == 8.0


def test_what_cannot_be_read_is_no_counter(powercap):
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    (powercap / "intel-rapl:1" / "energy_uj").write_text("nonsense")
    assert energy.rapl(powercap) == []
    assert energy.rapl(powercap / "missing") == []


def test_a_processor_has_no_counter_of_a_gpu():
    assert energy.nvml(CPU) == []


def counting(*values, limit=0.0):
    """A counter that shows one value after the other, and stays at the last."""
    left = list(values)
    return Counter(lambda: left.pop(0) if len(left) > 1 else left[0], limit)


def test_the_energy_of_all_counters_is_added_up_in_kilowatt_hours():
    with Meter([counting(100.0, 3.6e6 + 100), counting(0.0, 1.8e6)]) as meter:
        pass
    assert meter.kwh == pytest.approx(1.5)


def test_a_counter_that_starts_anew_goes_on_from_its_limit():
    with Meter([counting(900.0, 100.0, limit=1000.0)]) as meter:
        pass
    assert meter.kwh == pytest.approx(200 / 3.6e6)


def test_a_long_training_is_looked_at_again_and_again():
    left = [float(value % 1000) for value in range(600, 12_600, 600)]
    counter = Counter(lambda: left.pop(0) if len(left) > 1 else left[0], 1000.0)
    with Meter([counter], interval=0.001) as meter:
        end = time.monotonic() + 10
        while len(left) > 1 and time.monotonic() < end:
            time.sleep(0.005)
    assert meter.kwh == pytest.approx(19 * 600 / 3.6e6)  # eleven times around


def test_without_a_counter_or_with_one_that_goes_away_the_energy_is_unknown():
    with Meter([]) as meter:
        pass
    assert meter.kwh is None
    assert energy.spent(meter, CPU) == {}

    values = iter([1.0])
    with Meter([Counter(lambda: next(values), 0.0)]) as meter:
        pass
    assert meter.kwh is None


def test_what_was_spent_is_a_metric():
    with Meter([counting(0.0, 7.2e6)]) as meter:
        pass
    assert energy.spent(meter, CPU) == {"cost/train_kwh": pytest.approx(2.0)}
