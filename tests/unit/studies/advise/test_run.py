import json

import pytest
from made_folders import folder
from mlflow import MlflowClient
from tiny import runs_of

from imbalance_study.studies.advise import kept, run
from imbalance_study.studies.advise.kept import Rows

SIZES = {"rust": 30, "mildew": 16, "scab": 9}


@pytest.fixture
def options(empty_store):
    return {
        "model": "efficientnet_lite0",
        "image_size": 32,
        "device": "cpu",
        "tracking_uri": empty_store,
        "minutes": 0.001,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("quick", "own_place")
def test_an_advice_is_written_recorded_and_goes_on(options, tmp_path, monkeypatch):
    images = folder(tmp_path / "images", SIZES)
    made = run.advise(images, out=tmp_path / "first", **options)
    assert made.early
    assert made.repeats == 5
    assert len(made.verdict) == 5
    assert set(made.figures) >= {"remedies", "recalls", "more_images", "rejection"}
    for name in ("advice.html", "advice.md", "advice.json", "tables/remedies.csv"):
        assert (tmp_path / "first" / name).stat().st_size
    [record] = runs_of(options["tracking_uri"])
    assert (record.info.run_id, record.info.status) == (made.run_id, "FINISHED")
    assert record.data.metrics["advice/repeats"] == 5
    assert made.verdict[0].split()[0] in record.data.tags["mlflow.note.content"]
    client = MlflowClient(options["tracking_uri"])
    files = {file.path for file in client.list_artifacts(made.run_id)}
    assert files >= {"advice.html", "advice.md", "remedies.json", "repeats.json", "figures"}
    experiment = client.get_experiment(record.info.experiment_id)
    note = experiment.tags["mlflow.note.content"]
    assert "\n- [Advice on images](#/experiments/" in note
    assert made.run_id in note
    before = _rows(monkeypatch)
    again = run.advise(images, out=tmp_path / "second", **options)
    assert before[0].read == 5 * 3 + 5 * 2 * 3  # heads of remedies, and of fewer images
    assert again.remedies.equals(made.remedies)
    assert json.loads((tmp_path / "second" / "advice.json").read_text())["choice"] == again.choice


def _rows(monkeypatch):
    """Keep the rows that the next advice opens."""
    opened = []

    class Seen(Rows):
        def __init__(self, path):
            super().__init__(path)
            opened.append(self)

    monkeypatch.setattr(kept, "Rows", Seen)
    return opened


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "focal"}, "advise takes no option 'loss'"),
        ({"metric": "accuracy"}, "unknown metric"),
        ({"minutes": 0}, "minutes must be larger than 0"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(given, message, options, tmp_path):
    images = folder(tmp_path / "images", SIZES)
    with pytest.raises(ValueError, match=message):
        run.advise(images, **options | given)


def test_the_clock_counts_stages_and_what_is_left():
    clock = run._Clock(0.5)
    with clock.stage("one"):
        assert clock.of("one") >= 0
    assert set(clock.stages) == {"one"}
    assert 0 < clock.left() <= 30
    assert clock.of("never") == 0
