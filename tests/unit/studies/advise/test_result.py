import pandas as pd


def test_the_tables_are_those_of_the_fields(advice):
    made = advice()
    assert made.tables["remedies"] is made.remedies
    assert all(isinstance(table, pd.DataFrame) for table in made.tables.values())


def test_everything_but_figures_becomes_plain_values(advice):
    found = advice().to_dict()
    assert found["choice"] == "balanced_softmax"
    assert found["remedies"][1]["low_95"] is None
    assert found["next"]["commands"] == ["imbalance-study compare"]
    assert "figures" not in found
