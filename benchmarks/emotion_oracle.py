"""By what the classifier of styles goes, and what codes of one kind or another could change of its verdict.

    python benchmarks/emotion_oracle.py [data=... data.root=FOLDER] [--voices 4 --sentences 5] [--ckpt CODEGAN]

No model is asked: the numbers of a source clip (`evaluation.styles.prosody`) are replaced, one group after the other,
by those of the true recording of the same sentence by the same voice in the wanted style, and the classifier is asked
again. A group that changes nothing is not worth a code; one without which nothing is right cannot be left out.

With `--ckpt` it is the conversions of a CodeGAN, told in which style the source is, that get the true numbers: what it
still lacks, and how far each number is from the true one, in deviations of the training clips.
"""

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np
from emotions import bench_of, rewritten

from revoice.audio.io import Audio
from revoice.conversion.load import load
from revoice.data.corpora.manifest import Row
from revoice.evaluation.styles import prosody

GROUPS = {
    "pitch level": [0], "pitch range": [1, 2, 3], "pitch slope": [4], "voiced share": [5],
    "energy": [6, 7, 8, 9, 10], "spectrum step": [11], "spectrum": [12, 13, 14, 15, 16, 17, 18, 19, 20],
}  # fmt: skip
PITCH = ("pitch level", "pitch range", "pitch slope")
TAKEN = [
    (), *((name,) for name in GROUPS), PITCH, (*PITCH, "energy"), (*PITCH, "energy", "spectrum"), tuple(GROUPS)
]  # fmt: skip


def main() -> None:
    """Print the weights, the confusions and the oracle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of data")
    parser.add_argument("--voices", type=int, default=4)
    parser.add_argument("--sentences", type=int, default=5)
    parser.add_argument("--ckpt", help="a CodeGAN, whose conversions are asked about in place of the sources")
    given = parser.parse_args()
    bench = bench_of(given.overrides, given.voices, given.sentences)
    pairs = bench.pairs()
    wanted, speakers = np.array([style for *_, style in pairs]), [source.speaker for source, *_ in pairs]
    said: Callable[[Row, str], Audio] = lambda row, style: bench.clip(row)  # noqa: E731
    if given.ckpt:
        said = rewritten(bench, load(given.ckpt, vocoder={"name": "griffin_lim"}), 1.0, told=True)
    source = np.stack([prosody(said(row, style)) for row, _, style in pairs])
    true = np.stack([prosody(bench.clip(row)) for _, row, _ in pairs])
    weights = bench.listener.model.named_steps["logisticregression"].coef_
    print(f"{len(bench.voices)} voices, {len(pairs)} pairs")
    print("weights, the length of each group's:")
    for name, places in GROUPS.items():
        print(f"    {name:<16}{np.linalg.norm(weights[:, places]):6.2f}")
    print("true recordings are taken for:")
    told = bench.listener.tell(true, speakers)
    for style in bench.styles:
        print(f"    {style:<16}{dict(Counter(str(t) for t, w in zip(told, wanted, strict=True) if w == style))}")
    print(
        f"{'conversions' if given.ckpt else 'sources'} with numbers of the true recording, style right: {'all':>8}"
        + "".join(f"{s:>9}" for s in bench.styles)
    )
    for names in TAKEN:
        mixed, places = source.copy(), [place for name in names for place in GROUPS[name]]
        mixed[:, places] = true[:, places]
        right = np.array(bench.listener.tell(mixed, speakers)) == wanted
        shares = [right.mean(), *(right[wanted == style].mean() for style in bench.styles)]
        print(f"    {', '.join(names) or 'none':<88}" + "".join(f"{share:9.3f}" for share in shares))
    if given.ckpt:
        scale = bench.listener.model.named_steps["standardscaler"].scale_
        print(f"how far from the true numbers, mean and mean size, in deviations of the training clips: {bench.styles}")
        for name, places in GROUPS.items():
            for place in places:
                apart = (source[:, place] - true[:, place]) / scale[place]
                by = [apart[wanted == style] for style in bench.styles]
                print(
                    f"    {name:<16}{place:3}"
                    + "".join(f"{one.mean():9.2f}{np.abs(one).mean():6.2f}" for one in (apart, *by))
                )


if __name__ == "__main__":
    main()
