"""What a reading process does when it is told to end: it reads on for the training, which decides when to stop."""

import os
import signal
import threading
import time

IDLE = 20.0  # seconds without a request after which a reader obeys SIGTERM


class Reader:
    """What a reading process knows of itself.

    Attributes:
        idle_since: when its last batch was handed over; None while it makes one, which may take long: a first shard,
            a slow server.
        ending: whether it was told to end.
    """

    idle_since: float | None = None
    ending = False


READER = Reader()


def leave_signals_to_the_parent(worker: int) -> None:
    """A scheduler signals every process, and so does Ctrl-C: the training decides when to stop, its readers read on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_when_idle)


def _end_when_idle(number: int, frame: object) -> None:
    if not READER.ending:
        READER.ending = True
        threading.Thread(target=_end, daemon=True).start()


def _end() -> None:
    while (since := READER.idle_since) is None or time.monotonic() - since < IDLE:
        time.sleep(0.5)
    os._exit(0)
