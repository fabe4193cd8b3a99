"""A training that only waits, in a module that processes of their own can import."""

import threading
import time


def works_for(hook, seconds, beside):
    """Trains by waiting; `beside` seconds of it in a thread that the last epoch waits for."""
    thread = threading.Thread(target=waits, args=(beside,))
    hook(False)
    thread.start()
    waits(seconds)
    thread.join()
    hook(True)


def waits(seconds):
    """As long as a clock goes on that stands still while the process is stopped."""
    for _ in range(round(100 * seconds)):
        time.sleep(0.01)
