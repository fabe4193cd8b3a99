"""Labels of configurations; the tables themselves are tested on a store."""

import pytest

from imbalance_study.studies.report import frames


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([{"loss": "focal", "seed": 0}, {"loss": "focal", "seed": 1}], ["focal", "focal"]),
        ([{"loss": "focal"}, {"loss": "ldam"}], ["focal", "ldam"]),
        ([{"loss": "focal", "lr": 0.1}, {"loss": "focal", "lr": 0.2}], ["lr=0.1", "lr=0.2"]),
        # lr goes with the optimizer, which alone tells them apart
        (
            [{"optimizer": "sgd", "lr": 0.1}, {"optimizer": "adamw", "lr": 0.001}],
            ["sgd", "adamw"],
        ),
        # a data_seed of each seed sets nothing apart; two of one seed do
        (
            [{"loss": "focal", "seed": n, "data_seed": n} for n in (0, 1)],
            ["focal", "focal"],
        ),
        (
            [{"loss": "focal", "seed": 0, "data_seed": n} for n in (0, 1)],
            ["data_seed=0", "data_seed=1"],
        ),
        ([{"loss": "focal", "device": "cpu"}, {"loss": "focal", "device": "cuda"}], ["focal"] * 2),
        (
            [
                {"recipe": "paper_ce", "loss": "cross_entropy", "defer": 0.0},
                {"recipe": "paper_ldam_drw", "loss": "ldam", "defer": 0.8},
            ],
            ["paper_ce", "paper_ldam_drw"],
        ),
        ([{}], ["default"]),
    ],
)
def test_a_configuration_is_called_by_the_fewest_options_that_tell_it_apart(options, expected):
    assert frames.labels(options) == expected


def test_labels_tell_apart_what_differs_and_nothing_else():
    options = [
        {"loss": loss, "model": model, "seed": seed}
        for loss in ("cross_entropy", "focal")
        for model in ("resnet20", "vgg16")
        for seed in (0, 1)
    ]
    found = frames.labels(options)
    assert len(set(found)) == 4
    assert found[::2] == found[1::2]


def test_an_experiment_on_a_server_has_an_address_without_a_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:5000/")
    address = frames.address_of("7")
    assert address.endswith("host:5000/#/experiments/7")
    assert "secret" not in address
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert frames.address_of("7") == ""
