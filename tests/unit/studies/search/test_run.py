"""Studies that end before a trial; whole ones are in tests/integration/studies."""

import time

import pytest

from imbalance_study.studies.search import processes
from imbalance_study.studies.search.job import prepare_job
from imbalance_study.studies.search.optuna_study import OptunaStudy, open_storage
from imbalance_study.studies.search.run import run_search
from imbalance_study.studies.search.settings import StudySettings

DIGITS = {"dataset": "digits", "model": "resnet20", "image_size": "8", "epochs": "1"}


@pytest.fixture
def given(own_place, empty_store):
    return DIGITS | {"tracking_uri": empty_store}


def test_a_study_whose_leader_does_not_start_is_given_up(given, tmp_path):
    settings = StudySettings(study="s", search="loss", heartbeat_timeout=0.3)
    job = prepare_job(settings, given)
    study = OptunaStudy(open_storage(job.storage, 60), job.plan)
    study.set_attribute("signature", job.signature)
    study.set_attribute("leader", processes.process_identity() | {"heard": time.time()})
    with pytest.raises(ValueError, match="that leads study s has not started its run"):
        run_search(settings, given)


def test_a_study_in_another_store_is_refused(given, tmp_path):
    settings = StudySettings(study="s", search="loss")
    job = prepare_job(settings, given)
    study = OptunaStudy(open_storage(job.storage, 60), job.plan)
    study.set_attribute("signature", job.signature)
    study.set_attribute("parent", "0" * 32)
    study.set_attribute("leader", processes.process_identity() | {"heard": time.time()})
    with pytest.raises(ValueError, match="records its runs in another MLflow store"):
        run_search(settings, given)
