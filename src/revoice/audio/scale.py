"""The scale of a feature value: logarithms, references, offsets, and the way back."""

from math import log

import torch
from torch import Tensor

from revoice.audio.spec import FeatureSpec

_DECIBELS_PER_NEPER = 20.0 / log(10.0)
_SMALLEST = 1e-7  # magnitude: Vocos' published floor


def to_scale(values: Tensor, spec: FeatureSpec, valid: Tensor | None = None) -> Tensor:
    """Magnitudes (B, T, rows) -> feature values.

    Args:
        values: non-negative magnitudes (or powers).
        spec: which scale.
        valid: (B, T, 1) bool, frames that count for utterance maxima; None: all.
    """
    if spec.reference == "utterance":
        values = values / _loudest(values, valid).clamp(min=torch.finfo(values.dtype).tiny)
    if spec.scale == "log1p":
        values = torch.log1p(values)
    elif spec.scale != "linear":
        values = torch.log(values + spec.floor if spec.floor_rule == "add" else values.clamp(min=spec.floor))
        if spec.scale == "db":
            values = values * (_DECIBELS_PER_NEPER / spec.power)
    if spec.top_db is not None:
        values = torch.maximum(values, _loudest(values, valid) - spec.top_db)
    if spec.multiply != 1.0 or spec.add != 0.0:
        values = values * spec.multiply + spec.add
    return values.clamp(*spec.clip) if spec.clip else values


def from_scale(values: Tensor, spec: FeatureSpec) -> Tensor:
    """Feature values (..., rows) -> magnitudes or powers, never negative: `to_scale` undone, up to its clamps."""
    if spec.clip:
        values = values.clamp(*spec.clip)
    values = (values - spec.add) / spec.multiply
    if spec.scale == "log1p":
        values = torch.expm1(values)
    elif spec.scale != "linear":
        values = torch.exp(values * (spec.power / _DECIBELS_PER_NEPER) if spec.scale == "db" else values)
        if spec.floor_rule == "add":
            values = values - spec.floor
    return values.clamp(min=0.0)


def per_neper(spec: FeatureSpec) -> float | None:
    """By how much feature values grow where magnitudes grow by a factor of e; None if that depends on the value."""
    if spec.scale not in ("log", "db") or spec.phase:
        return None
    return spec.multiply * (spec.power if spec.scale == "log" else _DECIBELS_PER_NEPER)


def to_log_magnitude(features: Tensor, spec: FeatureSpec) -> Tensor:
    """Features (B, F, T) of any spec as natural logarithms of magnitudes, from -16.1 in silence; phase rows stay.

    What networks of published vocoders see: values of like size for every spec. Features that are just that stay as
    they are, bit for bit.
    """
    if (spec.scale, spec.power, spec.multiply, spec.add, spec.clip) == ("log", 1, 1.0, 0.0, None):
        return features
    magnitude = from_scale(features[:, : spec.rows], spec)
    values = torch.log(magnitude.clamp(min=_SMALLEST**spec.power)) / spec.power
    return torch.cat([values, features[:, spec.rows :]], dim=1) if spec.phase else values


def _loudest(values: Tensor, valid: Tensor | None) -> Tensor:
    if valid is not None:
        values = values.masked_fill(~valid, -torch.inf)
    return values.amax(dim=(1, 2), keepdim=True)
