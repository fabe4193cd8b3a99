"""Every command that a page shows could be typed: its script, options, values and extras exist."""

import ast
import importlib.util
import re
import shlex
import tomllib

import click
import pages
import pytest
import yaml

from imbalance_study import cli
from imbalance_study.cli.options import given
from imbalance_study.config import fields
from imbalance_study.config.schema import Config

ROOT = pages.repository()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENTRIES = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
SHOWN = [
    (str(page.relative_to(ROOT)), line)
    for page in pages.of(ROOT)
    for line in (*pages.commands(page), *pages.inline_commands(page))
]
# Programs of others, which no test of this repository can hold to anything.
OTHERS = {
    *("apt-get", "cd", "curl", "docker-compose", "done", "export", "for", "git", "gh", "mypy"),
    *("lint-imports", "ruff", "mkdocs", "source", "time", "pytest", ".", ".ci/run"),
}


def _click(words):
    """Let the command line parse what is typed, without running it."""
    if words[0].startswith("-"):
        assert words[0] in ("--help", "--version")
        return
    command = cli.cli.get_command(click.Context(cli.cli), words[0])
    assert command is not None, f"no command {words[0]}"
    if "--help" in words:
        return
    params = command.make_context(words[0], words[1:]).params
    if words[0] == "train":
        fields.parse_values(Config, given(_without_switches(params)))


def _without_switches(params):
    return {key: value for key, value in params.items() if key not in ("dry_run", "debug")}


def _options_of(command):
    return {name.lstrip("-") for param in command.params for name in param.opts}


def _mlflow(words):
    if words[0] != "run":
        assert words[0] in ("ui", "models", "server")
        return
    assert words[1] == "."
    entry, typed = "main", {}
    rest = iter(words[2:])
    for word in rest:
        if word == "-P":
            key, _, value = next(rest).partition("=")
            typed[key] = value
        elif word == "-e":
            entry = next(rest)
        else:
            assert word in ("--env-manager", "--experiment-name"), word
            next(rest)
    assert entry in ENTRIES
    name = {"main": "train", "distributed": "train"}.get(entry, entry)
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert set(typed) <= _options_of(command) | set(ENTRIES[entry]["parameters"]), typed


def _python(words):
    if words[0] == "-m" and words[1] == "imbalance_study":
        _click(words[2:])
    elif words[0] == "-c":
        ast.parse(words[1])
    elif words[0] == "-m":
        assert importlib.util.find_spec(words[1]), f"no module {words[1]}"
    elif words[0] != "client.py":
        _script(ROOT / words[0], words[1:])


def _script(script, words):
    """Look for the options in the script, and in the modules beside it that it may read."""
    text = script.read_text()
    near = [other for other in script.parent.glob("*.py") if other.stem in text]
    text += "".join(other.read_text() for other in near)
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"\b{word.lstrip('-')}\b", text), f"{word} of {script}"


def _pip(words):
    for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
        assert set(extra.split(",")) <= set(PROJECT["optional-dependencies"]), extra


def _check(line):
    for part in re.split(r"\s*&&\s*", line):
        words = shlex.split(part)
        while words and (re.fullmatch(r"[A-Z_]+=.*", words[0]) or words[0] == "time"):
            words = words[1:]
        program, rest = words[0], words[1:]
        if program == "imbalance-study":
            _click([word for word in rest if word != "..."])
        elif program == "mlflow":
            _mlflow(rest)
        elif program in ("python", "python3"):
            _python(rest)
        elif program == "torchrun":
            _click(rest[rest.index("imbalance_study") + 1 :])
        elif program == "pip":
            _pip(rest)
        elif program == "sh":
            assert (ROOT / rest[0]).exists()
        else:
            assert program in OTHERS, program


@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_a_command_that_a_page_shows_can_be_typed(page, line):
    _check(line)


def test_every_option_within_the_text_is_one_of_a_command():
    known = set()
    for name in cli.COMMANDS:
        known |= _options_of(cli.cli.get_command(click.Context(cli.cli), name))
    scripts = ("results.md", "performance.md", "reliability.md")  # they name those of benchmarks/
    for page in pages.of(ROOT):
        if page.name not in ("CHANGELOG.md", *scripts):
            for option in re.findall(r"`(?:-P |--)(\w+)[= ]", page.read_text()):
                assert option in known | {"key"}, f"{option} of {page.name}"


@pytest.mark.parametrize(
    "line",
    [
        "imbalance-study trains --loss focal",
        "imbalance-study train --losses focal",
        "imbalance-study train --epochs many",
        "mlflow run . -e compares -P dataset=digits",
        "mlflow run . -P losses=focal",
        "python benchmarks/none.py",
        "python -m imbalance_study.none",
        "python benchmarks/remedies.py --no_such_option 1",
        "pip install -e '.[none]'",
        "sh deploy/none.sh",
        "some-program",
    ],
)
def test_a_command_that_does_not_exist_is_found(line):
    with pytest.raises((AssertionError, OSError, ValueError, click.ClickException)):
        _check(line)
