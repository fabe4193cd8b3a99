"""deploy/passwords.sh leaves every password set, or ends with an error."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMES = ("POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "OPTUNA_DB_PASSWORD", "MLFLOW_SECRET_KEY")


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "passwords.sh", tmp_path / "deploy")
    shutil.copy(ROOT / ".env.example", tmp_path)
    return tmp_path


def fill(checkout):
    return subprocess.run(
        ["sh", "deploy/passwords.sh"], cwd=checkout, capture_output=True, text=True, check=False
    )


def values(checkout):
    lines = (checkout / ".env").read_text().splitlines()
    found = [line.partition("=") for line in lines]
    return {name: value for name, _, value in found if name in NAMES}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: re.sub(r"PASSWORD=$", "PASSWORD= \t", text, flags=re.MULTILINE),
        lambda text: re.sub(r"^MLFLOW_SECRET_KEY=.*\n", "", text, flags=re.MULTILINE),
        lambda text: text.rstrip("\n"),
    ],
)
def test_each_password_is_filled_whatever_the_lines_look_like(checkout, change):
    example = (checkout / ".env.example").read_text()
    (checkout / ".env").write_bytes(change(example).encode())
    done = fill(checkout)
    assert done.returncode == 0, done.stderr
    assert set(values(checkout)) == set(NAMES)
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in values(checkout).values())
    assert "\r" not in (checkout / ".env").read_bytes().decode()
    assert (checkout / ".env").stat().st_mode & 0o077 == 0


def test_passwords_that_are_set_stay_and_a_link_stays_a_link(checkout, tmp_path):
    (checkout / "real.env").write_text("POSTGRES_PASSWORD=mine\nOTHER=1\n")
    (checkout / ".env").symlink_to("real.env")
    assert fill(checkout).returncode == 0
    assert (checkout / ".env").is_symlink()
    assert values(checkout)["POSTGRES_PASSWORD"] == "mine"
    before = (checkout / "real.env").read_text()
    assert "OTHER=1\n" in before
    assert fill(checkout).stdout == ""
    assert (checkout / "real.env").read_text() == before
    assert not [path for path in checkout.glob(".env.*") if path.name != ".env.example"]
