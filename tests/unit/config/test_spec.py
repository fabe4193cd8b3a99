import sys

import pytest

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import Choice
from imbalance_study.config.schema import Config


def scale(values, *, factor: float = 1.0, twice: bool = False, times: int = 1, progress: float):
    return values * factor * (2 if twice else 1) * times


REGISTRY = {"scale": Choice("scales its values", f"{__name__}:scale")}


def test_a_bound_function_has_its_options_in_their_annotated_types():
    bound = spec.bind(REGISTRY, "scale:factor=2,twice=true,times=1e1", "scaling")
    assert bound(3, progress=0.0) == 120
    assert bound.keywords == {"factor": 2.0, "twice": True, "times": 10}


def test_parsing_and_printing_a_spec_are_inverse():
    for text in ("focal", "focal:gamma=2", "sgd:momentum=0.9,nesterov=false"):
        assert str(spec.parse(text)) == text


def test_a_chain_is_its_specs_in_order_and_none_is_empty():
    assert [str(one) for one in spec.parse_chain("crop+cutout:size=8")] == ["crop", "cutout:size=8"]
    assert spec.parse_chain("none") == []


@pytest.mark.parametrize(
    "text", ["", ":gamma=1", "focal:gamma=", "focal:a b", "focal:=1", "focal:gamma=1,gamma=2"]
)
def test_a_malformed_spec_is_refused_with_what_came(text):
    with pytest.raises(ValueError, match=r"spec is|twice"):
        spec.parse(text)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown scaling 'shrink'; known: scale"):
        spec.bind(REGISTRY, "shrink", "scaling")


def test_an_unknown_option_names_those_that_the_function_takes():
    with pytest.raises(ValueError, match="no option 'facto'; it takes: factor, twice, times"):
        spec.bind(REGISTRY, "scale:facto=1", "scaling", reserved=frozenset({"progress"}))


def test_a_reserved_parameter_is_no_option():
    with pytest.raises(ValueError, match="no option 'progress'"):
        spec.bind(REGISTRY, "scale:progress=1", "scaling", reserved=frozenset({"progress"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale:factor=x", "factor of scaling scale must be a number, got 'x'"),
        ("scale:factor=nan", "factor of scaling scale must be a number, got 'nan'"),
        ("scale:times=1.5", "times of scaling scale must be a whole number, got '1.5'"),
        ("scale:twice=yes", "twice of scaling scale must be true or false, got 'yes'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_rule(text, message):
    with pytest.raises(ValueError, match=message):
        spec.bind(REGISTRY, text, "scaling")


def test_a_users_own_function_is_imported_by_its_path():
    bound = spec.bind({}, "os.path:join", "loss")
    assert bound("a", "b") == "a/b"


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("mylosses:focal2", "mylosses:focal2", {}),
        ("mylosses:focal2:gamma=3,s=1", "mylosses:focal2", {"gamma": "3", "s": "1"}),
        ("a.b:f:x=1", "a.b:f", {"x": "1"}),
        ("focal:gamma=3", "focal", {"gamma": "3"}),
        ("val/loss:patience=3", "val/loss", {"patience": "3"}),
    ],
)
def test_a_file_and_its_function_are_told_from_a_name_and_its_options(text, name, options):
    assert spec.parse(text) == (name, options)


def test_a_function_in_a_file_of_the_current_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ownlosses.py").write_text("def twice(x, *, by: int = 2):\n    return by * x\n")
    assert spec.bind(choices.LOSSES, "ownlosses:twice", "loss")(4) == 8
    assert spec.bind(choices.LOSSES, "ownlosses:twice:by=3", "loss")(4) == 12


@pytest.mark.parametrize("loss", ["focal:gamma", "focal:gamma:s=1"])
def test_an_option_without_a_value_is_no_file_of_the_users_own(loss):
    with pytest.raises(
        ValueError, match="got 'gamma' in 'focal:gamma'; a file of your own may not"
    ):
        Config(loss=loss)
    with pytest.raises(ValueError, match="a spec is"):
        spec.bind(choices.LOSSES, loss, "loss")


def test_a_path_that_cannot_be_imported_says_why():
    with pytest.raises(ValueError, match="cannot be imported: No module named 'nowhere'"):
        spec.bind({}, "nowhere.at_all:function", "loss")
    with pytest.raises(ValueError, match="cannot be imported"):
        spec.bind({}, "os.path:no_such_function", "loss")
    with pytest.raises(ValueError, match="is not a function"):
        spec.bind({}, "os.path:sep", "loss")
