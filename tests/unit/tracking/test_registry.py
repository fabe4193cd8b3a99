from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image

from imbalance_study import cli
from imbalance_study.tracking import fetch, registry


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def promoted(tiny_run):
    """The lines of the first and of the second promotion, and a client."""
    first = registry.promote(tiny_run.run_id, "auto", "champion", tiny_run.store)
    second = registry.promote(tiny_run.run_id, "auto", "champion", tiny_run.store)
    return first, second, MlflowClient(tiny_run.store)


def test_a_promoted_run_is_a_version_with_alias_tags_and_metrics(tiny_run, promoted):
    first, second, client = promoted
    assert first[0] == f"digits_classifier version 1 is @champion: run {tiny_run.run_id}"
    assert "is a new alias" in first[1]
    assert second[0].startswith("digits_classifier version 2 is @champion")
    assert second[1] == f"  @champion was version 1: run {tiny_run.run_id}"
    assert any("balanced accuracy" in line and "(+0.00)" in line for line in second)
    version = client.get_model_version_by_alias("digits_classifier", "champion")
    assert (int(version.version), version.run_id) == (2, tiny_run.run_id)
    found = tiny_run.result.metrics["test/balanced_accuracy"]
    assert version.tags["balanced_accuracy"] == f"{found:.4f}"
    assert version.tags["model"] == "resnet20"
    run_tags = client.get_run(tiny_run.run_id).data.tags
    assert len(version.tags[fetch.HASH_TAG]) == 64
    assert version.tags[fetch.HASH_TAG] == run_tags[fetch.HASH_TAG]
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    metrics = {metric.key: metric.value for metric in model.metrics}
    assert metrics["test/balanced_accuracy"] == pytest.approx(found)


def test_the_card_tells_data_recall_calibration_and_limits(tiny_run, promoted, tmp_path):
    _, _, client = promoted
    path = client.download_artifacts(tiny_run.run_id, "model_card.md", str(tmp_path))
    text = Path(path).read_text()
    version = client.get_model_version("digits_classifier", "1")
    assert version.description == text
    recall = tiny_run.result.tables["per_class"]["recall"]
    assert f"| 0 | &emsp;112 | &emsp;53 | &emsp;{recall[0]:.2f} |" in text
    assert "Fewer than 100 training images: 1 (89), 2 (68)" in text
    assert f"off by {tiny_run.result.metrics['test_calibration/ece']:.1%}" in text
    assert tiny_run.result.facts.digest in text
    assert "Tested on images of digits alone. Not tested:" in text


def test_models_are_found_by_alias_version_and_id(tiny_run, promoted):
    _, _, client = promoted
    source = client.get_model_version("digits_classifier", "1").source
    addresses = ("models:/digits_classifier@champion", "models:/digits_classifier/1", source)
    for address in (*addresses, f"runs:/{tiny_run.run_id}", f"runs:/{tiny_run.run_id}/model"):
        assert fetch.find_run(client, address).info.run_id == tiny_run.run_id


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("models:/nothing@champion", r"unknown model 'nothing' in .*; known: .*digits_classifier"),
        (
            "models:/digits_classifier@best",
            r"no 'best'; its aliases: @champion; its versions: 1, 2",
        ),
        ("models:/digits_classifier/17", r"has no '17'"),
        ("models:/digits_classifier", "a model is written models:/NAME@ALIAS or"),
        ("models:/", "a model is written"),
        ("runs:/abc", "unknown run 'abc'"),
    ],
)
def test_an_unknown_model_says_what_there_is(tiny_run, promoted, address, message):
    with pytest.raises(ValueError, match=message):
        fetch.find_run(promoted[2], address)


@pytest.mark.parametrize(("name", "alias"), [("a/b", "champion"), ("other", "v1"), ("o", "a b")])
def test_what_the_registry_refuses_leaves_no_version_behind(tiny_run, promoted, name, alias):
    client = promoted[2]

    def versions():
        return [(one.name, one.version) for one in client.search_model_versions()]

    before = versions()
    models = [model.name for model in client.search_registered_models()]
    for new in (name, "digits_classifier") if alias != "champion" else (name,):
        with pytest.raises(ValueError, match="the registry refuses"):
            registry.promote(tiny_run.run_id, new, alias, tiny_run.store)
    assert versions() == before
    assert [model.name for model in client.search_registered_models()] == models


def test_runs_that_cannot_be_promoted_are_told_apart(empty_store, tmp_path, capsys):
    client = MlflowClient(empty_store)
    place = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))
    own = {"imbalance_study.version": "1"}
    cases = {
        "was not made by imbalance_study": ({}, "FINISHED"),
        "did not finish: its status is FAILED": ({}, "FAILED"),  # before it told its version
        "did not finish: its status is RUNNING": (own, "RUNNING"),
        "has no model to promote": ({"study": "s"}, "FINISHED"),
    }
    for message, (tags, status) in cases.items():
        run = client.create_run(place, tags=tags)
        client.set_terminated(run.info.run_id, status)
        with pytest.raises(SystemExit) as stop:
            cli.main(["promote", run.info.run_id, "--tracking_uri", empty_store])
        assert stop.value.code == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    client.delete_run(run.info.run_id)
    with pytest.raises(ValueError, match="is deleted"):
        registry.promote(run.info.run_id, "auto", "champion", empty_store)
    assert client.search_registered_models() == []


def test_a_promoted_model_is_explained_and_predicts_by_its_alias(
    tiny_run, promoted, tmp_path, capsys
):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    words = ["--model", "models:/digits_classifier@champion", "--tracking_uri", tiny_run.store]
    words += ["--images", str(tmp_path / "a.png")]
    cli.main(["explain", *words, "--methods", "occlusion", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith("a.png: ")
    cli.main(["predict", *words, "--out", str(tmp_path / "p.csv")])
    assert (tmp_path / "p.csv").exists()
