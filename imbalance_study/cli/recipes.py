"""``imbalance-study recipes``: the named sets of options."""

from __future__ import annotations

import shlex

import click

from imbalance_study.cli import definition
from imbalance_study.config import fields
from imbalance_study.config.recipes import RECIPES


@definition.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the recipes with their options and source, or print the command line of NAME."""
    if name is not None:
        if name not in RECIPES:
            raise ValueError(fields.unknown(name, RECIPES, "recipe"))
        click.echo(command_line(name))
        return
    for name, recipe in RECIPES.items():
        click.secho(f"{name}: {recipe.about}", bold=True)
        settings = " ".join(f"{key}={value}" for key, value in recipe.options.items())
        click.echo(f"  sets: {settings}")
        if recipe.model:
            click.echo(f"  model of the paper: {recipe.model}")
        click.echo(f"  source: {recipe.source}")


def command_line(name: str) -> str:
    """Return the `mlflow run` command that repeats a recipe with the model of its paper."""
    model = RECIPES[name].model
    words = ["mlflow", "run", ".", "-P", f"recipe={name}"]
    if model:
        words += ["-P", f"model={model}"]
    return shlex.join(words)
