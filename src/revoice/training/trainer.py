"""From trainer settings to a Lightning Trainer: devices, precision, limits."""

import io
import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy, Strategy

from revoice.atomic import replacing
from revoice.errors import UserError
from revoice.mistakes import Expected
from revoice.settings import Count, Flag, NotNegative, Processes, Whole, Word, from_mapping, settings
from revoice.training.stop import seconds_of

log = logging.getLogger(__name__)


def _as_word(precision: Any) -> Any:
    """32 as the word "32"; no precision is true."""
    return str(precision) if type(precision) is int else precision


def _is_time(limit: str) -> str:
    seconds_of(limit)
    return limit


@settings
class TrainerSettings:
    """The config group `trainer`.

    Attributes:
        gpus: 0 is the CPU, N > 0 is N CUDA GPUs, None is "the CUDA GPUs there are, else MPS, else CPU".
        accelerator, devices: given together instead of `gpus`, e.g. cpu and 2 (two processes over gloo).
        num_nodes: machines.
        precision: None is bf16-mixed on CUDA that has it, else 32.
        val_every: iterations between validations.
        max_time: stop after this long, "DD:HH:MM:SS", counted anew by a resumed run; None does not.
        clip: largest global norm of the gradient; None and 0 do not clip.
        accumulate: micro-batches per iteration.
        compile: run the network through torch.compile (CUDA, or a machine with a C++ compiler).
        graph: record an iteration as a CUDA graph and replay it: None where that works, True demands it.
        threads: CPU threads of a process; None leaves torch's choice.
        deterministic: demand bit-identical CUDA kernels (slower).
        log_every: iterations between logged scalars.
    """

    gpus: Processes | None = None
    accelerator: Literal["cpu", "cuda", "mps"] | None = None
    devices: Annotated[Processes, Field(ge=1)] | None = None
    num_nodes: Annotated[Processes, Field(ge=1)] = 1
    precision: Annotated[Literal["32", "bf16-mixed", "16-mixed"], BeforeValidator(_as_word)] | None = None
    val_every: Count = 1000
    max_time: Annotated[Word, AfterValidator(_is_time), Expected("DD:HH:MM:SS, e.g. '00:08:00:00'")] | None = None
    clip: NotNegative | None = None
    accumulate: Annotated[Count, Field(le=1 << 16)] = 1
    compile: Flag = False
    graph: Flag | None = None
    threads: Annotated[Whole, Field(ge=1, le=1024)] | None = None
    deterministic: Flag = False
    log_every: Count = 20


@dataclass(frozen=True)
class Place:
    """Where to run: Lightning's accelerator name and the number of processes on this machine."""

    accelerator: str
    devices: int


def settings_of(values: Mapping[str, Any]) -> TrainerSettings:
    """Check plain settings."""
    return from_mapping(TrainerSettings, values, "trainer")


def place(settings: TrainerSettings) -> Place:
    """Choose devices; asking for more GPUs than are visible is a `UserError` with both numbers."""
    visible = torch.cuda.device_count()
    if settings.accelerator is not None or settings.devices is not None:
        if settings.gpus is not None:
            raise UserError("trainer.gpus and trainer.accelerator/devices say the same thing: give one of them")
        accelerator = settings.accelerator or ("cuda" if visible else "cpu")
        wanted = settings.devices or (visible if accelerator == "cuda" else 1)
        if accelerator == "cuda":
            _require_gpus(wanted, visible)
        if accelerator == "mps" and not torch.backends.mps.is_available():
            raise UserError(
                "trainer.accelerator=mps: there is no such device here: train on the CPU with trainer.gpus=0"
            )
        if accelerator == "mps" and wanted != 1:
            raise UserError(f"trainer.devices={wanted} with trainer.accelerator=mps: there is one such device")
        return Place(accelerator, wanted)
    if settings.gpus is None:
        if visible:
            return Place("cuda", visible)
        return Place("mps" if torch.backends.mps.is_available() else "cpu", 1)
    if settings.gpus == 0:
        return Place("cpu", 1)
    _require_gpus(settings.gpus, visible)
    return Place("cuda", settings.gpus)


def _require_gpus(wanted: int, visible: int) -> None:
    if not 0 < wanted <= visible:
        raise UserError(
            f"{wanted} GPUs asked for, {visible} visible: lower trainer.gpus, or train on the CPU with trainer.gpus=0"
        )


def precision(settings: TrainerSettings, where: Place) -> str:
    """The configured precision, or the default for the device; a `UserError` where the device does not have it."""
    if settings.precision == "16-mixed" and where.accelerator == "cpu":
        raise UserError(
            "trainer.precision=16-mixed: a CPU does not train in it: expected 32, or bf16-mixed where it has such "
            "instructions: trainer.precision=bf16-mixed"
        )
    if settings.precision is not None:
        return settings.precision
    return (
        "bf16-mixed"
        if where.accelerator == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        else "32"
    )


def slowed_by_bf16(size: int = 128) -> float:
    """How many times as long a product of matrices takes this processor in bfloat16 as in 32 bits, measured."""
    times = []
    for dtype in (torch.float32, torch.bfloat16):
        matrix, best = torch.ones(size, size, dtype=dtype), float("inf")
        for _ in range(4):  # the first prepares
            start = time.perf_counter()
            matrix @ matrix
            best = min(best, time.perf_counter() - start)
        times.append(best)
    return times[1] / times[0]


def build_trainer(
    settings: TrainerSettings,
    max_iterations: int,
    folder: Path,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
) -> Trainer:
    """A Trainer that counts in iterations, never ends an epoch, and validates every `val_every` of them."""
    where = place(settings)
    for name in ("pytorch_lightning", "lightning_fabric"):  # its hints are for people who write the training loop
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own affair
    warnings.filterwarnings("ignore", "To copy construct from a tensor")  # its monitor of rates: replays keep tensors
    if settings.threads:
        torch.set_num_threads(settings.threads)
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)  # read by the processes that DDP starts
    if where.accelerator == "cuda":
        torch.set_float32_matmul_precision("high")
    return Trainer(
        accelerator=where.accelerator,
        devices=where.devices,
        num_nodes=settings.num_nodes,
        strategy=_strategy(settings, where),
        precision=precision(settings, where),  # type: ignore[arg-type]
        max_steps=max_iterations,
        max_epochs=-1,
        val_check_interval=min(settings.val_every, max_iterations),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=list(loggers),
        callbacks=list(callbacks),
        log_every_n_steps=settings.log_every,
        deterministic="warn" if settings.deterministic else None,
        default_root_dir=folder,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_model_summary=False,
        plugins=[WholeCheckpoints()],
    )


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all: Lightning's writer copies from /tmp, and leaves halves behind."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside the final name, then rename; a full disk leaves the previous checkpoint as it was."""
        data = io.BytesIO()
        torch.save(checkpoint, data)
        with replacing(Path(path), sync=True) as file:
            file.write(data.getbuffer())


def _strategy(settings: TrainerSettings, where: Place) -> str | Strategy:
    if where.devices * settings.num_nodes == 1:
        return "auto"
    return Alike(process_group_backend="nccl" if where.accelerator == "cuda" else "gloo")


class Alike(DDPStrategy):
    """One process per device; gradients are averaged by `training.parts`, so that parts may learn in turns."""

    def configure_ddp(self) -> None:
        """The model stays as it is: DistributedDataParallel takes one backward pass in an iteration for granted."""
