"""The scripts that measure a search: they count rightly."""

import pytest
import tuned

from imbalance_study.studies.search import space


def _rows(**values):
    return [
        {"name": name, "seed": seed, "seconds": 2.0, "metrics": {tuned.METRIC: value}}
        for name, mine in values.items()
        for seed, value in enumerate(mine)
    ]


def test_the_winner_is_compared_with_the_best_untuned_remedy_seed_by_seed():
    rows = _rows(best=(0.60, 0.62), worse=(0.50, 0.52)) + [
        row | {"name": tuned.WINNER} for row in _rows(w=(0.63, 0.64))
    ]
    assert tuned.differences(rows, "best") == pytest.approx([3.0, 2.0])
    text = tuned.verdict(rows)
    assert "Against best" in text
    assert "+2.50 points, twice the standard error being 1.00: the search pays" in text
    assert "| best | 60.00, 62.00 | 61.00 | +2.50 | 1.00 | yes | 2 |" in tuned.table(rows)
    beaten = _rows(best=(0.70, 0.70)) + rows[4:]
    assert "is not shown to pay" in tuned.verdict(beaten)
    assert "Too few seeds" in tuned.verdict(_rows(best=(0.6,)) + rows[4:5])


def test_an_untuned_remedy_is_what_the_study_tried_first():
    found = space.build("loss", {"dataset": "digits", "epochs": "3"})
    values = tuned.values_of(found, space.baselines(found)["ldam_drw"])
    assert values["loss"] == "ldam:max_m=0.5"
    assert (values["defer"], values["epochs"]) == (0.8, 3)
