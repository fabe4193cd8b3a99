import json
from pathlib import Path

import jsonschema
import pytest

from imbalance_study.studies.comparison import analyse, answer, grouping

SCHEMA = json.loads((Path(__file__).parents[4] / "docs" / "answer.schema.json").read_text())
METRIC = "test/balanced_accuracy"
SUBJECT = {"kind": "comparison", "name": "mine", "experiment": "e", "run_id": "r", "link": ""}


@pytest.fixture
def answered(outcome):
    """A function that answers for rows of values of each configuration, the first as baseline."""

    def make(rows, **fields):
        given = [
            outcome(name, seed, {"balanced_accuracy": value}, **fields.get(name, {}))
            for name, row in rows.items()
            for seed, value in enumerate(row)
        ]
        base = given[0].configuration
        grouped = grouping.group_outcomes(given, base, METRIC)
        comparison = analyse.compare_grouped(grouped, draw=False)
        part = answer.part(grouped, comparison, {"dataset": "digits", "model": "resnet20"})
        return answer.document(SUBJECT, [part], ["again"], ["ldam, seed 1: no memory"])

    return make


@pytest.mark.parametrize(
    "rows",
    [
        {"ce": [0.5, 0.52, 0.51], "focal": [0.6, 0.621, 0.612]},
        {"ce": [0.5, 0.52], "focal": [0.6]},
        {"ce": [0.5]},
        {"ce": [float("nan"), 0.5, 0.4], "focal": [0.5, 0.6, 0.7]},
    ],
)
def test_an_answer_keeps_to_its_schema_and_is_json(answered, rows):
    found = answered(rows)
    jsonschema.validate(found, SCHEMA)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_name_that_the_schema_lacks_is_noticed(answered):
    found = answered({"ce": [0.5]})
    found["parts"][0]["configurations"][0]["more"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, SCHEMA)


def test_verdict_interval_and_costs_are_those_of_the_tables(answered):
    found = answered({"ce": [0.5, 0.52, 0.51], "focal": [0.6, 0.621, 0.612]})
    (part,) = found["parts"]
    assert part["better_shown"]
    assert part["verdict"].startswith("focal beats ce by 10.1 points")
    focal, ce = part["configurations"]
    assert (focal["name"], focal["verdict"], focal["best"]) == ("focal", "better", True)
    assert focal["difference"] == pytest.approx(0.101)
    assert focal["difference_interval_95"][0] < 0.101 < focal["difference_interval_95"][1]
    assert focal["p"] == focal["p_holm"] < 0.001
    assert [run["value"] for run in focal["runs"]] == [0.6, 0.621, 0.612]
    assert focal["costs"]["train_seconds"] == 10.0
    assert (ce["verdict"], ce["difference"], ce["p"]) == ("baseline", None, None)
    assert found["commands"] == ["again"]
    assert found["problems"] == ["ldam, seed 1: no memory"]


def test_more_training_is_no_win_for_a_machine_either(answered):
    rows = {"ce": [0.5, 0.52, 0.51], "focal": [0.6, 0.621, 0.612]}
    (part,) = answered(rows, focal={"epochs": 50})["parts"]
    focal = part["configurations"][0]
    assert (focal["verdict"], focal["rankable"]) == ("better", False)
    assert focal["notes"] == ["50 epochs where the baseline has 5"]
    assert not part["better_shown"]
