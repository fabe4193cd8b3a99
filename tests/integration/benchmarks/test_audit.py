"""The audit of claims: what it draws, and what it counts."""

import audit
import numpy as np
import pytest


@pytest.fixture(scope="module")
def pools():
    """Runs that were never trained: a shift for each seed, noise, and 0.1 for the second."""
    generator = np.random.default_rng(0)
    shift = generator.normal(0, 0.02, 90)
    found = {}
    for name, size in ((audit.BASE, 0.0), (audit.OTHER, 0.1)):
        values = 0.5 + size + shift + generator.normal(0, 0.01, 90)
        found[name] = [
            {"metrics": dict.fromkeys(audit.KEPT, float(value)), "curve": [0.1, float(value)]}
            for value in values
        ]
    return found


def test_a_comparison_of_equals_has_a_seed_once_and_no_difference_in_truth(pools):
    drawn = audit.draw(pools, 4, 5, np.random.default_rng(1), planted=False)
    values = [row["metrics"][audit.METRIC] for rows in drawn.rows.values() for row in rows]
    assert list(drawn.rows) == [audit.BASE, "equal 1", "equal 2", "equal 3"]
    assert len(set(values)) == 20
    assert drawn.truth == {"equal 1": 0, "equal 2": 0, "equal 3": 0}


def test_the_planted_configuration_has_the_seeds_of_the_baseline(pools):
    drawn = audit.draw(pools, 3, 4, np.random.default_rng(1), planted=True)
    assert list(drawn.rows) == [audit.BASE, "equal 1", audit.OTHER]
    places = [
        [pools[name].index(row) for row in drawn.rows[name]] for name in (audit.BASE, audit.OTHER)
    ]
    assert places[0] == places[1]
    assert drawn.truth[audit.OTHER] == pytest.approx(0.1, abs=0.005)


def test_a_large_difference_is_shown_chosen_and_covered_and_equals_are_left_alone(pools):
    generator = np.random.default_rng(2)
    found = [audit.judge(audit.draw(pools, 2, 5, generator, planted=True)) for _ in range(5)]
    assert all(one.shown and one.chosen and one.papers[1] and one.twice[1] for one in found)
    assert not any(one.false for one in found)
    drawn = audit.draw(pools, 2, 5, generator, planted=False)
    same = drawn._replace(rows=dict.fromkeys(drawn.rows, drawn.rows[audit.BASE]))
    one = audit.judge(same)
    assert (one.false, one.shown, one.covered, one.papers[0]) == (False, False, [True], False)


def test_a_claim_about_equals_is_counted_as_false(pools):
    """The second configuration under the label of an equal one: every rule claims it."""
    drawn = audit.draw(pools, 2, 5, np.random.default_rng(3), planted=True)
    wrong = drawn._replace(
        rows={audit.BASE: drawn.rows[audit.BASE], "equal 1": drawn.rows[audit.OTHER]},
        truth={"equal 1": 0.0},
    )
    one = audit.judge(wrong)
    assert (one.false, one.covered, one.papers[0], one.twice[0]) == (True, [False], True, True)


def test_the_pool_is_trained_once(tmp_path):
    out = tmp_path / "pool.jsonl"
    first = audit.pool_of(1, out)
    assert set(first[audit.BASE][0]["metrics"]) == set(audit.KEPT)
    assert len(first[audit.OTHER][0]["curve"]) == audit.SETTINGS["epochs"]
    before = out.read_text()
    assert audit.pool_of(1, out) == first
    assert out.read_text() == before
    with pytest.raises(ValueError, match="pool must be at least 80, got 5"):
        audit.main(["--pool", "5", "--out", str(out)])
