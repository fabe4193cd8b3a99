import pytest

from imbalance_study import cli
from imbalance_study.cli.recipes import command_line
from imbalance_study.config.recipes import RECIPES


def test_recipes_are_listed_with_what_they_set_and_their_source(capsys):
    cli.main(["recipes"])
    page = capsys.readouterr().out
    for name, recipe in RECIPES.items():
        assert name in page
        assert recipe.source in page


def test_the_command_line_of_a_recipe_names_the_model_of_its_paper(capsys):
    cli.main(["recipes", "paper_ldam_drw"])
    line = capsys.readouterr().out.strip()
    assert line == command_line("paper_ldam_drw")
    assert (
        line == f"mlflow run . -P recipe=paper_ldam_drw -P model={RECIPES['paper_ldam_drw'].model}"
    )


def test_an_unknown_recipe_is_one_line(capsys):
    with pytest.raises(SystemExit):
        cli.main(["recipes", "paper"])
    assert "Error: unknown recipe 'paper'" in capsys.readouterr().err
