"""Griffin-Lim against librosa's at equal iterations: speed and spectral convergence, in one run.

    python benchmarks/griffin_lim.py [--wav clip.wav] [--iterations 32] [--threads 2] [--busy]

The last line is the time to the spectral convergence that librosa reaches, in as few iterations as that takes. librosa
has one thread whatever is asked for. With `--busy`, where other programs use the machine, the processor's time of this
one counts, in one thread. Spectral convergence is || |STFT(output)| - target || / || target ||: smaller is better.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from revoice.audio.io import read_audio
from revoice.audio.presets import load_preset
from revoice.audio.stft import Stft
from revoice.vocoders.griffin_lim import griffin_lim, initial_phase

SIZES = {"hop_length": 256, "win_length": 1024, "n_fft": 1024}


def speechlike(seconds: float, rate: int) -> np.ndarray:
    time_axis = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * time_axis)) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 40)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_axis))
    return (0.1 * wave + np.random.default_rng(0).normal(0, 0.005, len(time_axis))).astype(np.float32)


clock = time.perf_counter


def timed(function: Callable[[], np.ndarray], repeats: int = 3) -> tuple[float, np.ndarray]:
    result, best = function(), float("inf")
    for _ in range(repeats):
        start = clock()
        result = function()
        best = min(best, clock() - start)
    return best, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wav", help="a clip; default: a synthetic voice of 8 s")
    parser.add_argument("--iterations", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", action="store_true", help="count processor time, in one thread")
    arguments = parser.parse_args()
    if arguments.busy:
        global clock
        clock, arguments.threads = time.process_time, 1
    torch.set_num_threads(arguments.threads)
    import librosa

    spec = replace(load_preset("mel_22k_tacotron"), mels=0, fmax=None)
    rate = spec.sample_rate
    wave = read_audio(arguments.wav, rate).samples if arguments.wav else speechlike(8.0, rate)
    stft = Stft(spec)
    magnitude = stft(torch.from_numpy(wave)[None]).abs()
    target = np.ascontiguousarray(magnitude[0].T.numpy())
    seconds = len(wave) / rate
    print(f"{seconds:.1f} s at {rate} Hz, 1024/256, {arguments.iterations} iterations, {arguments.threads} thread(s)")
    print(f"{'':<22}{'revoice':>12}{'librosa':>12}{'ratio':>8}   spectral convergence (revoice, librosa)")
    for label, momentum in (("classic", 0.0), ("fast, momentum 0.99", 0.99)):

        def ours(momentum: float = momentum) -> np.ndarray:
            start = initial_phase(magnitude, "random", 0)
            return griffin_lim(magnitude, stft, start, arguments.iterations, momentum)[0].numpy()

        def theirs(momentum: float = momentum) -> np.ndarray:
            settings = {"n_iter": arguments.iterations, "random_state": 0, "pad_mode": "reflect"}
            return librosa.griffinlim(target, momentum=momentum, **settings, **SIZES)

        (fast, mine), (slow, reference) = timed(ours), timed(theirs)
        errors = [
            float((stft(torch.from_numpy(w)[None]).abs() - magnitude).norm() / magnitude.norm())
            for w in (mine, reference)
        ]
        print(
            f"{label:<22}{seconds / fast:>10.1f} x{seconds / slow:>10.1f} x{slow / fast:>7.1f}x"
            f"   {errors[0]:.4f}  {errors[1]:.4f}"
        )
    for count in range(1, 2 * arguments.iterations):
        start = initial_phase(magnitude, "random", 0)
        wave_of = griffin_lim(magnitude, stft, start, count, 0.99)
        reached = float((stft(wave_of).abs() - magnitude).norm() / magnitude.norm())
        if reached <= errors[1]:
            break
    fast, _ = timed(lambda: griffin_lim(magnitude, stft, start, count, 0.99)[0].numpy())
    line = f"{'as near as librosa':<22}{seconds / fast:>10.1f} x{seconds / slow:>10.1f} x{slow / fast:>7.1f}x"
    print(f"{line}   {reached:.4f}  {errors[1]:.4f}, {count} iterations")


if __name__ == "__main__":
    main()
