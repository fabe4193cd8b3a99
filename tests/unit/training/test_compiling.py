import os
import subprocess
import sys

import pytest
import torch
from tiny import TINY, words

from imbalance_study.config.resolve import make
from imbalance_study.experiment.run import run
from imbalance_study.training import compiling

SMALL = {"dataset": "digits", "model": "custom_cnn", "image_size": 16, "analyses": "none"}


@pytest.mark.slow
def test_compiled_steps_follow_plain_ones_and_a_smaller_last_batch_too(tmp_path):
    """In contiguous memory: in channels_last, torch's batch norm rounds 500 times as much."""
    options = SMALL | {"epochs": 2, "batch_size": 100, "optimizer": "sgd", "lr": 0.01}
    losses = []
    for compiled in (False, True):
        config = make(**options, memory_format="contiguous", compile=compiled)
        result = run(config, output_dir=tmp_path, show_progress=False, draw=False)
        assert result.fit.images_seen % 100  # there was a smaller batch
        losses.append([epoch.metrics["train/loss"] for epoch in result.history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": "unet", "autoencoder": "joint"}, "compile has no effect with autoencoder"),
        ({"weights": "x.pt", "freeze": "gradual"}, "compile anew for each block"),
    ],
)
def test_what_compiling_does_not_go_with_is_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        make(dataset="digits", compile=True, **options)


@pytest.mark.slow
def test_without_a_compiler_a_line_says_what_is_needed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "imbalance_study", "train", *words(TINY | {"compile": "true"})],
        env=os.environ | {"CXX": str(tmp_path / "none")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "compile=true needs a C++ compiler" in done.stderr.splitlines()[-1]


def test_each_model_of_a_process_is_compiled_not_the_first_eight_alone():
    """Torch counts by code object and then runs uncompiled without an error."""
    made = []

    def backend(graph, inputs):
        made.append(graph)
        return graph.forward

    def network(width):
        weight = torch.ones(width, 2)

        def plain(images):
            return images @ weight.T

        return torch.compile(compiling._own(plain), dynamic=False, backend=backend)

    for width in range(1, 13):
        assert network(width)(torch.ones(3, 2)).shape == (3, width)
    assert len(made) == 12


def test_on_a_gpu_a_c_compiler_is_asked_for_before_the_first_step(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="compile=true needs a C compiler on cuda, and there is"):
        compiling._check_compiler(torch.device("cuda"))
    (tmp_path / "gcc").write_text("#!/bin/sh")
    (tmp_path / "gcc").chmod(0o755)
    compiling._check_compiler(torch.device("cuda"))
