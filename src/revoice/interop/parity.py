"""Prove that revoice computes what a published program computed: `python -m revoice.interop.parity FIXTURE.json ...`.

Exit status: 0 all outputs within their tolerance, 1 some are not (or have no counterpart), 2 a fixture cannot be used.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from revoice.errors import UserError, one_line
from revoice.interop.cases import Distance, Given, Result, find_case
from revoice.interop.fixture import Fixture, load_fixture

_SENTINEL = -1e9  # values below mark "undefined" (unvoiced log-f0): they must agree exactly and set no tolerance


@dataclass(frozen=True)
class Row:
    """The verdict on one output. `error` and `tolerance` are None where nothing is compared."""

    output: str
    error: float | None
    tolerance: float | None
    ok: bool
    note: str = ""


def compare(fixture: Fixture) -> list[Row]:
    """Run the fixture's case and judge every output it records."""
    results = find_case(fixture.case)(fixture)
    return [_judge(name, fixture, results.get(name)) for name in fixture.outputs]


def report(fixture: Fixture, rows: Sequence[Row]) -> str:
    """The table that the command prints."""
    width = max([len(row.output) for row in rows], default=0)
    failed = sum(not row.ok for row in rows)
    lines = [f"{fixture.path}  (case {fixture.case})"]
    for row in rows:
        verdict = "FAIL" if not row.ok else "ok" if row.error is not None else "input"
        numbers = f"{_number(row.error)}  {_number(row.tolerance)}"
        lines.append(f"  {row.output:<{width}}  {numbers}  {verdict:<5}  {row.note}".rstrip())
    lines.insert(1, f"  {'output':<{width}}  {'error':>9}  {'tolerance':>9}")
    lines.append(f"  {len(rows)} outputs, {failed} failed")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check fixtures; returns the exit status."""
    paths = sys.argv[1:] if arguments is None else list(arguments)
    if not paths:
        print("which fixture? python -m revoice.interop.parity FIXTURE.json [more.json]", file=sys.stderr)
        return 2
    status = 0
    for path in paths:
        try:
            fixture = load_fixture(path)
            rows = compare(fixture)
        except UserError as error:
            print(error, file=sys.stderr)
            status = 2
            continue
        except Exception as error:  # settings, weights and inputs that lack what the case reads can fail anywhere
            print(f"{path}: no fixture of its case ({type(error).__name__}: {one_line(error, 120)})", file=sys.stderr)
            status = 2
            continue
        print(report(fixture, rows))
        if status == 0 and not all(row.ok for row in rows):
            status = 1
    return status


def _judge(name: str, fixture: Fixture, result: Result | None) -> Row:
    if result is None:
        return Row(name, None, None, ok=False, note="not computed here")
    if isinstance(result, Given):
        return Row(name, None, None, ok=True, note=result.reason)
    if isinstance(result, Distance):
        return Row(name, result.error, result.tolerance, result.error <= result.tolerance, result.note)
    return _judge_tensor(name, result, fixture.outputs[name], fixture.tolerance[name])


def _judge_tensor(name: str, ours: Tensor, expected: Tensor, tolerance: float) -> Row:
    ours = ours.detach().cpu()
    if ours.shape != expected.shape:
        return Row(name, None, tolerance, ok=False, note=f"shape {tuple(ours.shape)}, expected {tuple(expected.shape)}")
    if not expected.numel():
        return Row(name, 0.0, tolerance, ok=True)
    ours, expected, note = ours.double(), expected.double(), ""
    defined = expected > _SENTINEL
    if not defined.all():
        if not torch.equal(ours[~defined], expected[~defined]):
            return Row(name, None, tolerance, ok=False, note=f"differs where the value is {expected.min():g}")
        largest = expected[defined].abs().max() if defined.any() else torch.ones(())
        tolerance, note = min(tolerance, 1e-5 * float(largest)), f"{int((~defined).sum())} undefined values agree"
        ours, expected = ours[defined], expected[defined]
    error = float((ours - expected).abs().max()) if expected.numel() else 0.0
    return Row(name, error, tolerance, error <= tolerance, note)


def _number(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:9.2e}"


if __name__ == "__main__":
    raise SystemExit(main())
