"""Commands of ``imbalance-study``: one module a command, imported when the command is called."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
import traceback

import click

import imbalance_study
from imbalance_study.cli.output import lasting_output

# Name of a command, which is that of its module, to its line on the help page: so the list of
# commands imports none of them.
COMMANDS = {
    "advise": "Advise on your own images: which remedy, how sure, at what cost.",
    "train": "Train and evaluate one configuration, and record it in MLflow.",
    "compare": "Compare configurations over seeds, with statistics.",
    "study": "Search for the best settings, over many runs.",
    "report": "Write a report of an experiment or a run: HTML, Markdown and .docx.",
    "resume": "Go on with an interrupted run from its last complete epoch.",
    "find_lr": "Find a learning rate by a range test.",
    "explain": "Show what a model looks at in photographs.",
    "sync": "Upload runs that were made offline, or while the server was down.",
    "reap": "Mark RUNNING runs FAILED whose process is gone.",
    "predict": "Predict the classes of any number of image files.",
    "promote": "Register the model of a run with its model card, and set its alias.",
    "export": "Write a trained model as ONNX, in fp32 or int8, and compare it with torch.",
    "recipes": "List the named sets of options, or print the command of one.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"imbalance_study.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"unknown command {args[0]!r}; known: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(imbalance_study.__version__, prog_name="imbalance-study")
def cli() -> None:
    """Which remedy for class imbalance helps this image model on this data, and how sure is that?

    Every command explains its options: imbalance-study train --help
    """


def main(args: list[str] | None = None) -> None:
    """Run a command; every error becomes one line and a non-zero exit status.

    ``--debug`` or IMBALANCE_STUDY_DEBUG=1 shows the traceback, too. A command goes on when its
    terminal is closed or its pipe is cut.
    """
    # Imports make a million objects that stay; by default the collector looks at them again and
    # again, which takes a seventh of their time.
    gc.set_threshold(50_000)
    with lasting_output():
        _run(sys.argv[1:] if args is None else args)


def _run(args: list[str]) -> None:
    debug = _is_debug(args) or os.environ.get("IMBALANCE_STUDY_DEBUG") == "1"
    try:
        cli.main(args, prog_name="imbalance-study", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        sys.exit(_report(error.format_message(), 2, debug))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(_report("stopped from the keyboard", 130, debug))
    except (ValueError, OSError) as error:
        sys.exit(_report(_one_line(error), 1, debug))
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {_one_line(error)} (--debug shows where)"
        sys.exit(_report(text, 1, debug))


def _is_debug(args: list[str]) -> bool:
    """Look for ``--debug`` before the arguments are parsed: parsing may be what fails."""
    text = f" {' '.join(args)} ".replace("=", " ")
    return " --debug " in text and " --debug false " not in text


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        place = f" ({error.filename})" if error.filename else ""
        return f"the disk is full{place}; free some space, or choose another folder"
    return " ".join(str(error).split()) or type(error).__name__


def _report(message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"Error: {message}", file=sys.stderr)
    return status
