import dataclasses

import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment.setup.build import build
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.models import profiling

SMALL = {
    "dataset": "digits",
    "model": "resnet20",
    "image_size": 8,
    "epochs": 1,
    "device": "cpu",
    "analyses": "none",
}


@pytest.fixture(autouse=True)
def _own_generator():
    with torch.random.fork_rng([]):
        yield


def test_every_auto_is_decided():
    setup = build(make(**SMALL, batch_size="auto", head="auto", loss="ldam"))
    assert setup.config.batch_size == setup.procedure.batch_size == setup.facts.batch_size == 32
    assert setup.choices.head == "cosine"
    assert setup.device_setup.precision == setup.facts.precision == "fp32"
    assert setup.facts.memory_format == "channels_last"
    assert setup.procedure.lr == setup.config.lr
    assert setup.range_test is setup.facts.lr is None


def test_the_facts_are_those_of_the_data_and_the_model():
    setup = build(make(**SMALL, imbalance="step:ratio=5"))
    assert setup.facts.train_counts == setup.data.class_counts.tolist()
    sizes = {name: len(rows) for name, rows in setup.data.split._asdict().items()}
    assert setup.facts.images == sizes
    assert setup.facts.parameters == profiling.count_parameters(setup.model).total
    assert setup.facts.digest == setup.data.fingerprint["fingerprint"]
    assert setup.facts.threads == torch.get_num_threads()


def test_a_learning_rate_that_is_looked_for_is_found_by_a_range_test():
    setup = build(make(**SMALL | {"model": "small_nets:conv"}, lr="auto", batch_size=8))
    assert setup.procedure.lr == setup.facts.lr == setup.range_test.suggestion
    assert 1e-5 < setup.procedure.lr < 5
    assert setup.config.lr == "auto"  # as it is recorded: a run that goes on reads the facts


def test_a_run_that_goes_on_takes_rate_precision_and_format_from_its_facts():
    config = make(**SMALL, lr="auto")
    before = RunFacts.from_dict({"lr": 0.03, "precision": "bf16", "memory_format": "contiguous"})
    setup = build(config, before=before)
    assert setup.procedure.lr == setup.facts.lr == 0.03
    assert setup.range_test is None
    assert (setup.device_setup.precision, setup.device_setup.channels_last) == ("bf16", False)
    kept = build(dataclasses.replace(config, auto_precision=False), before=before)
    assert kept.device_setup.precision == "fp32"


def test_the_test_part_can_be_left_out_where_there_is_validation():
    setup = build(make(**SMALL), test=False)
    assert setup.parts.test is None
    with pytest.raises(ValueError, match="set up without its test images"):
        setup.parts.need_test()
    with pytest.raises(ValueError, match="needs validation images, got validation=none"):
        build(make(**SMALL, validation="none"), test=False)
    setup = build(make(**SMALL, validation="none"))
    with pytest.raises(ValueError, match="has no validation images"):
        setup.parts.need_val()
