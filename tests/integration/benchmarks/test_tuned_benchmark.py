"""The scripts that measure a search: they count rightly."""

import tuned

from imbalance_study.studies.search import space


def _rows(**values):
    return [
        {"name": name, "seed": seed, "seconds": 2.0, "metrics": {tuned.METRIC: value}}
        for name, mine in values.items()
        for seed, value in enumerate(mine)
    ]


def test_the_winner_is_compared_with_the_best_untuned_remedy_seed_by_seed():
    rows = _rows(best=(0.60, 0.62, 0.61), worse=(0.50, 0.52, 0.51)) + [
        row | {"name": tuned.WINNER} for row in _rows(w=(0.63, 0.64, 0.64))
    ]
    text = tuned.verdict(rows)
    assert "best, the best untuned remedy on the test set, minus the winner is -2.67" in text
    assert "the search pays" in text
    # Differences -3, -2, -3: t = -8, p = .0153, doubled by Holm.
    line = "| best | 60.00, 62.00, 61.00 | 61.00 | -2.67 | -4.10 to -1.23 | 0.015 | worse | 2 |"
    assert line in tuned.table(rows)
    beaten = _rows(best=(0.70, 0.70, 0.70)) + rows[6:]
    assert "costs" in tuned.verdict(beaten)
    assert "is not shown to pay" in tuned.verdict(_rows(best=(0.63, 0.65, 0.61)) + rows[6:])
    assert "Too few seeds" in tuned.verdict(_rows(best=(0.6, 0.6)) + rows[6:8])


def test_an_untuned_remedy_is_what_the_study_tried_first():
    found = space.build("loss", {"dataset": "digits", "epochs": "3"})
    values = tuned.values_of(found, space.baselines(found)["ldam_drw"])
    assert values["loss"] == "ldam:max_m=0.5"
    assert (values["defer"], values["epochs"]) == (0.8, 3)
