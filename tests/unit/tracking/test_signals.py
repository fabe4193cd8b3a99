import os
import signal
import sys
import threading
import time
import weakref

import pytest

from imbalance_study.tracking.signals import StopSignals


def _run(*actions):
    """Call methods of the context by name, or send signals, inside of it; note what was done."""
    DONE.clear()
    with StopSignals() as signals:
        for action in actions:
            if isinstance(action, signal.Signals):
                os.kill(os.getpid(), action)
            else:
                getattr(signals, action)()
            DONE.append(action)


DONE = []


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit), (signal.SIGINT, KeyboardInterrupt)],
)
def test_a_held_signal_waits_until_it_is_released(number, kind):
    with pytest.raises(kind):
        _run(number, "hold", "release", "hold")
    assert [number, "hold"] == DONE


def test_a_released_signal_comes_at_once_with_its_number_as_status():
    with pytest.raises(SystemExit) as stop:
        _run("release", signal.SIGTERM)
    assert stop.value.code == 128 + signal.SIGTERM


def test_a_second_signal_does_not_wait():
    with pytest.raises(SystemExit):
        _run("hold", signal.SIGTERM, signal.SIGTERM, "hold")
    assert DONE == ["hold", signal.SIGTERM]


def test_the_end_of_the_context_lets_a_waiting_signal_through():
    with pytest.raises(SystemExit):
        _run("release", "hold", signal.SIGTERM)
    assert DONE == ["release", "hold", signal.SIGTERM]


def test_the_handlers_of_before_are_back_afterwards():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in numbers] == before


def test_an_ignored_end_of_the_terminal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signals.release()
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_inside_a_callback_that_drops_exceptions_comes_again(number, kind):
    before = sys.unraisablehook

    def collect_and_wait():
        with StopSignals() as signals:
            signals.release()
            thing = threading.Event()
            reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), number))
            del thing
            end = time.monotonic() + 10
            while reference() is None and time.monotonic() < end:
                time.sleep(0.01)

    with pytest.raises(kind):
        collect_and_wait()
    assert sys.unraisablehook is before


def test_other_exceptions_that_are_dropped_go_to_the_hook_of_before(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: seen.append(dropped.exc_value))
    with StopSignals():
        thing = threading.Event()
        reference = weakref.ref(thing, lambda _: 1 / 0)
        del thing
    assert reference() is None
    assert [type(one) for one in seen] == [ZeroDivisionError]


def test_other_threads_change_no_handler():
    seen = []

    def use():
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
