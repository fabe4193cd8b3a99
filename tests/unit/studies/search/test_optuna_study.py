import contextlib
import sqlite3
import time

import pytest

from imbalance_study.studies.search import processes, space
from imbalance_study.studies.search.optuna_study import OptunaStudy, StudyPlan, open_storage
from imbalance_study.studies.search.settings import objectives
from imbalance_study.tracking import process

SPACE = space.build("optimizer", {"dataset": "digits"})
GOALS = objectives("val/balanced_accuracy")


def plan(**changes):
    return StudyPlan("s", SPACE, GOALS, 3)._replace(**changes)


@pytest.fixture
def journal(tmp_path):
    return str(tmp_path / "deep" / "studies.journal")


def search(place, **changes):
    found = plan(**changes)
    return OptunaStudy(open_storage(place, found.patience), found)


def states(found):
    return [trial.state for trial in found.records()]


def elsewhere(claim, **heartbeat):
    """Let another machine run the trial."""
    identity = processes.process_identity() | {process.PROCESS: "another-machine 1 2"}
    claim.set_attributes(process=identity, **heartbeat)


def reused_number():
    """The identity of a dead process whose number this one has got."""
    identity = processes.process_identity()
    machine, number, _ = identity[process.PROCESS].split()
    return identity | {process.PROCESS: f"{machine} {number} 1"}


class Clock:
    """Seconds since the epoch, that go on when they are told to."""

    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


def test_trials_are_counted_over_all_processes(journal):
    one, other = search(journal), search(journal)
    assert (one.is_new, other.is_new) == (True, False)
    claims = [one.claim_trial(), other.claim_trial(), one.claim_trial()]
    assert sorted(claim.number for claim in claims) == [0, 1, 2]
    assert other.claim_trial() is None  # the third is under way
    for claim in claims[:2]:
        one.propose(claim)
        one.complete(claim, (0.5,))
    assert other.count_ended() == 2
    one.prune(claims[2])
    assert other.count_ended() == 3
    assert other.claim_trial() is None


def test_of_two_that_take_the_last_trial_one_gives_it_back(journal):
    one, other = search(journal, trials=1), search(journal, trials=1)
    one.enqueue({"lr_factor": 2.0})
    first = one.claim_trial()
    other.plan = plan(trials=2)  # it has looked before the first was taken
    other.enqueue({"lr_factor": 3.0})
    second = other.claim_trial()
    other.plan = plan(trials=1)
    assert second is not None
    other.fail(second, retry=True)
    one.complete(first, (0.5,))
    assert states(one)[:2] == ["complete", "failed"]
    assert other.claim_trial() is None


def test_a_trial_whose_process_is_dead_is_failed_and_its_point_tried_again(journal):
    found = search(journal, patience=60)
    claim = found.claim_trial()
    values = found.propose(claim).values
    claim.set_attributes(process=reused_number(), baseline="b")  # the number was given again
    assert found.fail_stale_trials() == [0]
    assert found.fail_stale_trials() == []
    again = found.claim_trial()
    assert found.propose(again).values == values
    found.complete(again, (0.5,))
    records = found.records()
    assert [one.state for one in records] == ["failed", "complete"]
    assert records[1].baseline == "b"


def test_a_living_process_keeps_its_trial(journal):
    found = search(journal)
    found.claim_trial()
    assert found.fail_stale_trials() == []
    assert states(found) == ["running"]


def test_a_process_on_another_machine_is_dead_when_it_is_silent_on_a_journal_file(journal):
    found = search(journal, patience=5)
    silent, talking = found.claim_trial(), found.claim_trial()
    for claim in (silent, talking):
        found.propose(claim)
    elsewhere(silent, heard=time.time() - 6)
    elsewhere(talking, heard=time.time())
    assert found.fail_stale_trials() == [0]


def test_a_process_on_another_machine_is_dead_when_it_is_silent_in_a_database(tmp_path):
    database = tmp_path / "studies.db"
    found = search(f"sqlite:///{database}", patience=60)
    claim = found.claim_trial()
    found.propose(claim)
    elsewhere(claim)
    claim.send_heartbeat()
    assert found.fail_stale_trials() == []
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-61 seconds')")
    assert found.fail_stale_trials() == [0]
    assert states(found) == ["failed", "waiting"]


def test_a_heartbeat_keeps_a_trial_alive(journal):
    clock = Clock()
    study_plan = plan(patience=60)
    found = OptunaStudy(open_storage(journal, 60), study_plan, clock)
    claim = found.claim_trial()
    elsewhere(claim, heard=0.0)
    claim.send_heartbeat()
    clock.now += 59
    assert found.fail_stale_trials() == []
    clock.now += 2
    assert found.fail_stale_trials() == [0]


def test_a_trial_without_a_process_is_failed_after_a_while(journal):
    clock = Clock()
    found = OptunaStudy(open_storage(journal, 60), plan(patience=60), clock)
    found._study.ask()  # a process that died before it wrote its identity
    assert found.fail_stale_trials() == []
    clock.now += 61
    assert found.fail_stale_trials() == [0]


def test_a_point_that_kills_its_process_each_time_is_given_up(journal):
    found = search(journal, trials=20)
    found.enqueue({"lr_factor": 7.0})
    seen = 0
    for _ in range(8):
        claim = found.claim_trial()
        seen += found.propose(claim).values["lr_factor"] == 7.0
        claim.set_attributes(process=reused_number())
        found.fail_stale_trials()
    assert 3 <= seen <= 4


def test_a_hopeless_trial_is_given_up_and_a_baseline_never():
    found = search("memory", pruner="median", trials=20, epochs=5)
    for value in (0.5, 0.6, 0.7, 0.8, 0.9):
        claim = found.claim_trial()
        for epoch in (1, 2, 3):
            claim.should_prune(epoch, value)
        found.complete(claim, (value,))
    claim = found.claim_trial()
    claim.should_prune(1, 0.1)
    assert claim.should_prune(2, 0.1)
    found.enqueue({}, baseline="b")
    found.prune(claim)
    claim = found.claim_trial()
    claim.should_prune(1, 0.1)
    assert not claim.should_prune(2, 0.1)


def test_a_good_loss_with_an_option_of_its_own_is_found():
    whole = space.build("loss|optimizer", {"dataset": "digits"})
    found = search("memory", space=whole, trials=60)
    for values in space.baselines(whole).values():
        found.enqueue(values)
    while (claim := found.claim_trial()) is not None:
        values = found.propose(claim).values
        good = values["loss"] == "logit_adjusted"
        found.complete(claim, (good - abs(values.get("tau", 2.5) - 2),))
    best = max(found.records(), key=lambda trial: trial.values)
    assert best.dimensions["loss"] == "logit_adjusted"
    assert best.values[0] > 0.6


def test_importances_point_at_what_matters():
    found = search("memory", trials=30)
    while (claim := found.claim_trial()) is not None:
        values = found.propose(claim).values
        found.complete(claim, (values["lr_factor"],))
    shares = found.importances()
    assert max(shares, key=shares.get) == "lr_factor"
    assert shares["lr_factor"] > 0.8
    assert search("memory").importances() == {}


def test_a_storage_that_cannot_be_reached_is_one_line_without_the_password(tmp_path):
    for place in (
        "postgresql+psycopg2://me:secret@127.0.0.1:1/x",
        "nonsense://x",
        f"sqlite:///{tmp_path}/no/such/folder/x.db",
    ):
        with pytest.raises(ValueError, match="cannot be opened") as caught:
            open_storage(place, 60)
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be opened"):
        open_storage(str(tmp_path / "file" / "x"), 60)


def test_a_study_of_an_older_version_is_read(journal):
    import optuna

    old = optuna.create_study(
        storage=open_storage(journal, 60), study_name="s", direction="maximize"
    )
    trial = old.ask()
    trial.suggest_float("lr_factor", 0.1, 10, log=True)
    trial.set_user_attr("knobs", {"lr": "0.2"})
    old.tell(trial, 0.5)
    (record,) = search(journal).records()
    assert record.options == {"lr": "0.2"}
    assert record.values == (0.5,)
