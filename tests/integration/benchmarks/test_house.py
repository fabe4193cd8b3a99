import ast

import pytest

house = pytest.importorskip("house", reason="needs grimp, of the extra dev")


def test_floors_are_the_longest_chains_of_imports():
    imports = {"cli": {"run", "files"}, "run": {"data", "models"}, "data": {"files"}}
    imports |= {"models": {"files"}, "files": set(), "alone": set()}
    assert house.floors(imports) == [["alone", "files"], ["data", "models"], ["run"], ["cli"]]


def test_circles_are_named_and_have_no_floors():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert house.circles(imports) == [["a", "b", "c"]]
    with pytest.raises(ValueError, match="circle"):
        house.floors(imports)


def test_imports_are_read_from_the_files_of_a_package(tmp_path, monkeypatch):
    files = {
        "__init__.py": "",
        "low/__init__.py": "",
        "low/one.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import shed.high\n",
        "high.py": "def later():\n    from shed.low import one\n",
    }
    for name, text in files.items():
        path = tmp_path / "shed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert house.imports_of("shed", depth=1) == {"shed.low": set(), "shed.high": {"shed.low"}}
    assert house.imports_of("shed")["shed.high"] == {"shed.low.one"}
    assert house.count_lines(tmp_path) == (4, 5)


def test_long_and_wide_functions_are_listed(tmp_path):
    body = "    pass\n" * 5
    (tmp_path / "a.py").write_text(
        f"class A:\n    def method(self, a, *, b): return a\n\ndef long():\n{body}"
        "def wide(a, /, b, *rest, c, **others): return a\n"
    )
    found = house.larger(tmp_path, lines=5, parameters=2)
    place = tmp_path.name
    assert found == {
        "lines": [(6, f"{place}/a.py:4 long")],
        "parameters": [(3, f"{place}/a.py:10 wide")],
    }
    parsed = ast.parse("def f(cls, a, b=1, *, c): pass").body[0]
    assert house.parameters_of(parsed) == 3


def test_the_rooms_of_the_package_stand_on_eight_floors_without_circles():
    rooms = house.imports_of("imbalance_study", depth=1)
    assert len(house.floors(rooms)) == 8
    assert house.circles(house.imports_of("imbalance_study")) == []
