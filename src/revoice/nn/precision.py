"""As exactly as a device can."""

import torch

EXACT = ("cpu", "cuda")  # devices that have float64; Apple's refuses it


def finest(device: torch.device) -> torch.dtype:
    """float64 where the device has it, else float32.

    >>> finest(torch.device("cpu")), finest(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float64 if device.type in EXACT else torch.float32
