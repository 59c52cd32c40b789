import os
import signal
import time
from types import SimpleNamespace
from typing import Any

import pytest

from revoice.errors import UserError
from revoice.training.stop import Stop, seconds_of


def trainer(step: int = 5, last: int = 10) -> Any:
    return SimpleNamespace(global_step=step, max_steps=last, should_stop=False, limit_val_batches=1.0)


def end_of_batch(stop: Stop, at: Any) -> Any:
    stop.on_train_batch_end(at, SimpleNamespace(device="cpu"), None, None, 0)
    return at


def test_a_signal_ends_the_run_after_the_iteration_without_a_validation() -> None:
    stop, before = Stop(None), signal.getsignal(signal.SIGTERM)
    stop.on_train_start(trainer(), None)
    try:
        assert not end_of_batch(stop, trainer()).should_stop
        os.kill(os.getpid(), signal.SIGTERM)
        at = end_of_batch(stop, trainer())
        assert at.should_stop and at.limit_val_batches == 0
        assert stop.by_signal and stop.reason == "stopped by a signal at iteration 5 of 10"
    finally:
        stop.teardown(trainer(), None, "fit")
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_ends_it_likewise_and_a_second_one_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    stop, before = Stop(None), signal.getsignal(signal.SIGINT)
    stop.on_train_start(trainer(), None)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        at = end_of_batch(stop, trainer())
        assert at.should_stop and stop.by_signal and "Ctrl-C again: at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        stop.on_exception(trainer(), None, KeyboardInterrupt())
    assert signal.getsignal(signal.SIGINT) is before


def test_time_ends_it_too_but_not_at_the_last_iteration() -> None:
    stop = Stop("00:00:00:00")
    time.sleep(0.01)
    assert not end_of_batch(stop, trainer(step=10)).should_stop
    assert end_of_batch(stop, trainer()).should_stop and not stop.by_signal
    assert stop.reason is not None and "max_time=00:00:00:00" in stop.reason


@pytest.mark.parametrize("text", ["", "10", "1:2:3", "a:b:c:d", "00:00:00:-1", "1:2:3:4:5"])
def test_what_is_no_time_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="DD:HH:MM:SS"):
        seconds_of(text)
