"""Each module has its tests at the same path below tests/unit, or stands here with a reason.

``training/trainer.py`` is tested in ``training/test_trainer.py`` and, where that would be long, in
``training/test_trainer_update.py`` as well.
"""

from pathlib import Path

UNIT = Path(__file__).parent
PACKAGE = UNIT.parents[1] / "imbalance_study"

# A module's path: why tests/unit has no file for it.
ELSEWHERE = {
    "data/published_subset.py": "test_longtail.py draws it bit by bit as the published code does",
    "tracking/active.py": "two records that only hold fields",
}


def _modules():
    found = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return {str(path) for path in found if path.name not in ("__init__.py", "__main__.py")}


def _mirrored():
    found = (path.relative_to(UNIT) for path in UNIT.rglob("test_*.py"))
    return {str(path.with_name(path.name.removeprefix("test_"))) for path in found}


def test_each_module_has_its_tests_at_the_same_path_or_a_reason():
    missing = _modules() - _mirrored() - ELSEWHERE.keys()
    assert not missing, f"add tests/unit/<path>/test_<name>.py for {sorted(missing)}"


def test_no_reason_outlives_its_module_or_its_need():
    assert not ELSEWHERE.keys() - _modules()
    assert not ELSEWHERE.keys() & _mirrored()
    assert all(len(reason) > 20 for reason in ELSEWHERE.values())


def test_each_file_of_unit_tests_mirrors_a_module():
    stems = tuple(name.removesuffix(".py") for name in _modules())
    others = _mirrored() - _modules() - {"mirror.py", "init.py"}
    assert not [name for name in others if not name.startswith(tuple(f"{s}_" for s in stems))]
