from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from data_helpers import speakers_folder
from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.data.corpora.folder import Folder
from revoice.data.corpora.splits import Splits
from revoice.data.memory import VoiceDataModule
from revoice.data.prepare.preparation import Preparation, Prepared, prepare
from revoice.data.read.batch import Batch
from revoice.data.read.batch import Requires as Needs
from revoice.errors import UserError

SPEC = load_preset("mel_22k")


def Requires(**settings) -> Needs:
    """What the models of these tests need."""
    fields = ("features", "f0", "embedding", "waveform")
    return Needs(**{"fields": fields, "frames": 40, "minimum": 10, "reference": 24, **settings})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = speakers_folder(tmp_path_factory.mktemp("corpus"), speakers=4, clips=5)
    splits = Splits(unseen_speakers=1, test_sentences=0, val=0.3)
    out = tmp_path_factory.mktemp("out")
    return prepare(
        Folder(root), SPEC, Requires().fields, out, splits=splits, how=Preparation(workers=0), progress=False
    )


def take(prepared: Prepared, count: int, start: int = 0, **settings) -> list[Batch]:
    data = VoiceDataModule(prepared, settings.pop("requires", Requires()), **{"batch_size": 8, **settings})
    data.start_iteration = start
    return list(islice(data.batches(), count))


def joined(batches: list[Batch]) -> dict:
    """Batches one after the other, as one."""
    result: dict = {"id": sum((batch.id for batch in batches), ())}
    for f in fields(Batch):
        values = [getattr(batch, f.name) for batch in batches]
        if isinstance(values[0], Tensor):
            result[f.name] = torch.cat(values)
    result["noise"] = torch.cat([batch.draws.normal("eps", 3) for batch in batches])
    return result


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) if isinstance(a[key], Tensor) else a[key] == b[key] for key in a
    )


def test_a_batch(prepared: Prepared) -> None:
    (batch,) = take(prepared, 1)
    assert len(batch) == 8 and batch.features.shape == (8, 80, 40) and batch.features.dtype == torch.float32
    assert batch.f0.shape == batch.voiced.shape == (8, 40) and batch.voiced.dtype == torch.bool
    assert batch.waveform.shape == (8, 40 * SPEC.hop) and batch.embedding.shape == (8, 256)
    assert batch.reference.shape == (8, 80, 24) and batch.paired is None
    assert batch.lengths.dtype == torch.int64 and (batch.lengths <= 40).all() and (batch.lengths < 40).any()
    padding = torch.arange(40) >= batch.lengths[:, None]
    assert (batch.features.transpose(1, 2)[padding] == SPEC.silence).all() and not batch.voiced[padding].any()
    data = VoiceDataModule(prepared, Requires())
    names = {row.id: row.speaker for row in prepared.manifest}
    assert [data.tables.speakers[i] for i in batch.speaker] == [names[id] for id in batch.id]
    assert (batch.gender == -1).all() and (batch.emotion == -1).all()


def test_what_is_not_required_is_absent(prepared: Prepared) -> None:
    (batch,) = take(prepared, 1, requires=Requires(fields=("features",), reference=0))
    assert batch.f0 is batch.voiced is batch.embedding is batch.waveform is batch.reference is None
    assert batch.speaker is not None


def test_only_training_utterances_are_drawn(prepared: Prepared) -> None:
    drawn = {id for batch in take(prepared, 40) for id in batch.id}
    assert drawn == {row.id for row in prepared.manifest.select("train")}


@pytest.mark.parametrize("mode", ["uniform", "by_speaker"])
def test_two_processes_equal_one(prepared: Prepared, mode: str) -> None:
    requires = Requires(sampler=mode)
    whole = take(prepared, 3, requires=requires)
    halves = [take(prepared, 3, requires=requires, rank=rank, world_size=2) for rank in (0, 1)]
    for one, first, second in zip(whole, *halves, strict=True):
        assert len(first) == 4 and same(joined([one]), joined([first, second]))


def test_micro_batches_are_the_same_batch(prepared: Prepared) -> None:
    whole = take(prepared, 2)
    parts = take(prepared, 4, micro_batches=2)
    assert [batch.draws.iteration for batch in parts] == [0, 0, 1, 1]
    assert same(joined(parts[:2]), joined(whole[:1])) and same(joined(parts[2:]), joined(whole[1:]))
    ranks = [take(prepared, 2, micro_batches=2, rank=rank, world_size=2) for rank in (0, 1)]
    assert same(joined([ranks[0][0], ranks[1][0], ranks[0][1], ranks[1][1]]), joined(whole[:1]))


def test_resuming_goes_on_as_if_nothing_had_happened(prepared: Prepared) -> None:
    whole, rest = take(prepared, 5), take(prepared, 2, start=3)
    assert same(joined(whole[3:]), joined(rest))
    assert not same(joined(whole[3:]), joined(take(prepared, 2, start=3, seed=1)))


def test_validation_is_fixed_and_split_over_processes(prepared: Prepared) -> None:
    def val(**settings) -> list[Batch]:
        data = VoiceDataModule(prepared, Requires(), **{"batch_size": 2, **settings})
        return list(data.val_dataloader())

    one, again = val(), val(seed=7)
    expected = {row.id for row in prepared.manifest.select("val")}
    ids = [id for batch in one for id in batch.id]
    assert len(ids) == len(expected) and set(ids) == expected and one[0].draws is None
    assert all(torch.equal(a.features, b.features) for a, b in zip(one, again, strict=True))
    names = {row.id: row.speaker for row in prepared.manifest}
    ranks = [val(rank=rank, world_size=2) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1]) and [len(b) for b in ranks[0]] == [len(b) for b in ranks[1]]
    shared = [id for rank in ranks for batch in rank for id in batch.id]
    assert set(shared) <= expected and len(set(shared)) == len(shared) >= len(expected) - 1
    assert all(names[id] in VoiceDataModule(prepared, Requires()).tables.speakers for id in shared)


def test_fewer_validation_clips_than_processes_are_taken_by_each(prepared: Prepared) -> None:
    def val(rank: int | None, world_size: int | None) -> list[Batch]:
        data = VoiceDataModule(prepared, Requires(), batch_size=32, rank=rank, world_size=world_size)
        return list(data.val_dataloader())

    (alone,) = val(0, 1)
    for rank in (0, 31):
        (mine,) = val(rank, 32)
        assert torch.equal(mine.features, alone.features)


def test_batch_sizes_that_cannot_be_shared(prepared: Prepared) -> None:
    with pytest.raises(UserError, match=r"batch_size=7 cannot be shared by 2 processes.*data\.batch_size=8"):
        take(prepared, 1, batch_size=7, rank=0, world_size=2)


def test_no_training_utterances(prepared: Prepared) -> None:
    nobody = Prepared(prepared.manifest.select("val"), SPEC, prepared.folders, ())
    with pytest.raises(UserError, match="no training utterances"):
        VoiceDataModule(nobody, Requires())


def test_lightning_trains_on_it(prepared: Prepared, tmp_path: Path) -> None:
    import pytorch_lightning as pl

    class Mean(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.mean = torch.nn.Parameter(torch.zeros(80))
            self.seen: list[tuple] = []

        def training_step(self, batches: list[Batch], index: int) -> Tensor:
            (batch,) = batches
            self.seen.append(batch.id)
            return (batch.features - self.mean[:, None]).square().mean()

        def validation_step(self, batch: Batch, index: int) -> None:
            self.log("val", (batch.features - self.mean[:, None]).square().mean(), batch_size=len(batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    module = Mean()
    trainer = pl.Trainer(
        max_steps=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, datamodule=VoiceDataModule(prepared, Requires(), batch_size=4))
    assert len(module.seen) == 4 and "val" in trainer.callback_metrics
    assert module.seen == [batch.id for batch in take(prepared, 4, batch_size=4)]


def test_a_model_without_a_time_axis_reads_whole_utterances_alone(prepared: Prepared) -> None:
    needs = Needs(fields=("embedding",), frames=None, minimum=0)
    data = VoiceDataModule(prepared, needs, batch_size=4)
    (batch,) = islice(data.batches(), 1)
    assert batch.features.shape == (4, 0, 0) and batch.embedding is not None and batch.embedding.shape == (4, 256)
    assert data.store.labels == ("embedding",) and len(data.val_dataloader()) > 0


def test_validation_batches_have_labels_as_the_whole_has(prepared: Prepared) -> None:
    """Those of one emotion lie side by side in the manifest; what compares emotions needs several in a batch."""
    rows = [row.id for row in prepared.manifest.select("val")]
    first = {*rows[: len(rows) // 2], *(row.id for row in islice(prepared.manifest.select("train"), 2))}
    told = prepared.manifest.with_rows(
        replace(row, emotion="angry" if row.id in first else "sad") for row in prepared.manifest
    )
    settings = {"requires": Requires(labels=("emotion",)), "batch_size": 3}
    batches = list(VoiceDataModule(replace(prepared, manifest=told), **settings).val_dataloader())
    assert sorted(id for batch in batches for id in batch.id) == sorted(rows) and max(map(len, batches)) <= 3
    assert all({*batch.emotion.tolist()} == {0, 1} for batch in batches)


def test_emotions_are_counted_by_speaker(prepared: Prepared) -> None:
    needs = Needs(fields=("embedding",), frames=None, minimum=0)
    moods = {row.id: ("sad", "glad", None)[place % 3] for place, row in enumerate(prepared.manifest)}
    told = prepared.manifest.with_rows(replace(row, emotion=moods[row.id]) for row in prepared.manifest)
    data = VoiceDataModule(replace(prepared, manifest=told), needs, batch_size=8)
    counts, tables = data.label_counts()["speaker_emotion"], data.tables
    expected = [
        [sum(row.speaker == name and row.emotion == mood for row in told.select("train")) for mood in tables.emotions]
        for name in tables.speakers
    ]
    assert counts.tolist() == expected and counts.sum() > 0


def test_utterances_without_a_label_that_is_needed_are_left_out(prepared: Prepared) -> None:
    """Of this folder nobody's gender is known; of some it is made known."""
    needs = Needs(fields=("embedding",), frames=None, minimum=0, labels=("gender",))
    known = {row.speaker for row in prepared.manifest.select("train")}
    some = sorted(known)[:2]
    told = prepared.manifest.with_rows(
        replace(row, gender="F" if row.speaker in some else None) for row in prepared.manifest
    )
    data = VoiceDataModule(replace(prepared, manifest=told), needs, batch_size=8)
    assert {row.speaker for row in told if row.id in [id for b in islice(data.batches(), 4) for id in b.id]} == {*some}
    counts = data.label_counts()
    assert counts["gender"].tolist() == [sum(row.speaker in some for row in told.select("train")), 0]
    with pytest.raises(UserError, match="the gender is known"):
        next(iter(VoiceDataModule(prepared, needs, batch_size=8).batches()))
