"""The generated parts of the documentation are those of the program."""

import runpy
import sys

import pages
import pytest

ROOT = pages.repository()


def test_the_generated_documentation_is_up_to_date(monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "docs" / "generate.py"), run_name="__main__")
    assert (stop.value.code, capsys.readouterr().out) == (0, "")


def test_every_option_of_every_command_is_on_the_page():
    from imbalance_study.cli import COMMANDS, cli

    page = (ROOT / "docs" / "options.md").read_text()
    for name in COMMANDS:
        assert f"\n## {name}\n" in page
        for option in cli.get_command(None, name).params:
            if option.param_type_name == "option" and not option.hidden:
                assert f"| `{option.opts[0][2:]}` |" in page, option.name
