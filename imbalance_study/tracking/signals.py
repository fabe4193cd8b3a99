"""Signals to stop, as exceptions that come at a safe moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

AGAIN = 0.05  # seconds until a signal is sent again whose exception was dropped


class StopSignals:
    """A context that turns signals to stop into exceptions in the main thread.

    While they are held, which they are at first, one signal waits and a second one comes through.
    The end of the context lets the waiting signal through. A signal that arrives inside a callback
    of Python's memory management, which drops every exception, is sent again.
    """

    def __init__(self) -> None:
        self._held = True
        self._waiting = 0  # the number of a signal; 0: none
        self._raised: tuple[int, BaseException] | None = None  # the last signal, its exception
        self._handlers: dict[int, Any] = {}  # from before the context
        self._unraisable: Any = None  # hook from before the context

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)
            defaults = {signal.SIGINT: signal.default_int_handler, hang_up: signal.SIG_DFL}
            for number in {signal.SIGTERM, *defaults}:
                # A process that ignores Ctrl-C, or by nohup the end of its terminal, still does.
                if number == signal.SIGTERM or signal.getsignal(number) == defaults[number]:
                    self._handlers[number] = signal.signal(number, self._on_signal)
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._unraisable is not None:
            sys.unraisablehook = self._unraisable
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            self.release()

    def hold(self) -> None:
        """Let signals wait from here on."""
        self._held = True

    def release(self) -> None:
        """Let signals through, the waiting one first.

        Raises:
            KeyboardInterrupt: For Ctrl-C.
            SystemExit: For any other signal, with 128 and its number.
        """
        self._held = False
        if self._waiting:
            number, self._waiting = self._waiting, 0
            self._stop(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._held and not self._waiting:
            self._waiting = number
        else:
            self._stop(number)

    def _stop(self, number: int) -> None:
        stop = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        self._raised = (number, stop)
        raise stop

    def _on_unraisable(self, dropped: sys.UnraisableHookArgs) -> None:
        if self._raised is None or dropped.exc_value is not self._raised[1]:
            self._unraisable(dropped)
            return
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), self._raised[0]))
        again.daemon = True
        again.start()
