"""The names that the help page shows are those of the registries."""

import pytest

from imbalance_study.config import choices
from imbalance_study.data import (
    augment,
    auto_augment,
    datasets,
    longtail,
    mixing,
    samplers,
    smote,
)
from imbalance_study.experiment.analyses import registry as analyses
from imbalance_study.models import zoo
from imbalance_study.training import losses, optim, schedules, second_stage

PAIRS = {
    "DATASETS": datasets.DATASETS,
    "IMBALANCES": longtail.IMBALANCES,
    "VALIDATIONS": longtail.VALIDATIONS,
    "MODELS": zoo.MODELS,
    "LOSSES": losses.LOSSES,
    "CLASS_WEIGHTS": losses.CLASS_WEIGHTS,
    "SAMPLERS": samplers.SAMPLERS,
    "AUGMENTATIONS": augment.AUGMENTATIONS,
    "MIXES": mixing.MIXES,
    "RESAMPLES": smote.RESAMPLERS,
    "TAIL_AUGMENTS": auto_augment.TAIL_AUGMENTS,
    "STAGES": second_stage.STAGES,
    "OPTIMIZERS": optim.OPTIMIZERS,
    "SCHEDULES": schedules.SCHEDULES,
    "ANALYSES": analyses.ANALYSES | analyses.GROUPS,
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_choices_on_the_help_page_are_those_of_the_registry(name):
    listed = getattr(choices, name)
    assert set(listed) - {"none"} == set(PAIRS[name]) - {"none"}
    for choice, about in listed.items():
        assert len(about) > 3, choice
