"""Imports of a training before its first step."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import imbalance_study

PACKAGE = Path(imbalance_study.__file__).parent
# Needed later, by some or all trainings.
LATER = {
    *("matplotlib", "torchvision", "sklearn", "pandas", "pyarrow", "scipy", "ptflops"),
    *("umap", "captum", "optuna", "onnx", "docx", "timm", "imblearn", "torch._dynamo"),
    *("mlflow.genai", "mlflow.pytorch", "mlflow.artifacts"),
}
FIRST_STEP = """
import sys, time
from imbalance_study.tracking import run
from imbalance_study.config.resolve import make, resolve

class Enough(Exception):
    pass

def stop(epoch):
    late = {"matplotlib", "torch._dynamo", "sympy", "torchvision", "umap", "captum", "optuna"}
    print(time.process_time(), *sorted(late & set(sys.modules)))
    raise Enough

options = {"dataset": "digits", "model": "resnet20", "tracking_uri": sys.argv[1]}
try:
    run.train(resolve(options), hooks=run.Hooks(stop))
except Enough:
    pass
"""


def _imports(module):
    """Yield the names that a module imports when it is imported itself."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    waiting = list(ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef) and "TYPE_CHECKING" not in ast.dump(node):
            waiting += [
                child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)
            ]


def _ours(name):
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return name.startswith("imbalance_study") and (
        path.is_dir() or path.with_suffix(".py").exists()
    )


def test_a_training_imports_nothing_at_its_start_that_it_needs_later():
    waiting, seen = ["imbalance_study.cli.train", "imbalance_study.tracking.run"], {}
    while waiting:
        module = waiting.pop()
        for name in _imports(module):
            if name not in seen:
                seen[name] = module
                waiting += [name] * _ours(name)
    assert "imbalance_study.training.optim" in seen
    early = {name: by for name, by in seen.items() if name in LATER}
    early |= {name: by for name, by in seen.items() if name.partition(".")[0] in LATER}
    assert not early


@pytest.mark.slow
def test_the_first_step_begins_early_and_without_what_is_needed_later(empty_store, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP, empty_store],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stderr
    seconds, *early = done.stdout.splitlines()[-1].split()
    assert not early
    assert float(seconds) < 20  # of a processor, 6 on a quiet one
