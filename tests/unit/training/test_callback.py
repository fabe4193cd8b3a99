import toy_training
from toy_training import batches_of, fit_toy, model_of, procedure_of

from imbalance_study.training.callback import Callback, Callbacks
from imbalance_study.training.loop import fit


class _Noted(Callback):
    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def on_resume(self, state):
        self.calls.append((self.name, "resume", state.result.epoch))

    def on_epoch_begin(self, epoch, images):
        self.calls.append((self.name, "begin", epoch, images))

    def on_batch_end(self, images, loss):
        self.calls.append((self.name, "batch", images))

    def on_epoch_end(self, state):
        self.calls.append((self.name, "end", state.result.epoch))


def _fit(model, callback, state=None):
    return fit(
        model,
        batches_of(),
        None,
        procedure_of(model, epochs=2, batch_size=20),
        seeds=len,
        callback=callback,
        state=state,
    )


def test_a_training_calls_each_method_in_its_order():
    calls = []
    _fit(model_of(), _Noted("a", calls))
    each = [("a", "batch", 20), ("a", "batch", 10)]
    assert calls == [
        *(("a", "begin", 1, 30), *each, ("a", "end", 1)),
        *(("a", "begin", 2, 30), *each, ("a", "end", 2)),
    ]


def test_several_callbacks_are_called_one_after_the_other():
    alone, calls = [], []
    _fit(model_of(), _Noted("a", alone))
    _fit(model_of(), Callbacks(_Noted("a", calls), _Noted("b", calls)))
    assert [call for call in calls if call[0] == "a"] == alone
    assert [call[0] for call in calls] == ["a", "b"] * len(alone)


def test_a_training_that_goes_on_first_reports_the_epoch_of_its_snapshot():
    snapshots, calls = [], []

    class Keeping(Callback):
        def on_epoch_end(self, state):
            snapshots.append(toy_training.copy_of(state.snapshot()))

    whole = _fit(model_of(), Keeping())
    resumed = _fit(model_of(seed=9), _Noted("a", calls), snapshots[0])
    assert calls[0] == ("a", "resume", 1)
    assert [call[1:3] for call in calls if call[1] in ("begin", "end")] == [
        ("begin", 2),
        ("end", 2),
    ]
    assert toy_training.same_weights(whole.last, resumed.last)


def test_a_callback_that_overrides_nothing_changes_nothing():
    model = model_of()
    plain = fit_toy(model, procedure_of(model, epochs=1))
    assert len(plain.history) == 1
    _fit(model, Callback())
