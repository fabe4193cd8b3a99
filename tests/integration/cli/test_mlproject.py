"""MLproject and Config are one: same names, same defaults, and what is typed is what runs."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.projects import _project_spec

from imbalance_study.cli import advise, compare, report, study, train
from imbalance_study.cli.options import given
from imbalance_study.config.recipes import RECIPES
from imbalance_study.config.resolve import resolve
from imbalance_study.config.schema import Config
from imbalance_study.studies.advise.settings import AdviceSettings
from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.report.settings import ReportSettings
from imbalance_study.studies.search.settings import StudySettings

ROOT = Path(__file__).parents[3]
PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())

SETTINGS = {
    "nothing": {},
    "a loss with an option": {"loss": "focal:gamma=2"},
    "several options in one spec": {"optimizer": "sgd:momentum=0.8,nesterov=false"},
    "a chain": {"augment": "crop:padding=4+flip+cutout:size=8"},
    "counts": {"imbalance": "explicit:counts=" + "/".join(map(str, range(20, 10, -1)))},
    "a boolean": {"ema": "true", "ema_decay": "0.99"},
    "declared and undeclared": {
        "dataset": "digits",
        "model": "resnet32",
        "lr": "1e-3",
        "seed": "7",
    },
    "early stopping": {"early_stopping": "val/balanced_accuracy:patience=3"},
    "a folder with odd characters": {"data_dir": 'my data/it\'s $HOME; `ls` "here"'},
    "a recipe overruled": {"recipe": "paper_ldam_drw", "epochs": "3", "model": "resnet32"},
} | {f"recipe {name}": {"recipe": name} for name in RECIPES}


# Entry point -> its command, and the dataclasses that its options come from.
ENTRIES = {
    "advise": ("advise", advise.command, (AdviceSettings,)),
    "main": ("train", train.command, (Config,)),
    "compare": ("compare", compare.command, (ComparisonSettings, Config)),
    "study": ("study", study.command, (Config, StudySettings)),
    "report": ("report", report.command, (ReportSettings,)),
}


def _through_mlproject(settings, entry="main"):
    """The options that reach the program, by the command that MLflow makes of the MLproject."""
    project = _project_spec.load_project(str(ROOT))
    line = project.get_entry_point(entry).compute_command(dict(settings), None)
    words = shlex.split(line)
    name, command, _ = ENTRIES[entry]
    assert words[:4] == ["python", "-m", "imbalance_study", name]
    return given(
        {
            name: value
            for name, value in command.make_context(name, words[4:]).params.items()
            if name not in ("dry_run", "debug", "json")
        }
    )


def test_every_entry_point_is_held_to_its_command():
    held_below = {"distributed"}
    assert set(PROJECT["entry_points"]) == set(ENTRIES) | held_below


@pytest.mark.parametrize(
    "settings",
    [
        {"suite": "losses", "dataset": "digits"},
        {"vary": "model=resnet18|vgg16; loss=cross_entropy|focal:gamma=1,tau=2"},
        {"recipes": "paper_ce|paper_ldam_drw", "seeds": "5", "epochs": "3"},
        {"vary": "lr=0.1|0.2", "data_dir": "it's here", "parallel": "2", "metric": "test/macro_f1"},
    ],
)
def test_what_is_typed_behind_a_comparison_reaches_it(settings):
    entry = PROJECT["entry_points"]["compare"]
    defaults = {name: str(one["default"]) for name, one in entry["parameters"].items()}
    assert _through_mlproject(settings, "compare") == defaults | settings


def test_what_is_typed_behind_an_advice_reaches_it():
    typed = {"data_dir": "it's mine", "metric": "cost:file=my costs.csv", "image_size": "64"}
    entry = PROJECT["entry_points"]["advise"]
    defaults = {name: str(one["default"]) for name, one in entry["parameters"].items()}
    reached = _through_mlproject(typed, "advise")
    assert {name: value for name, value in reached.items() if name != "json"} == defaults | typed


def test_what_is_typed_behind_a_report_reaches_it():
    typed = {"experiment": "it's mine", "out": "my report", "baseline": "focal:gamma=1"}
    assert _through_mlproject(typed, "report") == {"run": "none"} | typed


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_typed_behind_mlflow_run_is_what_is_resolved(name):
    settings = SETTINGS[name]
    assert resolve(_through_mlproject(settings)).config == resolve(settings).config


@pytest.mark.parametrize("name", ENTRIES)
def test_declared_parameters_have_the_defaults_of_their_dataclass(name):
    *_, settings = ENTRIES[name]
    fields = {field.name: field.default for one in settings for field in dataclasses.fields(one)}
    for parameter, declared in PROJECT["entry_points"][name]["parameters"].items():
        assert declared["default"] == fields[parameter], parameter


@pytest.mark.parametrize("name", ENTRIES)
def test_the_command_passes_exactly_the_declared_parameters(name):
    entry = PROJECT["entry_points"][name]
    passed = re.findall(r"--(\w+) \{(\w+)\}", entry["command"])
    assert passed == [(parameter, parameter) for parameter in entry["parameters"]]


def test_what_is_typed_behind_the_entry_point_study_reaches_the_command():
    typed = {"search": "loss|sampler", "model": "resnet20|resnet32", "parallel": "2", "lr": "1e-2"}
    reached = _through_mlproject(typed, "study")
    assert {name: reached[name] for name in typed} == typed
    assert reached["trials"] == str(StudySettings.trials)


def test_several_processes_get_what_one_gets():
    main, several = (PROJECT["entry_points"][name] for name in ("main", "distributed"))
    parameters = dict(several["parameters"])
    assert parameters.pop("nproc") == {"type": "int", "default": 2}
    assert parameters == main["parameters"]
    start, passed = several["command"].split("-m imbalance_study")
    assert passed == main["command"].split("-m imbalance_study")[1]
    assert start == "python -m torch.distributed.run --standalone --nproc_per_node {nproc} "


def test_a_recipe_sets_nothing_that_mlflow_run_always_passes():
    declared = set(PROJECT["entry_points"]["main"]["parameters"])
    for name, recipe in RECIPES.items():
        assert not declared & set(recipe.options), name


def test_the_options_in_the_comment_exist():
    text = (ROOT / "MLproject").read_text()
    shown = re.findall(r"-P (\w+)=(\S+)", text)
    assert len(shown) > 10
    for name, value in shown:
        extra = {"class_weights": "balanced"} if name == "defer" else {}
        resolve({name: value} | extra)


def test_conda_pins_meet_the_ranges_of_the_package():
    from packaging.requirements import Requirement

    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    assert conda["dependencies"][0] == "python=3.11"
    pins = dict(pin.split("==") for pin in conda["dependencies"][-1]["pip"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # The entry point `report` writes a .docx too.
    for line in project["dependencies"] + project["optional-dependencies"]["report"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[requirement.name]), line


@pytest.mark.slow
def test_mlflow_run_trains_and_records_a_finished_run(tmp_path):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings = {
        "dataset": "digits",
        "model": "resnet20",
        "epochs": "2",
        "lr": "1e-2",
        "loss": "focal:gamma=1",
        "imbalance_ratio": "5",
        "image_size": "16",
        "analyses": "predictions+confusion",
    }
    words = [word for name, value in settings.items() for word in ("-P", f"{name}={value}")]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": store,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    client = MlflowClient(store)
    runs = [
        run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])
    ]
    assert len(runs) == 1
    run = runs[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["lr"] == "1e-2"  # as typed
    assert run.data.params["loss"] == "focal:gamma=1"
    assert run.data.params["imbalance"] == "exponential:ratio=5"
    assert 0 < run.data.metrics["test/balanced_accuracy"] <= 1
    names = _artifacts(client, run.info.run_id)
    for name in ("config.json", "metrics.json", "per_class.json", "checkpoints/best.pt"):
        assert name in names
    for figure in ("class_distribution", "augmented_samples", "training_curves"):
        assert f"figures/{figure}.png" in names
    assert run.outputs.model_outputs


def _artifacts(client, run_id, path=None):
    found = []
    for entry in client.list_artifacts(run_id, path):
        found += _artifacts(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return found
