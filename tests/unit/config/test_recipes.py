"""Recipes resolve, train, and are what their printed command line says."""

import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow.projects import _project_spec

from imbalance_study import cli
from imbalance_study.cli.options import given
from imbalance_study.cli.train import command
from imbalance_study.config import resolve, schema, spec
from imbalance_study.config.recipes import RECIPES
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.setup.components import bind

ROOT = Path(__file__).parents[3]
PAPERS = [name for name in RECIPES if name.startswith("paper_")]

# Where a method's own paper trains differently from Cao et al.
DEPARTURES = {
    "paper_logit_adjusted": {"epochs", "optimizer", "schedule", "augment"},
    "paper_mislas": {"schedule"},
    "paper_sam_drw": {"optimizer"},
    "paper_sam_ldam_drw": {"optimizer"},
    "paper_balanced_softmax_auto_augment": {
        *("epochs", "batch_size", "weight_decay", "schedule", "augment")
    },
    "paper_weight_balancing": {"batch_size", "lr", "weight_decay", "schedule"},
    "paper_los": {"batch_size", "lr", "weight_decay", "schedule"},
}
WIDE = ("paper_weight_balancing", "paper_los")  # their papers have ResNet-34


def test_the_recipes_are_those_that_the_project_promises():
    assert sorted(RECIPES) == sorted(
        ["baseline", "paper_ce", "paper_focal", "paper_cb_softmax", "paper_cb_sigmoid",
         "paper_cb_focal", "paper_drw", "paper_ldam_drw", "paper_balanced_softmax",
         "paper_logit_adjusted", "paper_mixup_drw", "paper_crt", "paper_mislas", "strong",
         "paper_sigmoid_focal", "paper_sam_drw", "paper_sam_ldam_drw", "paper_cmo",
         "paper_balanced_softmax_auto_augment", "paper_weight_balancing", "paper_los",
         "cifar10_resnet18", "cifar10_resnet18_plateau", "halved_cifar10"]
    )  # fmt: skip


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_recipe_trains_as_cao_et_al_but_for_the_departures_that_are_known(name):
    common = {
        "epochs": 200,
        "batch_size": 128,
        "optimizer": "sgd:momentum=0.9,nesterov=false",
        "lr": 0.1,
        "weight_decay": 2e-4,
        "schedule": "step:milestones=0.8/0.9,gamma=0.01,warmup=5",
        "augment": "crop:padding=4+flip",
        "validation": "none",
        "select_by": "last",
    }
    found = resolve.make(recipe=name)
    departures = {option for option, value in common.items() if getattr(found, option) != value}
    assert departures == DEPARTURES.get(name, set())
    assert RECIPES[name].model == ("resnet34" if name in WIDE else "resnet32")


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("paper_ce", {2.5: 0.5, 159.9: 1, 160.1: 1e-2, 179.9: 1e-2, 180.1: 1e-4}),
        ("paper_mislas", {2.5: 0.5, 159.9: 1, 160.1: 1e-1, 179.9: 1e-1, 180.1: 1e-2}),
        (
            "paper_logit_adjusted",
            {10: 0.5, 603.9: 1, 604.1: 1e-1, 925.9: 1e-1, 926.1: 1e-2, 1127.9: 1e-2, 1128.1: 1e-3},
        ),
    ],
)
def test_the_learning_rate_falls_at_the_epochs_of_the_paper(name, factors):
    found = resolve.make(recipe=name)
    schedule = bind(found).schedule.function
    for epoch, factor in factors.items():
        assert schedule(epoch, found.epochs, []) == pytest.approx(factor), epoch


def test_the_decay_of_logit_adjustment_is_that_of_keras_l2():
    """Keras' l2(1e-4) adds 1e-4 w^2 to the loss, whose gradient is 2e-4 w; torch adds decay * w."""
    weight = torch.tensor(3.0, requires_grad=True)
    (1e-4 * weight**2).backward()
    decay = resolve.make(recipe="paper_logit_adjusted").weight_decay
    assert decay * weight.item() == pytest.approx(weight.grad.item())


def test_balanced_softmax_with_auto_augment_has_the_updates_of_its_paper():
    found = resolve.make(recipe="paper_balanced_softmax_auto_augment")
    assert found.epochs * found.steps_per_epoch == 13_000
    schedule = bind(found).schedule.function
    assert schedule(32, found.epochs, []) == pytest.approx(1)  # after 800 updates
    assert schedule(16, found.epochs, []) == pytest.approx(0.5)


@pytest.mark.parametrize(("name", "rho"), [("paper_sam_drw", 0.5), ("paper_sam_ldam_drw", 0.8)])
def test_sam_has_the_radius_of_its_paper_on_deferral_and_ldam(name, rho):
    found = resolve.make(recipe=name)
    assert spec.parse(found.optimizer).options["sam"] == str(rho)
    assert (found.defer, found.class_weights) == (0.8, "effective:beta=0.9999")
    assert spec.parse(found.loss).name == ("ldam" if "ldam" in name else "cross_entropy")


def test_deferred_recipes_start_their_weights_at_epoch_160_of_200():
    for name in ("paper_drw", "paper_ldam_drw", "paper_mixup_drw"):
        found = resolve.make(recipe=name)
        assert found.defer * found.epochs == 160
        assert found.class_weights == "effective:beta=0.9999"


# One of each kind of training; .ci/run trains the others too.
QUICK = {"paper_ldam_drw", "paper_mixup_drw", "paper_mislas", "strong", "cifar10_resnet18_plateau"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in RECIPES]
)
def test_every_recipe_trains_for_two_steps(name, tmp_path):
    tiny = {"dataset": "digits", "model": "resnet20", "epochs": 1, "steps_per_epoch": 2}
    tiny |= {"analyses": "none", "image_size": 8}
    if RECIPES[name].options.get("imbalance", "").startswith("explicit"):
        tiny |= {"imbalance": "none"}  # there are not as many digits
    if RECIPES[name].options.get("validation", "").startswith("balanced"):
        tiny |= {"validation": "balanced:per_class=5"}
    stage = spec.parse(RECIPES[name].options.get("stage2", "none"))
    if stage.name != "none":
        assert stage.options == {"epochs": "20" if stage.name == "los" else "10"}
        tiny["stage2"] = f"{stage.name}:epochs=1"
    settings = resolve.make(recipe=name, batch_size=16, **tiny)
    result = experiment.run(settings, output_dir=tmp_path, show_progress=False, draw=False)
    found = result.metrics
    assert found["train/steps"] == (2 if stage.name == "none" else 4)
    assert ("stage1_test/accuracy" in found) == (stage.name != "none")
    assert 0 < found["test_last/accuracy"] <= 1
    assert math.isfinite(found["test/loss"])


def test_the_halved_set_has_half_of_truck_bird_and_deer_and_the_rest_of_all():
    """Of 5,000 images a class 100 go to validation before; label order is that of CIFAR-10."""
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship")
    cifar = dict.fromkeys((*names, "truck"), 4900) | dict.fromkeys(("bird", "deer", "truck"), 2450)
    options = RECIPES["halved_cifar10"].options
    choices = bind(resolve.make(recipe="halved_cifar10"))
    available = np.full(10, 5000)
    val = choices.validation.function(available, True)
    assert val.tolist() == [100] * 10
    assert choices.imbalance.function(available - val).tolist() == list(cifar.values())
    assert options["select_by"] == "val/macro_f1"


@pytest.mark.parametrize("name", RECIPES)
def test_the_printed_command_line_leads_through_mlproject_to_the_recipe(name, capsys):
    cli.main(["recipes", name])
    words = shlex.split(capsys.readouterr().out)
    assert words[:3] == ["mlflow", "run", "."]
    assert set(words[3::2]) == {"-P"}
    typed = dict(word.split("=", 1) for word in words[4::2])
    entry = _project_spec.load_project(str(ROOT)).get_entry_point("main")
    passed = shlex.split(entry.compute_command(typed, None))
    assert passed[:4] == ["python", "-m", "imbalance_study", "train"]
    params = command.make_context("train", passed[4:]).params
    reached = given({key: params[key] for key in params if key not in ("dry_run", "debug")})
    expected = {"recipe": name, "model": RECIPES[name].model or schema.Config.model}
    assert resolve.resolve(reached).config == resolve.resolve(expected).config


def test_recipes_set_neither_data_set_nor_model_and_all_resolve():
    for name, recipe in RECIPES.items():
        assert not {"dataset", "model"} & set(recipe.options), name
        found, origins = resolve.resolve({"recipe": name})
        for option, value in recipe.options.items():
            assert getattr(found, option) == value
            assert origins[option] == "recipe"
        assert recipe.source
