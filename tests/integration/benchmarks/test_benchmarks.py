"""The scripts that make the tables: they run, go on where they stopped, and count rightly."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imbalance_study.config import resolve
from imbalance_study.experiment.run import run

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

import frozen_backbones  # noqa: E402
import halved  # noqa: E402
import head_remedies  # noqa: E402
import long_tail  # noqa: E402
import lr_grid  # noqa: E402
import paper_table  # noqa: E402
import remedies  # noqa: E402
import store  # noqa: E402
import tables  # noqa: E402
import where_time_goes  # noqa: E402

QUICK = [
    *("--seeds", "1", "--epochs", "1", "--model", "resnet20", "--device", "cpu"),
    *("--set", "dataset=digits", "--set", "steps_per_epoch=2", "--set", "batch_size=16"),
    *("--set", "image_size=8"),
]


def _row(name, seed, accuracy):
    metrics = {
        "test_last/accuracy": accuracy,
        "test_last/balanced_accuracy": accuracy,
        "train/steps": 2.0,
    }
    return {"name": name, "seed": seed, "metrics": metrics, "seconds": 3.0}


def test_the_paper_table_is_made_once_and_then_read(tmp_path, capsys):
    out = tmp_path / "table.jsonl"
    words = [*QUICK, "--recipes", "paper_crt|paper_ce", "--out", str(out), "--jpeg_copy"]
    assert paper_table.main(words) == 0
    rows = store.read(out)
    assert [row["name"] for row in rows] == ["paper_ce", "paper_crt"]  # cross-entropy first
    assert [row["config"]["stage2"] for row in rows] == ["none", "crt:epochs=1"]
    assert all(row["metrics"]["train/steps"] in (2, 4) for row in rows)
    page = capsys.readouterr().out
    assert "0 of 2 runs are in" in page
    accuracy = f"{100 * rows[0]['metrics']['test_last/accuracy']:.2f}"
    assert f"| paper_ce | 70.4 to 72.0 | Cao et al. 2019 quote 70.36, Bag of Tricks-LT code " \
           f"measures 71.95 | {accuracy} |" in page  # fmt: skip
    assert f"| {paper_table.POSTHOC} | 77.3 | Menon et al. 2021, tau 1 | " in page
    assert "posthoc/tau1_accuracy" in rows[0]["metrics"]
    for words_of_a_note in (
        "JPEG copy",
        "Hardware: ",
        "torch ",
        "not the papers' model",
        "a trial",
    ):
        assert words_of_a_note.lower() in page.lower()
    assert page.endswith(out.with_suffix(".md").read_text())

    before = out.read_text()
    paper_table.main(words)
    assert "2 of 2 runs are in" in capsys.readouterr().out
    assert out.read_text() == before

    out.write_text(before[:-40])  # as a crash leaves it
    paper_table.main(words)
    assert "1 of 2 runs are in" in capsys.readouterr().out
    again = store.read(out)
    assert again[0] == rows[0]
    assert [row["name"] for row in again] == ["paper_ce", "paper_crt"]
    assert again[1]["metrics"]["test/loss"] == rows[1]["metrics"]["test/loss"]

    paper_table.main([*words, "--summary", "--data_dir", str(tmp_path / "nowhere")])
    assert f"| {accuracy} |" in capsys.readouterr().out


def test_the_remedies_are_compared_at_equal_updates_in_a_table(tmp_path, capsys):
    out = tmp_path / "remedies.jsonl"
    words = [*QUICK, "--out", str(out)]
    assert remedies.main(words) == 0
    rows = store.read(out)
    assert [row["name"] for row in rows] == list(remedies.REMEDIES)
    assert {row["metrics"]["train/steps"] for row in rows} == {2.0}
    assert len({row["data"] for row in rows}) == 1  # the same images
    page = capsys.readouterr().out
    assert "| ldam_drw | " in page
    assert "no test: 3 seeds are needed, there is 1" in page
    remedies.main(words)
    assert "4 of 4 runs are in" in capsys.readouterr().out
    assert store.read(out) == rows


@pytest.mark.slow
def test_runs_at_a_time_in_processes_of_their_own(tmp_path):
    out = tmp_path / "table.jsonl"
    words = [*QUICK, "--recipes", "paper_ce|paper_drw", "--parallel", "2", "--out", str(out)]
    script = [sys.executable, str(BENCHMARKS / "paper_table.py"), *words]
    found = subprocess.run(script, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    rows = store.read(out)
    assert sorted(row["name"] for row in rows) == ["paper_ce", "paper_drw"]
    assert {row["parallel"] for row in rows} == {2}


def test_a_failing_run_is_told_and_leaves_no_row(tmp_path, capsys):
    out = tmp_path / "table.jsonl"
    words = [*QUICK, "--recipes", "paper_ce", "--out", str(out), "--set", "resample=smote:k=500"]
    with pytest.raises(ValueError, match="1 of 1 runs failed"):
        paper_table.main(words)
    assert "paper_ce seed 0: failed: smote:k=500 needs at least 501 " in capsys.readouterr().out
    assert store.read(out) == []


def test_rows_survive_a_line_that_was_cut_off(tmp_path):
    out = tmp_path / "rows.jsonl"
    store.append(out, {"knobs": "a"})
    with out.open("a") as file:
        file.write('{"knobs": "b", "metr')
    store.append(out, {"knobs": "c"})
    store.append(out, {"knobs": "d"})
    assert [row["knobs"] for row in store.read(out)] == ["a", "c", "d"]
    assert json.loads(out.read_text().splitlines()[-1]) == {"knobs": "d"}
    assert store.read(tmp_path / "none.jsonl") == []


def test_a_run_is_known_by_what_bears_on_its_result():
    def known_by(**values):
        return store.options_of(
            resolve.make(**{"dataset": "digits", "recipe": "paper_ce"} | values)
        )

    assert known_by() == known_by(
        data_dir="elsewhere", device="cpu", run_name="mine", analyses="all"
    )
    others = [known_by(**values) for values in ({"seed": 1}, {"lr": 0.2}, {"data_seed": 1})]
    assert len({known_by(), *others}) == 4


def test_the_gap_of_cross_entropy_is_taken_off_the_other_differences():
    rows = [
        _row("paper_ce", 0, 0.690), _row("paper_ce", 1, 0.6972),  # 1 below 70.36
        _row("paper_sigmoid_focal", 0, 0.7010),  # 1.5 below 71.6
        _row("paper_ldam_drw", 0, 0.774),  # inside 77.0 to 77.8
        _row("paper_cb_sigmoid", 0, 0.75),  # nothing reported
        _row("strong, ratio 100", 0, 0.8958), _row("strong, ratio 50", 0, 0.9),
    ]  # fmt: skip
    rows[0]["metrics"] |= {"posthoc/tau1_accuracy": 0.77, "posthoc/tau1_balanced_accuracy": 0.76}
    page = paper_table.table(rows, [row["name"] for row in rows] + ["paper_crt"])
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ")[3:] for line in page.splitlines()}
    assert lines["paper_ce"] == ["69.36 ± 0.51", "69.36 ± 0.51", "-1.00", "", "2", "3 |"]
    assert lines[paper_table.POSTHOC] == ["77.00", "76.00", "-0.30", "+0.70", "1", "3 |"]
    assert lines["paper_sigmoid_focal"] == ["70.10", "70.10", "-1.50", "-0.50", "1", "3 |"]
    assert lines["paper_ldam_drw"][2:4] == ["+0.00", "+1.00"]
    assert lines["paper_cb_sigmoid"][2:4] == ["", ""]
    assert lines["strong, ratio 100"][2:4] == ["+0.00", ""]
    assert lines["strong, ratio 50"][2:4] == ["", ""]
    assert lines["paper_crt"] == ["–", "–", "", "", "0", "– |"]


def test_a_remedy_is_compared_seed_by_seed():
    rows = [_row("cross_entropy", seed, value) for seed, value in enumerate((0.4, 0.5, 0.6))]
    rows += [_row("balanced_softmax", seed, value) for seed, value in enumerate((0.5, 0.6, 0.73))]
    rows += [_row("ldam_drw", seed, value) for seed, value in enumerate((0.5, 0.4, 0.6))]
    lines = remedies.table(rows).splitlines()[2:]
    # Differences 10, 10, 13: t = 11 / (sqrt(3) / sqrt(3)) = 11, p = .00816, doubled by Holm.
    assert lines[1] == (
        "| balanced_softmax | 50.00, 60.00, 73.00 | +11.00 | +6.70 to +15.30 | 0.016 | better "
        "| 2 | 3 |"
    )
    # Differences 10, -10, 0: mean 0, deviation 10, times 4.62 for three seeds and two tests.
    assert lines[2] == (
        "| ldam_drw | 50.00, 40.00, 60.00 | +0.00 | -24.84 to +24.84 | 1.00 "
        "| no difference shown (80 % power from 46.2) | 2 | 3 |"
    )
    assert len(lines) == 3  # logit_adjusted has no runs


def test_the_long_tail_table_has_reported_and_ours_side_by_side(tmp_path, capsys):
    out = tmp_path / "long_tail.jsonl"
    quick = [*QUICK[:-6], *QUICK[-6:], "--set", "image_size=16"]
    words = [*quick, "--out", str(out), "--methods", "cross_entropy|balanced_softmax"]
    assert long_tail.main(words) == 0
    assert str(tmp_path) not in out.read_text()  # it is kept beside the code
    page = capsys.readouterr().out
    assert "| 70.4 to 72.0 |" in page
    assert "2 of 2 runs are finished" in page
    assert [row["threads"] for row in store.read(out)] == [torch.get_num_threads()] * 2


def test_the_long_tail_table_has_a_seed_of_all_methods_before_the_next():
    options = argparse.Namespace(
        seeds=2, epochs=0, parallel=1, data_dir="data", device="cpu", model="", set=[]
    )
    jobs = long_tail.jobs_of(list(long_tail.METHODS), options)
    assert [job.name for job in jobs] == [*long_tail.METHODS] * 2
    assert {job.config.epochs for job in jobs} == {30}
    assert {job.config.model for job in jobs} == {"resnet20"}
    assert {job.config.validation for job in jobs} == {"none"}
    assert len({store.options_of(job.config) for job in jobs}) == len(jobs)
    with pytest.raises(ValueError, match="unknown method 'cmo'; known: cross_entropy"):
        long_tail.jobs_of(["cmo"], options)


def test_the_kept_runs_of_the_long_tail_are_those_of_the_command():
    """Else the same command would train them again."""
    options = argparse.Namespace(
        seeds=3, epochs=0, parallel=1, data_dir="data", device="cpu", model="", set=[]
    )
    jobs = long_tail.jobs_of(list(long_tail.METHODS), options)
    known = {(job.name, job.config.seed): store.options_of(job.config) for job in jobs}
    rows = store.read(BENCHMARKS.parent / "results" / "long_tail_cifar10.jsonl")
    assert all(known[row["name"], row["seed"]] == row["knobs"] for row in rows)


def test_every_published_figure_belongs_to_a_recipe_and_cross_entropy_is_first():
    assert set(paper_table.REPORTED) <= {*paper_table.PAPERS, "strong", paper_table.POSTHOC}
    jobs = paper_table.jobs_of([*paper_table.PAPERS, "strong"], 3, {}, 0)
    assert [job.name for job in jobs[:3]] == ["paper_ce"] * 3
    assert [job.config.seed for job in jobs[:3]] == [0, 1, 2]
    assert len(jobs) == 3 * (len(paper_table.PAPERS) + 3)
    ratios = [job.config.imbalance for job in jobs if job.name.startswith("strong")]
    assert ratios == [f"exponential:ratio={ratio}" for ratio in (100, 50, 10) for _ in range(3)]
    assert {job.config.model for job in jobs} == {"resnet32", "resnet34", "resnet18"}
    crt = next(job for job in jobs if job.name == "paper_crt")
    assert (crt.config.epochs, crt.config.stage2) == (200, "crt:epochs=10")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipes", "paper"], "unknown recipe 'paper'; known: paper_ce"),
        (["--seeds", "0"], "seeds must be at least 1, got 0"),
        (["--set", "lr"], "set takes KNOB=VALUE, got 'lr'"),
        (["--set", "lr=x"], "lr must be a number or 'auto', got 'x'"),
        (["--parallel", "0"], "parallel must be at least 1, got 0"),
    ],
)
def test_a_typing_mistake_is_one_line(words, message, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["paper_table.py", *words])
    assert store.guarded(paper_table.main) == 1
    output = capsys.readouterr()
    assert output.err.startswith(f"Error: {message}")
    assert output.err.count("\n") == 1


@pytest.mark.slow
def test_operations_fall_into_kinds_and_their_shares_add_up(capsys, tmp_path):
    assert where_time_goes.kind_of("aten::convolution_backward") == "convolutions, backwards"
    assert where_time_goes.kind_of("aten::native_batch_norm_backward") == "batch norm"
    assert where_time_goes.kind_of("aten::silu_") == where_time_goes.OTHER
    words = ["--models", "resnet20", "--steps", "2", "--out", str(tmp_path / "found.json")]
    assert where_time_goes.main(words) == 0
    (found,) = json.loads((tmp_path / "found.json").read_text())["models"]
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["shares"]["convolutions, backwards"] > 0.05
    assert found["step_ms"] > 0
    assert "| milliseconds a step of 128 images |" in capsys.readouterr().out


def test_the_deviation_is_that_of_a_sample():
    assert tables.mean_and_deviation([70.0, 71.0, 72.0]) == "71.00 ± 1.00"
    assert tables.mean_and_deviation([70.0]) == "70.00"
    assert tables.mean_and_deviation([]) == "–"


def test_the_halved_table_trains_each_row_once_and_says_what_is_beyond_the_gap(tmp_path, capsys):
    jobs = halved.jobs_of(2, {}, 0)
    assert len(jobs) == 2 * len(halved.LINES) == 18
    assert len({store.options_of(job.config) for job in jobs}) == 16  # one row is another's, too
    counts = "explicit:counts=4900/4900/2450/4900/2450/4900/4900/4900/4900/2450"
    assert {job.config.imbalance for job in jobs} == {counts}
    rows = [
        {"name": name, "metrics": {"test/macro_f1": value, "test/accuracy": 0.9}, "seconds": 2.0}
        for name, value in ((halved.UNBALANCED, 0.8553), ("oversampling", 0.8492))
    ]
    lines = halved.table(rows).splitlines()
    assert "| without balancing | 86.53 | 85.53 | -1.00 |  | 90.00 | 1 | 2 |" in lines
    assert "| oversampling | 83.92 | 84.92 | +1.00 | +2.00 | 90.00 | 1 | 2 |" in lines
    with pytest.raises(ValueError, match="budget must be at least 0, got -1"):
        halved.jobs_of(1, {}, -1)


def test_the_grid_names_its_best_rate_and_the_factor_to_the_suggestion():
    rows = [
        {
            "name": "resnet20, sgd",
            "config": {"lr": lr},
            "metrics": {"selected_val/balanced_accuracy": value},
        }
        for lr, value in ((0.01, 0.3), (0.1, 0.5), (1.0, 0.2))
    ]
    found = lr_grid.line(("resnet20", "sgd"), rows, 0.02)
    assert found[2:] == ["0.01: 30.0, 0.1: 50.0, 1: 20.0", "0.1", "0.02", "5.0", "no"]
    assert lr_grid.line(("resnet20", "sgd"), rows, 0.2)[-2:] == ["2.0", "yes"]


def test_backbones_whose_weights_cannot_be_had_are_not_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    words = ["--out", str(tmp_path / "table.jsonl"), "--device", "cpu", "--summary"]
    assert frozen_backbones.main(words) == 0
    said = capsys.readouterr().out
    reported = "| mobilenet_v2 | 78.71 | 1,064 | not measured | not measured | not measured |"
    assert reported in said
    assert said.count("is not measured: the ImageNet weights of") == 3
    assert "| efficientnet_lite0 | – | – | not measured |" in said


@pytest.mark.slow
def test_backbones_with_weights_are_measured_once_and_a_file_serves_its_model(
    tmp_path, monkeypatch, capsys
):
    from torchvision.models import mobilenet_v2

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with torch.random.fork_rng(devices=[]):
        torch.save(mobilenet_v2().state_dict(), tmp_path / "weights.pt")
    words = ["--out", str(tmp_path / "table.jsonl"), "--device", "cpu", "--seeds", "1"]
    words += ["--set", "dataset=digits", "--set", "image_size=32", "--epochs", "1"]
    words += ["--weights", f"mobilenet_v2={tmp_path / 'weights.pt'}"]
    assert frozen_backbones.main(words) == 0
    rows = store.read(tmp_path / "table.jsonl")
    assert {row["name"] for row in rows} == {"mobilenet_v2", "efficientnet_lite0"}
    assert frozen_backbones.main(words) == 0
    assert store.read(tmp_path / "table.jsonl") == rows
    assert "2 of 2 runs are in" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--weights names resnet18, which is none of vgg16"):
        frozen_backbones.main([*words, "--weights", "resnet18=x.pt"])


@pytest.mark.slow
@pytest.mark.usefixtures("own_place")
def test_remedies_for_the_head_are_compared_and_their_cost_on_images_is_told(tmp_path, capsys):
    small = {"dataset": "digits", "model": "resnet20", "image_size": 8, "analyses": "none"}
    made = run(resolve.make(**small, epochs=1, steps_per_epoch=1), output_dir=tmp_path,
               show_progress=False, draw=False)  # fmt: skip
    words = [*QUICK, "--set", f"weights={made.checkpoints['best']}", "--set", "image_size=8",
             "--set", "validation=stratified:fraction=0.2",
             "--out", str(tmp_path / "table.jsonl")]  # fmt: skip
    assert head_remedies.main(words) == 0
    page = capsys.readouterr().out
    for name in ("cross_entropy", "smote on features", "re-trained head"):
        assert f"| {name}" in page
    assert "The 13 runs of the comparison took" in page
    assert "times as long." in page
