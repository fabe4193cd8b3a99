"""The kit for a GPU: its steps, their order, and that it goes on where it was stopped."""

import argparse
import json
import sys

import gpu_equality
import gpu_kit
import gpu_probe
import pytest
import run as figures
import speed
import store


def options(tmp_path, **given):
    plain = {"data_dir": "", "out": tmp_path, "seconds": 500.0, "skip": "", "rehearse": True}
    plain |= {"copy_to": None}
    return argparse.Namespace(**plain | given)


@pytest.fixture
def small_steps(monkeypatch, tmp_path):
    """Three steps, each of which notes that it ran."""
    script = tmp_path / "note.py"
    script.write_text(
        "import sys, time\n"
        "open(sys.argv[1], 'a').write(sys.argv[2] + '\\n')\n"
        "time.sleep(float(sys.argv[3])); sys.exit(int(sys.argv[4]))\n"
    )
    ran = tmp_path / "ran.txt"

    def with_steps(*steps):
        made = [
            gpu_kit.Step(name, str(script), [str(ran), name, str(seconds), str(code)], [])
            for name, seconds, code in steps
        ]
        monkeypatch.setattr(gpu_kit, "steps", lambda: made)
        monkeypatch.setattr(gpu_kit.Kit, "_words", lambda self, step: step.words)
        return lambda: ran.read_text().split() if ran.exists() else []

    return with_steps


def test_steps_that_are_done_are_not_run_again_and_one_that_fails_is(tmp_path, small_steps):
    out = tmp_path / "out"
    ran = small_steps(("first", 0, 0), ("second", 0, 3), ("third", 0, 0))
    copies = tmp_path / "copies"
    assert gpu_kit.Kit(options(tmp_path, out=out)).run() == 1
    assert gpu_kit.Kit(options(tmp_path, out=out, copy_to=copies)).run() == 1
    assert {path.name for path in copies.iterdir()} == {"kit.json", "tables.md"}
    assert ran() == ["first", "second", "third", "second"]
    assert set(json.loads((out / "kit.json").read_text())["done"]) == {"first", "third"}
    assert "| first | 0 |" in (out / "tables.md").read_text()


def test_a_step_that_outlasts_the_call_is_ended_and_goes_on_in_the_next(
    tmp_path, small_steps, monkeypatch, capfd
):
    monkeypatch.setattr(gpu_kit, "_GRACE", 0.2)
    out = tmp_path / "out"
    ran = small_steps(("long", 30, 0), ("next", 0, 0))
    assert gpu_kit.Kit(options(tmp_path, out=out, seconds=1.5)).run() == 0
    assert ran() in ([], ["long"])
    assert "goes on later" in capfd.readouterr().out
    assert json.loads((out / "kit.json").read_text())["done"] == {} if ran() == [] else True


def test_every_step_names_a_script_and_options_that_it_takes(tmp_path):
    kit = gpu_kit.Kit(options(tmp_path, data_dir="data", rehearse=False))
    (tmp_path / "probe.json").write_text(
        json.dumps({"verdict": {"resnet32": {"precision": "bf16"}}, "processes": 4})
    )
    names = [step.name for step in gpu_kit.steps()]
    assert names[:3] == ["equality", "smoke", "probe"]
    assert len(set(names)) == len(names)
    for step in gpu_kit.steps():
        assert (gpu_kit.HERE / step.script).exists()
        words = kit._words(step)
        if step.parallel and step.model == "resnet32":
            assert words[-4:] == ["--set", "precision=bf16", "--parallel", "4"]
    assert "--graph" not in kit._words(gpu_kit.steps()[2])
    kit.state["equal"] = True
    graphed = [step.name for step in gpu_kit.steps() if "--graph" in kit._words(step)]
    assert graphed == ["probe", "performance"]


def test_captured_ways_are_measured_where_they_are_proved_and_the_fastest_is_taken():
    assert "fp32, captured" not in gpu_probe.ways("cuda", graph=False)
    known = gpu_probe.ways("cuda", graph=True)
    seconds = {"fp32": [10.0], "fp32, contiguous": [9.8], "bf16": [12.0]}
    seconds |= {"fp32, captured": [4.0], "bf16, captured": [3.9]}
    assert gpu_probe.decide(seconds, known) == "fp32, captured"
    assert known["fp32, captured"]["cuda_graph"] == "true"


def test_the_cases_of_the_proof_train_and_a_difference_is_named():
    assert gpu_equality.case("deferred weights", "cpu") == ""
    one = gpu_equality.train("cpu", False, steps_per_epoch=1)
    other = gpu_equality.train("cpu", False, steps_per_epoch=1, lr=0.06)
    assert "tensors, first " in "; ".join(gpu_equality.differences(one, other))


@pytest.mark.slow
@pytest.mark.parametrize("name", [gpu_equality.RESUMED, gpu_equality.FROZEN])
def test_resuming_and_unfreezing_are_among_the_cases(name):
    assert gpu_equality.case(name, "cpu") == ""


def test_a_figure_that_fails_leaves_the_others(tmp_path, monkeypatch):
    def fails(bench):
        raise ModuleNotFoundError("No module named 'mlflow'")

    target = figures.Target(1.0)
    made = [
        figures.Figure("A", "fails", target, target, fails),
        figures.Figure("B", "works", target, target, lambda bench: [2.0]),
    ]
    monkeypatch.setattr(figures, "FIGURES", made)
    out = tmp_path / "rows.json"
    assert figures.main(["--full", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert rows[0]["verdict"] == "not measured: ModuleNotFoundError: No module named 'mlflow'"
    assert rows[1]["values"] == [2.0]
    made[1] = made[1]._replace(measure=fails)  # measured before: it is not measured again
    assert figures.main(["--full", "--resume", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["rows"][0]["values"] == [2.0]


class _Process:
    def __init__(self, exitcode):
        self.exitcode = exitcode


def test_a_process_that_dies_is_seen_and_not_waited_for(monkeypatch):
    queue = speed.multiprocessing.get_context("spawn").Queue()
    with pytest.raises(RuntimeError, match="one of the processes ended with status 137"):
        speed._answers(queue, [_Process(None), _Process(137)])
    monkeypatch.setattr(speed, "_PATIENCE", 0.0)
    with pytest.raises(RuntimeError, match="did not answer in 0 s"):
        speed._answers(queue, [_Process(None)])


def test_versions_are_told_where_this_project_is_not_installed(monkeypatch):
    def none_is(name):
        raise store.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(store.importlib.metadata, "version", none_is)
    assert "imbalance-study" in store.versions()
    assert "torch unknown" in store.versions()


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(tmp_path):
    from imbalance_study.config.resolve import resolve

    small = {
        **{"dataset": "digits", "model": "small_nets:conv", "image_size": 8, "device": "cpu"},
        **{"epochs": 3, "steps_per_epoch": 2, "analyses": "none"},
    }
    job = store.Job("small", resolve(small).config)
    whole = store.run_job(job, 1)
    asked = []

    def stop(result):
        asked.append(result.epoch)
        if result.epoch == 2:
            raise KeyboardInterrupt

    folder = tmp_path / f"{store.options_of(job.config)}-{job.config.seed}"
    with pytest.raises(KeyboardInterrupt):
        store.run(
            job.config, stop, output_dir=tmp_path, show_progress=False,
            checkpoints=store.Checkpoints(store.Keeper(folder, {})),
        )  # fmt: skip
    again = store.run_job(job, 1, tmp_path)
    assert again["metrics"]["test/loss"] == whole["metrics"]["test/loss"]
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads tar archives made here")
def test_archives_are_unpacked_where_their_folder_is_missing(tmp_path):
    import tarfile

    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "a.txt").write_text("a")
    archives, data = tmp_path / "archives", tmp_path / "data"
    archives.mkdir()
    with tarfile.open(archives / "cells.tar.xz", "w:xz") as file:
        file.add(tmp_path / "cells", "cells")
    gpu_kit.unpack(archives, data)
    (data / "cells" / "a.txt").write_text("b")
    gpu_kit.unpack(archives, data)
    assert (data / "cells" / "a.txt").read_text() == "b"


def test_rows_of_two_cards_do_not_mix(monkeypatch):
    from imbalance_study.config.resolve import make
    from imbalance_study.experiment.setup.device import DeviceSetup

    gpu = DeviceSetup(store.torch.device("cuda"), "fp32", True)
    monkeypatch.setattr(store, "resolve_device", lambda config: gpu)
    machines = set()
    for card in ("H100", "H200"):
        monkeypatch.setattr(store.torch.cuda, "get_device_name", lambda card=card: card)
        machines.add(store._identity(make(dataset="digits"))[2])
    assert machines == {"cuda/fp32/H100", "cuda/fp32/H200"}
