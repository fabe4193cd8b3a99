"""The speed benchmark works; how fast anything is, no test says."""

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

import against_naive  # noqa: E402
import ours  # noqa: E402
import run  # noqa: E402
import speed  # noqa: E402
import turns  # noqa: E402
from waiting_training import works_for  # noqa: E402


def bench(tmp_path):
    return speed.Bench("", 1, 1, tmp_path)


@pytest.mark.slow
def test_rows_are_measured_on_noise_and_written(tmp_path, capsys):
    out = tmp_path / "performance.json"
    words = f"--full --windows 1 --steps 1 --only P4,P9,P10,P3 --out {out}".split()
    assert run.main(words) == 0
    rows = {row["figure"]: row for row in json.loads(out.read_text())["rows"]}
    assert set(rows) == {"P3", "P4", "P9", "P10"}
    assert rows["P4"]["median"] > 0
    assert 0 < rows["P9"]["median"] < 1
    assert rows["P3"]["verdict"] == "not measured: no folder flowers in data_dir"
    if rows["P10"]["device"] == "cpu":
        assert rows["P10"]["verdict"] == "not measured: needs a GPU"
    assert "median (range)" in capsys.readouterr().out


@pytest.mark.slow
def test_our_loop_and_the_naive_one_lose_alike_on_the_same_images(tmp_path):
    assert against_naive.first_losses(bench(tmp_path), updates=5)[0] < 1e-4


@pytest.mark.slow
def test_another_order_of_images_is_seen_in_the_losses(tmp_path, monkeypatch):
    class Backwards(against_naive.naive.Naive):
        def __init__(self, *arguments, order, **options):
            super().__init__(*arguments, order=order[::-1], **options)

    monkeypatch.setattr(against_naive.naive, "Naive", Backwards)
    assert against_naive.first_losses(bench(tmp_path), updates=5)[0] > 1e-3


@pytest.mark.slow
def test_the_naive_loop_trains_in_a_process_of_its_own_which_ends_with_it(tmp_path):
    options = bench(tmp_path).cifar(model="resnet20")
    others = {process.pid for process in against_naive.multiprocessing.active_children()}
    with against_naive.apart(against_naive._naive_of, options) as window:
        (process,) = (
            one for one in against_naive.multiprocessing.active_children() if one.pid not in others
        )
        assert window(1) > 0
        assert window(1) > 0
    assert process.exitcode == 0


@pytest.mark.slow
def test_what_a_training_does_beside_itself_counts_in_its_own_turns_alone():
    assert 1.6 < turns.ratio(works_for, (0.2, 1.2), (0.6, 0.0), 0.1) < 2.6


@pytest.mark.slow
def test_a_training_that_fails_between_its_turns_is_told(capfd):
    others = set(turns.multiprocessing.active_children())
    with pytest.raises(RuntimeError, match="before its last epoch"):
        turns.ratio(works_for, ("much", 0.0), (0.1, 0.0), 0.1)
    assert "TypeError" in capfd.readouterr().err
    assert set(turns.multiprocessing.active_children()) <= others


@pytest.mark.slow
def test_tracking_costs_are_measured_on_trainings_of_their_own(tmp_path):
    assert 0.5 < speed.tracking(bench(tmp_path))[0] < 20


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([-5.0, 1.0, -2.0], "no difference shown (80 % power from 9.8)"),
        ([-5.0, -5.1, -4.9], run.BELOW),
        ([-0.5, -0.6, -0.4], "floor reached"),
    ],
)
def test_a_difference_of_seeds_counts_where_a_paired_t_test_shows_it(tmp_path, values, verdict):
    target = run.Target(-1.0)
    figure = run.Figure("P", "points", target, target, lambda bench: values, seeds=True)
    assert run.measured(figure, bench(tmp_path))["verdict"] == verdict


def test_windows_take_turns_and_the_first_is_left_out(tmp_path):
    options = bench(tmp_path).cifar(model="resnet20", batch_size=16)
    found = ours.windows(ours.ready(**options), 2, 1, lambda steps: 0.5)
    assert found.others == [32.0, 32.0]
    assert len(found.ours) == 2
    assert found.each[0] == pytest.approx(found.ours[0] / 32)


@pytest.mark.parametrize(
    ("value", "target", "verdict"),
    [
        (4.1, run.Target(3, 4), "aim reached"),
        (3.5, run.Target(3, 4), "floor reached"),
        (2.9, run.Target(3, 4), "BELOW THE FLOOR"),
        (5.0, run.Target(8, 5, at_most=True), "aim reached"),
        (8.1, run.Target(8, 5, at_most=True), "BELOW THE FLOOR"),
    ],
)
def test_a_verdict_knows_which_way_is_better(value, target, verdict):
    assert run.verdict(value, target) == verdict


def test_an_unknown_row_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown figure 'P99'; known: P1"):
        run.main(["--full", "--only", "P99", "--out", str(tmp_path / "x.json")])
