"""The published sizes of Pix2Pix: parameters, losses of three steps of generator and critic on noise, time, and memory.

    python benchmarks/pix2pix_sizes.py [--frames 751]

One process for each size, so that the memory is its own: what it holds at most, in GB (resident, of the system). The
time of a step is the processor's, of all threads, which other programs on the machine lengthen less than a clock's.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch

from revoice.critics.base import CRITICS, Critic
from revoice.data.read.batch import Batch
from revoice.models.pix2pix.model import Pix2Pix
from revoice.nn.adversarial import critic_loss, generator_loss

SIZES = {
    "published": ({"generator": "resnet", "channels": 3}, "attention", {"channels": 3}),
    "conditional": ({"generator": "literal", "channels": 2}, "two_stems", {}),
}


def steps(name: str, frames: int) -> str:
    """Three steps of both, one after the other."""
    settings, kind, about = SIZES[name]
    torch.manual_seed(0)
    model = Pix2Pix(n_features=256, sample_rate=16000, hop=64, **settings)
    critic: Critic = CRITICS.build(kind, about)
    optimizers = [torch.optim.Adam(each.parameters(), 1e-4) for each in (model, critic)]
    features, paired = torch.rand(1, 256, frames), torch.rand(1, 256, frames)
    batch = Batch(id=("a",), features=features, paired=paired, lengths=torch.tensor([frames]))
    given = critic.conditional and kind == "two_stems"
    found, began = [], time.process_time()
    for _ in range(3):
        play = model.play(batch)
        assert play.fake is not None and play.real is not None
        beside = play.given if given else None
        judged = [critic(each, beside).scores for each in (play.real, play.fake.detach())]
        losses = [play.losses["reconstruction"] + generator_loss("logistic", critic(play.fake, beside).scores) / 50]
        losses.append(critic_loss("logistic", *judged))
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward(inputs=optimizer.param_groups[0]["params"])
        for optimizer in optimizers:
            optimizer.step()
        found.append("/".join(f"{loss.item():.3f}" for loss in losses))
    spent = (time.process_time() - began) / len(found)
    sizes = [sum(p.numel() for p in each.parameters()) for each in (model, critic)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = f"{name:<12} generator {sizes[0]:,}  critic {sizes[1]:,}  losses {', '.join(found)}"
    return f"{told}  {spent:.1f} s a step  memory {memory:.1f} GB"


def main() -> None:
    """Each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=751, help="3 s")
    parser.add_argument("--only", choices=SIZES)
    options = parser.parse_args()
    if options.only:
        print(steps(options.only, options.frames))
        return
    for name in SIZES:
        command = [sys.executable, __file__, "--only", name, "--frames", str(options.frames)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
