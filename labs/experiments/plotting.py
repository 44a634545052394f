"""How experiments are drawn: theory as a line, what was measured as dots over it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from labs.bench.drawing import axes, beside, colour, legend, logarithmic, svg

__all__ = ["axes", "beside", "colour", "legend", "logarithmic", "measured", "svg", "theory"]


def theory(on: Axes, x: Sequence[float], y: Sequence[float], label: str, index: int = 0) -> None:
    """A line of what the closed form says."""
    on.plot(x, y, "-", color=colour(index), linewidth=1.2, alpha=0.7, label=label)


def measured(on: Axes, x: Sequence[float], y: Sequence[float], label: str, index: int = 0) -> None:
    """Dots of what was measured."""
    on.plot(x, y, "o", color=colour(index), markersize=5, label=label)
