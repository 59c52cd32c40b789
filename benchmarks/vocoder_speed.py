"""How fast vocoders speak on a CPU: Vocos and HiFi-GAN at their published sizes, in several forms, in one run.

    python benchmarks/vocoder_speed.py [--threads 2] [--repeats 5] [--seconds 1 5] [--only hifigan] [--busy]

"plain" is the network as it was trained, eager and in float32; "spoken" is what revoice speaks with (weight norm
multiplied out); then bfloat16, and, with `--compile`, torch.compile, whose first call takes a minute or so that is not
counted. Forms take turns, and the fastest of several calls counts. "error" is the largest difference to the plain one,
1 is its peak. With `--busy`, where other programs use the machine, the processor's time of this one counts, in one
thread.
"""

import argparse
import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.neural import NeuralVocoder

SIZES = {"vocos": ("mel_24k100", {}), "hifigan": ("mel_22k", {}), "hifigan V2": ("mel_22k", {"channels": 128})}


def built(name: str) -> NeuralVocoder:
    """One of random weights, which are as fast as others."""
    torch.manual_seed(0)
    preset, arguments = SIZES[name]
    made = VOCODERS.build(name.split()[0], arguments, {"spec": load_preset(preset)}).eval()
    assert isinstance(made, NeuralVocoder)
    return made


def forms(name: str, compiled: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    plain, fused = built(name), built(name)
    fused.fuse()
    found: dict[str, Callable[[Tensor], Tensor]] = {"plain": plain, "spoken": fused}

    found["bf16=true"] = built(name)
    found["bf16=true"].fuse()  # type: ignore[attr-defined]
    found["bf16=true"].set_speaking({"bf16": True})  # type: ignore[attr-defined]
    if compiled:
        graph = copy.deepcopy(fused)
        graph.compile(dynamic=True)
        found["compiled"] = graph
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 5.0])
    parser.add_argument("--only", choices=sorted(SIZES))
    parser.add_argument("--compile", action="store_true", help="try torch.compile, too")
    parser.add_argument("--busy", action="store_true", help="count processor time, in one thread")
    options = parser.parse_args()
    options.threads = 1 if options.busy else options.threads
    clock = time.process_time if options.busy else time.perf_counter
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, the fastest of {options.repeats}")
    print(f"{'':<12}{'form':<18}{'seconds':>8}{'x real time':>13}{'x plain':>9}{'error':>9}")
    for name in [options.only] if options.only else SIZES:
        ways = forms(name, options.compile)
        spec = built(name).spec
        for seconds in options.seconds:
            features = torch.randn(1, spec.channels, spec.frames(int(seconds * spec.sample_rate)))
            best = dict.fromkeys(ways, float("inf"))
            with torch.inference_mode():
                for turn in range(1 + options.repeats):
                    for form, speak in ways.items():
                        began = clock()
                        speak(features)
                        if turn:
                            best[form] = min(best[form], clock() - began)
            expected = ways["plain"](features).detach()
            largest = float(expected.abs().max())
            for form, spent in best.items():
                error = float((ways[form](features).detach() - expected).abs().max()) / largest
                ratio = best["plain"] / spent
                line = f"{name:<12}{form:<18}{seconds:>8.0f}{seconds / spent:>13.1f}{ratio:>9.2f}{error:>9.4f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
