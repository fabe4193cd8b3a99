"""Two processes train as one does with the same batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from imbalance_study.config.resolve import make
from imbalance_study.experiment.run import run
from imbalance_study.training import distributed
from imbalance_study.training.distributed import Group

# No batch norm: its statistics are those of a process.
NET = """
import os, signal
from torch import nn

class Failing(nn.Module):
    steps = 0

    def forward(self, images):
        how = os.environ.get("FAIL", "") if os.environ.get("RANK") == "1" and self.training else ""
        Failing.steps += bool(how)
        if how and Failing.steps == 20:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError("what it failed of")
        return images

def plain(num_classes):
    body = nn.Conv2d(3, 8, 3, stride=2), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(Failing(), *body, nn.Linear(8, num_classes))
"""
WORKER = """
import json, sys, tempfile
from pathlib import Path
from imbalance_study.experiment.run import assist, run
from imbalance_study.config.resolve import make
from imbalance_study.training import distributed

found = {}
for name, options in json.loads(Path(sys.argv[1]).read_text()).items():
    with distributed.joined("cpu") as group, tempfile.TemporaryDirectory() as folder:
        if group.rank:
            assist(make(**options))
        else:
            result = run(make(**options), output_dir=Path(folder), show_progress=False)
            found[name] = [epoch.metrics for epoch in result.history]
if found:
    Path(sys.argv[2]).write_text(json.dumps(found))
"""
SMALL = {
    "dataset": "digits",
    "model": "own.net:plain",
    "image_size": 8,
    "epochs": 2,
    "batch_size": 101,
    "analyses": "none",
    "device": "cpu",
}
CASES = {
    "weights and mixup": {"class_weights": "balanced", "mix": "mixup", "augment": "crop+flip"},
    "sam, hard examples, clipping": {
        "optimizer": "sgd:sam=0.05",
        "hard_fraction": 0.3,
        "grad_clip": 0.5,
        "steps_per_epoch": 6,
        "sampler": "error_driven",
    },
    "a second stage": {
        "epochs": 1,
        "stage2": "lws:epochs=1",
        "ema": "true",
        "defer": 0.5,
        "class_weights": "effective",
    },
}


def _torchrun(folder, *words, **environment):
    """Two processes; exit status and what they said."""
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "net.py").write_text(NET)
    names = {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[3])])}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, *map(str, words)],
        cwd=folder,
        env=os.environ | names | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_two_processes_follow_one_with_the_same_batches(tmp_path, monkeypatch):
    (tmp_path / "worker.py").write_text(WORKER)
    cases = {name: SMALL | options for name, options in CASES.items()}
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    status, said = _torchrun(tmp_path, "worker.py", "cases.json", "found.json")
    assert status == 0, said
    found = json.loads((tmp_path / "found.json").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, options in cases.items():
        alone = run(make(**options), output_dir=tmp_path / "out", show_progress=False)
        assert len(alone.history) == len(found[name])
        for epoch, shared in zip(alone.history, found[name], strict=True):
            for metric, value in epoch.metrics.items():
                if metric.endswith("loss"):
                    assert shared[metric] == pytest.approx(value, rel=1e-5), (name, metric)
            for metric in ("train/images_seen", "train/accuracy", "val/accuracy", "train/lr"):
                assert shared[metric] == pytest.approx(epoch.metrics[metric]), (name, metric)


def test_a_process_has_its_part_of_every_batch():
    for size in (1, 2, 3, 5):
        for count in (5, 7, 10):
            rows = torch.arange(count)
            parts = [rows[Group(rank, size).part(count)] for rank in range(size)]
            assert torch.equal(torch.cat(parts), rows)
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone_there_is_nobody_to_talk_to(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.joined("mps") as group, distributed.report_peer_failure():
        assert group == distributed.ALONE == distributed.group()
    values = torch.ones(3)
    assert group.sum(values) is values
    assert group.gather(values, 3) is values
    assert group.own("dropout") == "dropout" != Group(1, 2).own("dropout")


def test_what_several_processes_cannot_do_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="torchrun needs device=cuda or cpu, got device=mps"):
        distributed.joined("mps").__enter__()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ValueError, match=r"at least 2 processes on a machine with 1 GPUs"):
        distributed.joined("cuda").__enter__()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"), [("raise", "process 1: what it failed of"), ("kill", "it was killed")]
)
def test_a_process_that_fails_takes_all_down_the_run_says_failed_and_can_go_on(
    tmp_path, monkeypatch, how, message
):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    options = SMALL | {"epochs": 5, "mix": "mixup", "system_metrics": "false"}
    words = ["-m", "imbalance_study", "train", *(f"--{key}={options[key]}" for key in options)]
    cache = {"IMBALANCE_STUDY_CACHE": str(tmp_path / "cache")}
    status, said = _torchrun(tmp_path, *words, f"--tracking_uri={store}", FAIL=how, **cache)
    assert status != 0
    client = MlflowClient(store)
    (experiment_id,) = [
        one.experiment_id for one in client.search_experiments() if one.name == "Default"
    ]
    (record,) = client.search_runs([experiment_id])
    assert record.info.status == "FAILED", said
    assert message in record.data.tags["mlflow.note.content"]
    assert "another process of torchrun failed" in said
    if how == "raise":
        words = ["-m", "imbalance_study", "resume", record.info.run_id]
        status, said = _torchrun(tmp_path, *words, **cache)
        assert status == 0, said
        monkeypatch.syspath_prepend(str(tmp_path))
        alone = run(make(**options), output_dir=tmp_path / "out", show_progress=False)
        (record,) = client.search_runs([experiment_id])
        assert record.info.status == "FINISHED"
        found = client.get_metric_history(record.info.run_id, "train/loss")
        assert [one.step for one in found] == [1, 2, 3, 4, 5]
        losses = [epoch.metrics["train/loss"] for epoch in alone.history]
        assert [one.value for one in found] == pytest.approx(losses, rel=1e-5)
