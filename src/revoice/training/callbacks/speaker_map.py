"""A picture of where the model's speaker codes put the voices."""

from typing import cast

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from revoice.data.datamodule import DataModule
from revoice.errors import one_line
from revoice.evaluation.pictures import new_figure, to_png
from revoice.models.base import Trainable
from revoice.settings import Count
from revoice.training.callbacks import CALLBACKS, Run
from revoice.training.module import VoiceModule
from revoice.training.reporter import Reporter


@CALLBACKS.register("speaker_map")
class SpeakerMap:
    """t-SNE (or PCA for a handful of clips) of the speaker codes of training clips when training ends.

    Each speaker has a color.

    Args:
        speakers: at most so many.  clips: of each.
    """

    def __init__(self, speakers: Count = 20, clips: Count = 8) -> None:
        self.speakers, self.clips = speakers, clips

    def make(self, run: Run) -> Callback:
        """One that draws in the first process, at the end of training."""
        return _SpeakerMap(self.speakers, self.clips, run.reporter)


class _SpeakerMap(Callback):
    def __init__(self, speakers: int, clips: int, reporter: Reporter) -> None:
        self.speakers, self.clips, self.reporter = speakers, clips, reporter

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        model, data = cast(VoiceModule, pl_module).model, trainer.datamodule  # type: ignore[attr-defined]
        codes, names = speaker_codes(model, data, self.speakers, self.clips)
        if len(codes) >= 3:
            self.reporter.image("speaker_map", draw(embed_2d(codes), names), trainer.global_step)


@torch.no_grad()
def speaker_codes(model: Trainable, data: DataModule, speakers: int, clips: int) -> tuple[np.ndarray, list[str]]:
    """Codes (N, D) of up to `clips` utterances for each of up to `speakers` speakers, and their names."""
    device = next(model.parameters()).device
    store = data.store
    train = data.examples()
    names = np.array([store.rows[i].speaker for i in train])
    everyone = np.unique(names)
    chosen = everyone[:: max(1, len(everyone) // speakers)][:speakers]
    codes, labels = [], []
    training = model.training
    model.eval()
    for name in chosen:
        for position in train[names == name][:clips]:
            features = store.utterance("features", int(position)).to(device)
            if features.shape[-1] < model.requires.minimum:
                continue
            code = model.speaker_codes(features[None])
            if code is None:
                continue
            codes.append(code[0].float().cpu().numpy())
            labels.append(str(name))
    model.train(training)
    return np.array(codes), labels


def embed_2d(codes: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, 2), deterministic."""
    if len(codes) < 30:
        from sklearn.decomposition import PCA

        return PCA(2).fit_transform(codes)
    from sklearn.manifold import TSNE

    return TSNE(2, perplexity=min(30, len(codes) // 4), init="pca", random_state=0).fit_transform(codes)


def draw(points: np.ndarray, names: list[str]) -> bytes:
    """PNG of labeled points."""
    from matplotlib import colormaps

    figure = new_figure(7.0, 6.0, "white")
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.91))
    everyone = sorted(set(names))
    colors = colormaps["hsv"].resampled(len(everyone) + 1)
    for index, name in enumerate(everyone):
        mine = points[[n == name for n in names]]
        axes.scatter(mine[:, 0], mine[:, 1], s=18, color=colors(index))
        axes.annotate(one_line(name, 40), mine.mean(0), fontsize=7, ha="center", parse_math=False)
    axes.set(title="speaker codes of training clips", xticks=[], yticks=[])
    return to_png(figure)
