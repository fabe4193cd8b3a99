import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import imbalance_study


def _python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_neither_torch_nor_mlflow():
    code = "import sys, imbalance_study; dir(imbalance_study); print(sorted(sys.modules))"
    loaded = {name.partition(".")[0] for name in ast.literal_eval(_python(code))}
    assert not loaded & {"torch", "mlflow", "numpy", "click", "optuna"}


def test_making_a_configuration_imports_no_torch():
    code = (
        "import sys; from imbalance_study import Config, make, resolve;"
        "assert isinstance(make(dataset='digits', loss='focal:gamma=1'), Config);"
        "assert not {'torch', 'mlflow'} & set(sys.modules)"
    )
    _python(code)


def test_every_exported_name_can_be_imported_and_is_listed():
    assert set(imbalance_study.__all__) - {"__version__"} == set(imbalance_study._EXPORTS)
    assert set(imbalance_study.__all__) <= set(dir(imbalance_study))
    for name in imbalance_study.__all__:
        assert getattr(imbalance_study, name) is not None
    from imbalance_study.experiment.run import run

    assert imbalance_study.run is run


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = imbalance_study.trian


@pytest.mark.slow
def test_the_types_of_exported_names_are_seen_by_mypy(tmp_path):
    pytest.importorskip("mypy", reason="mypy comes with the extra dev")
    script = tmp_path / "typed.py"
    script.write_text("from imbalance_study import make\nreveal_type(make)\n")
    settings = tmp_path / "mypy.ini"  # the types of torch and others take half a minute to read
    settings.write_text(
        "[mypy]\nfollow_imports = skip\n[mypy-imbalance_study.*]\nfollow_imports = silent\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", f"--config-file={settings}", str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(Path(__file__).parents[2])},
    )
    assert "def (**given: Any) -> imbalance_study.config.schema.Config" in done.stdout
