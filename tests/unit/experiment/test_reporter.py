from imbalance_study.experiment.analyses.context import HeatmapOptions
from imbalance_study.experiment.monitor import Monitor
from imbalance_study.experiment.reporter import Reporter
from imbalance_study.training import checkpointing
from imbalance_study.training.callback import EpochState
from imbalance_study.training.checkpointing import Keeper
from imbalance_study.training.procedure import EpochResult


def _state(setup, epoch, taken):
    def snapshot():
        taken.append(epoch)
        return {"epoch": epoch}

    result = EpochResult(epoch, {"train/loss": 1.0})
    return EpochState(result, setup.model, setup.procedure.probabilities, snapshot)


def test_without_a_keeper_epochs_are_reported_at_once_and_no_snapshot_is_taken(make_setup):
    setup, seen, taken = make_setup(), [], []
    reporter = Reporter(setup, seen.append)
    reporter.on_epoch_end(_state(setup, 1, taken))
    assert [epoch.epoch for epoch in seen] == [1]
    assert taken == []


def test_an_epoch_is_reported_once_its_checkpoint_is_on_the_disk(make_setup, tmp_path):
    setup, taken, on_disk = make_setup(), [], []

    def report(result):
        on_disk.append((result.epoch, sorted(path.name for path in tmp_path.glob("epoch-*.pt"))))

    with Keeper(tmp_path, {}) as keeper:
        reporter = Reporter(setup, report, keeper=keeper)
        for epoch in (1, 2):
            reporter.on_epoch_end(_state(setup, epoch, taken))
    assert taken == [1, 2]
    assert [epoch for epoch, _ in on_disk] == [1, 2]
    for epoch, files in on_disk:
        assert f"epoch-{epoch:06d}.pt" in files


def test_a_checkpoint_of_the_second_stage_holds_the_first(make_setup, make_stage, tmp_path):
    setup = make_setup()
    with Keeper(tmp_path, {}) as keeper:
        reporter = Reporter(setup, lambda result: None, keeper=keeper)
        reporter.on_epoch_end(_state(setup, 1, []))
        assert checkpointing.newest(tmp_path, print)["stage1"] == {}
        reporter.begin_second_stage(make_stage(setup).fit)
        reporter.on_epoch_end(_state(setup, 2, []))
        keeper.wait()
        content = checkpointing.newest(tmp_path, print)
    assert content["stage1"]["steps"] == 6
    assert list(content) == ["config", "facts", "versions", "fit", "stage1"]


def test_the_report_of_an_epoch_carries_the_figures_of_the_monitor(make_setup):
    setup, seen = make_setup(figure_every=2), []
    reporter = Reporter(setup, seen.append, Monitor(setup, HeatmapOptions()))
    for epoch in (1, 2):
        reporter.on_epoch_end(_state(setup, epoch, []))
    reporter.on_resume(_state(setup, 2, []))
    assert [bool(epoch.images) for epoch in seen] == [False, True, True]
