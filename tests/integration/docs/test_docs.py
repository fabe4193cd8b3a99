"""What docs/remedies.md shows is what the program has, and its code runs."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from imbalance_study.cli.options import given
from imbalance_study.cli.train import command
from imbalance_study.config import choices, resolve, spec
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.setup.components import bind

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "remedies.md").read_text()
AXES = {
    "loss": choices.LOSSES,
    "class_weights": choices.CLASS_WEIGHTS,
    "sampler": choices.SAMPLERS,
    "mix": choices.MIXES,
    "resample": choices.RESAMPLES,
    "tail_augment": choices.TAIL_AUGMENTS,
    "augment": choices.AUGMENTATIONS,
    "stage2": choices.STAGES,
}


def _table(text):
    """The rows between the markers, as lists of cells."""
    block = text.split("<!-- remedies -->")[1].split("<!-- /remedies -->")[0]
    lines = [line.strip("| \n") for line in block.strip().splitlines()]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines[2:]]


ROWS = _table(PAGE)


def test_the_table_has_a_row_for_each_remedy_of_the_registries_and_no_other():
    for axis, registry in AXES.items():
        names = [row[1] for row in ROWS if row[0] == axis]
        assert sorted(names) == sorted(set(registry) - {"none"})
    assert {row[0] for row in ROWS} == set(AXES)
    assert all(len(row) == 5 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_what_the_table_says_to_type_binds(row):
    axis, name, _, typed, _ = row
    option, _, value = typed.strip("`").partition("=")
    assert (option, spec.parse(value).name) == (axis, name)
    bind(resolve.make(**{option: value}))


def test_the_readme_shows_the_same_table_if_it_shows_one():
    readme = ROOT / "README.md"
    text = readme.read_text() if readme.exists() else ""
    if "<!-- remedies -->" in text:
        assert _table(text) == ROWS


def test_what_stands_beside_the_table_binds():
    items = re.findall(r"^- `([^`]+)`", PAGE, re.MULTILINE)
    assert len(items) == 7
    for item in items:
        bind(resolve.make(**dict(word.split("=", 1) for word in item.split())))
    chain = re.search(r"joined by `\+`: `augment=([^`]+)`", PAGE)
    bind(resolve.make(augment=chain[1]))


def test_the_loss_in_five_lines_trains(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.+?)```", PAGE, re.DOTALL)[1]
    line = re.search(r"```sh\n(.+?)\n```", PAGE, re.DOTALL)[1]
    assert len(code.strip().splitlines()) == 5
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "losses.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "imbalance_study", "train"]
    params = command.make_context("train", words[4:]).params
    typed = given({key: params[key] for key in params if key not in ("dry_run", "debug")})
    tiny = {"epochs": 1, "steps_per_epoch": 2, "batch_size": 16, "image_size": 8}
    tiny |= {"analyses": "none"}
    found = resolve.resolve(typed | tiny).config
    loss = bind(found).loss.function
    values = loss(torch.zeros(1, 4), torch.tensor([1]), torch.ones(4))
    assert values.item() == pytest.approx(1.3862944 + 2 * 0.75)  # log 4 + 2 (1 - 1/4)
    result = experiment.run(found, output_dir=tmp_path, show_progress=False, draw=False)
    assert result.metrics["train/steps"] == 2
