"""The generated parts of the documentation are those of the program."""

import subprocess
import sys

import pages

ROOT = pages.repository()


def test_the_generated_documentation_is_up_to_date():
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_every_option_of_every_command_is_on_the_page():
    from imbalance_study.cli import COMMANDS, cli

    page = (ROOT / "docs" / "options.md").read_text()
    for name in COMMANDS:
        assert f"\n## {name}\n" in page
        for option in cli.get_command(None, name).params:
            if option.param_type_name == "option" and not option.hidden:
                assert f"| `{option.opts[0][2:]}` |" in page, option.name
