import dataclasses
import re
import resource
import subprocess
import sys

import pytest

from imbalance_study import __version__, cli
from imbalance_study.cli import COMMANDS
from imbalance_study.cli.train import command
from imbalance_study.config import fields
from imbalance_study.config.schema import Config


def _run(capsys, *args):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(args))
    return stop.value.code, capsys.readouterr()


def test_every_field_is_an_option_of_train_with_its_default_on_the_help_page(capsys):
    cli.main(["train", "--help"])
    page = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(Config):
        assert f"--{field.name} " in page
    for group in ("Data:", "Imbalance:", "Model:", "Remedy:", "Training:", "Machine:"):
        assert group in page
    assert "[default: cross_entropy]" in page
    assert "balanced_softmax weighs each class in the softmax by its count" in page
    assert "focal down-weights easy examples; option gamma" in page


@pytest.mark.parametrize("name", ["train", "compare", "study", "predict"])
def test_the_help_pages_show_no_name_of_the_previous_version(capsys, name):
    cli.main([name, "--help"])
    page = capsys.readouterr().out
    assert "--decode_workers" in page
    for old in ("--workers", "--probe", "--patience"):
        assert f"{old} " not in page


def test_a_name_of_the_previous_version_works_on_the_command_line_with_a_note(capsys):
    fields._note.cache_clear()
    words = ["--dataset", "digits", "--model", "resnet20", "--probe", "false", "--workers", "1"]
    cli.main(["train", "--dry_run", *words])
    shown = capsys.readouterr()
    assert re.search(r"auto_precision +false +given", shown.out, re.IGNORECASE)
    assert "probe is now auto_precision;" in shown.err
    assert "workers is now decode_workers;" in shown.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "Error: unknown command 'trian'; known: advise, train, "),
        (["train", "--modle", "x"], "Error: unknown option 'modle'; did you mean model?"),
        (["train", "--lr", "foo"], "Error: lr must be a number or 'auto', got 'foo'"),
        (["train", "--lr"], "Error: Option '--lr' requires an argument."),
        (["train", "--imbalance_ratio", "0.5"], "imbalance_ratio must be at least 1, got 0.5"),
        (["recipes", "paper"], "Error: unknown recipe 'paper'"),
    ],
)
def test_a_typing_mistake_is_one_line_and_a_status(capsys, args, message):
    status, output = _run(capsys, *args)
    assert status in (1, 2)
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


def test_booleans_take_a_value_or_stand_alone():
    for args, expected in ((["--ema", "false"], "false"), (["--ema"], "true"), ([], None)):
        assert command.make_context("train", args).params["ema"] == expected


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["recipes"]])
def test_help_answers_within_half_a_second(args):
    """Count seconds of the processor: on a busy machine a page waits."""

    def computed():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    times = []
    for _ in range(3):
        before = computed()
        subprocess.run(
            [sys.executable, "-m", "imbalance_study", *args], check=True, capture_output=True
        )
        times.append(computed() - before)
    assert min(times) < 0.5


def test_the_help_page_of_every_command_imports_neither_torch_nor_mlflow():
    code = (
        "import sys; from imbalance_study import cli\n"
        "for name in cli.COMMANDS:\n"
        "    cli.main([name, '--help'])\n"
        "    assert not {'torch', 'mlflow', 'numpy'} & set(sys.modules), name"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("--debug") == len(COMMANDS)
    assert done.stdout.count("Show the traceback of an error.") == len(COMMANDS)


def test_the_version_is_that_of_the_package(capsys):
    cli.main(["--version"])
    assert capsys.readouterr().out.strip() == f"imbalance-study, version {__version__}"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--debug"], True),
        (["--debug", "true"], True),
        (["--debug=true"], True),
        (["--debug", "false"], False),
        (["--debug=false"], False),
        ([], False),
    ],
)
def test_every_command_shows_the_traceback_with_debug_alone(capsys, words, shown):
    for name in ("train", "promote", "recipes"):
        _, output = _run(capsys, name, "--unknown", *words)
        assert ("Traceback" in output.err) is shown
        assert "Error: unknown option 'unknown'" in output.err
