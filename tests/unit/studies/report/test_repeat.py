from imbalance_study.studies.report import repeat
from imbalance_study.studies.report.document import Code, Paragraph, Table


def content(seed, torch="2.15", fingerprint="abc"):
    return {
        "config": {
            "seed": seed,
            "dataset": "digits",
            "imbalance": "exponential:ratio=10",
            "data_seed": 0,
        },
        "resolved": {
            "fingerprint": {"fingerprint": fingerprint},
            "images": {"train": 90, "test": 30},
            "class_names": ["a", "b"],
            "device": "cpu",
            "precision": "fp32",
        },
        "environment": {"python": "3.11", "torch": torch},
    }


def of_kind(blocks, kind):
    return [one for one in blocks if isinstance(one, kind)]


def test_commands_seeds_data_and_versions_are_named():
    blocks = repeat.blocks([content(1), content(0)], ["train a", "train a", "train b"])
    assert of_kind(blocks, Code) == [Code("train a\ntrain b")]
    assert Paragraph("Seeds: 0, 1.") in blocks
    data, versions = of_kind(blocks, Table)
    assert (data.columns["fingerprint"], data.columns["runs"]) == (["abc"], [2])
    assert dict(zip(*versions.columns.values(), strict=True))["torch"] == "2.15"
    assert versions.caption == "Versions and machine."


def test_more_than_twelve_commands_are_counted():
    blocks = repeat.blocks([content(0)], [f"train {n}" for n in range(15)])
    assert len(of_kind(blocks, Code)[0].text.splitlines()) == 12
    assert Paragraph("3 more commands are in the config.json of the runs.") in blocks


def test_other_data_and_another_environment_are_shown():
    blocks = repeat.blocks([content(0, "2.14"), content(1, fingerprint="x")], ["train"])
    data, versions = of_kind(blocks, Table)
    assert data.columns["fingerprint"] == ["abc", "x"]
    assert versions.caption == "Versions and machine of the newest run."
    assert blocks[-1].text == "The runs were made in 2 environments: torch differ."
