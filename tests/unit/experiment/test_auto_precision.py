import dataclasses
import json

import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment import auto_precision
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.run import Checkpoints
from imbalance_study.experiment.setup.data import batches_of
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.experiment.setup.inputs import load_inputs
from imbalance_study.models.checkpoint import load
from imbalance_study.training.checkpointing import Keeper

LONG = {
    "dataset": "digits",
    "model": "small_nets:conv",
    "image_size": 8,
    "steps_per_epoch": 200,
}


def setting(cache, **options):
    config = make(**LONG | {"epochs": 1, "cache_dir": str(cache)} | options)
    inputs = load_inputs(config)
    return inputs, batches_of(inputs.data, "train", config, inputs.device_setup.device)


def _place(inputs, train):
    return auto_precision._place(inputs, train, list(auto_precision._ways(inputs)))


def plant(cache, asked, **verdict):
    place = _place(*asked)
    place.parent.mkdir(parents=True, exist_ok=True)
    found = {"memory_format": "contiguous", "precision": "fp32", "seconds": {"x": 1.0}} | verdict
    place.write_text(json.dumps(found))
    return place


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        ((1.0, 2.0, 2.0), ("channels_last", "fp32")),
        ((1.0, 0.95, 2.0), ("channels_last", "fp32")),  # within the noise
        ((1.0, 0.8, 2.0), ("contiguous", "fp32")),
        ((1.0, 2.0, 0.85), ("channels_last", "fp32")),  # not worth the digits
        ((1.0, 2.0, 0.5), ("channels_last", "bf16")),
        ((1.0, 0.6, 0.5), ("contiguous", "fp32")),
        ((1.0, 0.6, 0.3), ("channels_last", "bf16")),
    ],
)
def test_another_way_is_taken_when_it_is_clearly_faster(seconds, verdict):
    names = ("channels_last fp32", "contiguous fp32", "channels_last bf16")
    found = auto_precision._judge(dict(zip(names, seconds, strict=True)))
    assert (found.memory_format, found.precision) == verdict


def test_a_trial_measures_each_way_and_is_remembered(tmp_path):
    asked = setting(tmp_path)
    random = torch.get_rng_state()
    with torch.random.fork_rng([]):
        inputs, verdict = auto_precision.settle(*asked, None)
    assert torch.equal(torch.get_rng_state(), random)
    ways = {"channels_last fp32", "contiguous fp32", "channels_last bf16"}
    assert verdict.seconds.keys() == ways
    assert all(0 < seconds < 60 for seconds in verdict.seconds.values())
    assert auto_precision.settle(*asked, None) == (inputs, verdict)
    (place,) = (tmp_path / "probes").iterdir()
    place.write_text("{")
    with torch.random.fork_rng([]):
        assert auto_precision.settle(*asked, None)[1].seconds.keys() == ways
    assert json.loads(place.read_text())["seconds"].keys() == ways


@pytest.mark.parametrize(
    "options",
    [
        {"auto_precision": False},
        {"steps_per_epoch": 99, "epochs": 2},
        {"precision": "fp32", "memory_format": "contiguous"},
    ],
)
def test_short_trainings_and_what_is_decided_are_not_tried(tmp_path, options):
    asked = setting(tmp_path, **options)
    assert auto_precision.settle(*asked, None) == (asked[0], None)
    assert not (tmp_path / "probes").exists()


def test_what_is_given_is_not_decided_anew(tmp_path):
    asked = setting(tmp_path, memory_format="channels_last", precision="auto")
    assert [auto_precision._name(way) for way in auto_precision._ways(asked[0])] == [
        "channels_last fp32",
        "channels_last bf16",
    ]


def test_another_model_size_or_number_of_threads_is_asked_anew(tmp_path):
    places = set()
    for options in ({}, {"model": "custom_cnn"}, {"image_size": 24}):
        asked = setting(tmp_path, **options)
        places.add(_place(*asked))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        places.add(_place(*asked))
    finally:
        torch.set_num_threads(threads)
    assert len(places) == 4


def test_a_run_computes_as_the_verdict_says_and_goes_on_so(tmp_path):
    asked = setting(tmp_path, analyses="none", epochs=2, steps_per_epoch=100)
    plant(tmp_path, asked)
    config = asked[0].config
    folder = tmp_path / "checkpoints"

    class Stopped(Exception):
        pass

    def stop(result):
        if result.epoch == 1:
            raise Stopped

    keeper = Keeper(folder, {})
    with pytest.raises(Stopped):
        experiment.run(
            config, stop, output_dir=tmp_path, checkpoints=Checkpoints(keeper), draw=False
        )
    state = load(folder / "epoch-000001.pt")
    assert state["facts"]["memory_format"] == "contiguous"
    assert state["facts"]["probe_seconds"] == {"x": 1.0}
    plant(tmp_path, asked, memory_format="channels_last", precision="bf16")
    going_on = Checkpoints(state=state)
    result = experiment.run(config, output_dir=tmp_path, checkpoints=going_on, draw=False)
    assert result.facts.memory_format == "contiguous"
    assert result.facts.precision == "fp32"
    assert not result.setup.device_setup.channels_last


def test_given_ways_win_over_those_of_the_checkpoint(tmp_path):
    asked = setting(tmp_path, precision="fp32")
    facts = RunFacts.from_dict({"precision": "bf16", "memory_format": "contiguous"})
    inputs, _ = auto_precision.settle(*asked, facts)
    device_setup = inputs.device_setup
    assert (device_setup.precision, device_setup.channels_last) == ("fp32", False)


@pytest.mark.parametrize(
    ("bf16", "capability", "graph", "precisions"),
    [
        (True, (9, 0), "auto", ["fp32", "bf16", "fp16"]),
        (True, (9, 0), "true", ["fp32", "bf16"]),  # fp16 cannot be captured
        (False, (7, 0), "auto", ["fp32", "fp16"]),
        (False, (6, 1), "auto", ["fp32"]),  # Pascal is slow in fp16
    ],
)
def test_a_gpu_tries_the_precisions_that_it_may_be_fast_in(
    bf16, capability, graph, precisions, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "a card")
    inputs, train = setting(tmp_path)
    config = dataclasses.replace(inputs.config, cuda_graph=graph)
    on_gpu = inputs.device_setup._replace(device=torch.device("cuda"), precision="bf16")
    inputs = dataclasses.replace(inputs, config=config, device_setup=on_gpu)
    ways = list(auto_precision._ways(inputs))
    assert [way.precision for way in ways if way.channels_last] == precisions
    assert [way.precision for way in ways if not way.channels_last] == ["fp32"]
    plain = auto_precision._place(inputs, train, ways)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "another card")
    assert auto_precision._place(inputs, train, ways) != plain
