import dataclasses

import pytest

from imbalance_study.config import fields
from imbalance_study.config.fields import option
from imbalance_study.config.resolve import make
from imbalance_study.config.schema import Config


@dataclasses.dataclass(frozen=True)
class Settings:
    tries: int = option(1, "Group", "How often.", formerly="attempts")
    name: str = option("x", "Group", "A name.")


@pytest.fixture(autouse=True)
def _no_note_yet():
    fields._note.cache_clear()


def test_an_old_name_is_understood_and_noted_once_on_stderr(capsys):
    for _ in range(2):
        assert fields.parse_values(Settings, {"attempts": "3", "name": "a"}) == {
            "tries": 3,
            "name": "a",
        }
    note = "attempts is now tries; the next version does not know attempts any more\n"
    assert capsys.readouterr() == ("", note)


def test_stored_values_are_renamed_without_a_note(capsys):
    assert fields.renamed(Settings, {"attempts": 3}, note=False) == {"tries": 3}
    assert capsys.readouterr() == ("", "")


def test_an_option_under_both_names_is_refused():
    with pytest.raises(ValueError, match="attempts is now tries; both are given, leave attempts"):
        fields.parse_values(Settings, {"attempts": "3", "tries": "3"})


def test_no_former_name_is_the_name_of_an_option():
    former = fields.former_names(Config)
    assert former == {"probe": "auto_precision", "workers": "decode_workers"}
    assert not former.keys() & fields.types_of(Config).keys()


def test_python_callers_may_use_the_old_names(capsys):
    assert make(probe=False, workers=3) == make(auto_precision=False, decode_workers=3)
    assert "probe is now auto_precision" in capsys.readouterr().err
