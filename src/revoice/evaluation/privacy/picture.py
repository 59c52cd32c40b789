"""Privacy against intelligibility as a picture."""

from collections.abc import Sequence

from revoice.evaluation.pictures import CROSS, GRAY, SAME, in_gray, new_figure, to_png
from revoice.evaluation.privacy.attackers import Attacker
from revoice.evaluation.privacy.session import Outcome

COLORS: dict[Attacker, str] = {"ignorant": SAME, "semi_informed": CROSS, "informed": "#3f9d62"}
MARKS: dict[Attacker, str] = {"ignorant": "o", "semi_informed": "s", "informed": "^"}
LABELS: dict[Attacker, str] = {"ignorant": "ignorant", "semi_informed": "semi-informed", "informed": "informed"}


def privacy_picture(outcomes: Sequence[Outcome], tolerance: float, background: str = "none") -> bytes:
    """PNG: equal error rate of each attacker over the error rate of the first recognizer, a line per method.

    Args:
        outcomes: the untouched recordings first, all with a recognizer.
        tolerance: rise of the error rate beyond which a method is gray.
        background: color of the page.
    """
    figure = new_figure(9.0, 5.6, background)
    panel = figure.add_axes((0.08, 0.12, 0.66, 0.83))
    first = outcomes[0].words[0]
    for number, outcome in enumerate(outcomes):
        x = 100 * outcome.words[0].rate
        lost = outcome.destroys(tolerance)
        rates = {attacker: 100 * error.rate for attacker, error in outcome.errors.items()}
        panel.plot([x, x], [min(rates.values()), max(rates.values())], color=GRAY, lw=1, alpha=0.6, zorder=1)
        for attacker, rate in rates.items():
            color = GRAY if lost else COLORS[attacker]
            panel.scatter([x], [rate], s=34, c=color, marker=MARKS[attacker], lw=0, zorder=2)
        panel.annotate(
            str(number + 1), (x, max(rates.values())), xytext=(0, 5), textcoords="offset points", ha="center",
            fontsize=8, color=GRAY,
        )  # fmt: skip
    top = max(60.0, *(100 * e.rate + 5 for o in outcomes for e in o.errors.values()))
    panel.axvline(100 * (first.original + tolerance), color=GRAY, ls="--", lw=1)
    panel.axhline(50, color=GRAY, ls=":", lw=1)
    panel.set(
        xlabel=f"wrong {first.listener.unit} in %, as {first.listener.name} hears", ylabel="equal error rate in %"
    )
    panel.set_ylim(0, top)
    in_gray(panel)
    for attacker, color in COLORS.items():
        if any(attacker in outcome.errors for outcome in outcomes):
            panel.scatter([], [], s=34, c=color, marker=MARKS[attacker], lw=0, label=LABELS[attacker])
    panel.legend(frameon=False, labelcolor=GRAY, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    listed = "\n".join(f"{number}  {outcome.name}" for number, outcome in enumerate(outcomes, start=1))
    figure.text(0.755, 0.78, listed, color=GRAY, fontsize=8, va="top", parse_math=False, linespacing=1.4)
    return to_png(figure)
