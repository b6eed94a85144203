"""The weight of the style at which a loss ends where it was asked to."""

import math
from collections.abc import Mapping

from tfstyle.errors import ArgumentError

# How a loss follows the weight of the style, d log loss / d log weight, about: ten pairs of a photo
# and a painting at weights 3 to 300. A wrong slope costs a correction more, not the end.
_SLOPES = {"content": 0.45, "style": -0.7}
# The most that one correction changes the weight by, and the weights that make sense at all.
_MOST, _LEAST_WEIGHT, _MOST_WEIGHT = 4.0, 1e-3, 1e5
# Before so many steps of a scale nothing can be seen.
_EARLIEST = 5


class Balance:
    """Moves the style's weight until a loss is at its target.

    A picture that starts from the photo has no content loss at first, and gets it in the course of
    the optimisation: what is seen early says little of the end. So corrections are made at marks on
    the way, the later the fuller, and after the last there are steps left to settle.
    """

    def __init__(self, target: Mapping[str, float]) -> None:
        """
        Args:
            target: {"content": loss} or {"style": loss}, above 0.

        Raises:
            ValueError: for other names, several of them, and values that cannot be.
        """
        if len(target) != 1 or not target.keys() <= _SLOPES.keys():
            raise ArgumentError(f"target {dict(target)}: give one of {', '.join(_SLOPES)}")
        ((self.name, self.value),) = target.items()
        if not (self.value > 0 and math.isfinite(self.value)):
            raise ArgumentError(f"target {self.name}={self.value}: give a loss above 0")

    def marks(self, steps: int) -> dict[int, float]:
        """{step of a scale after which the weight is corrected: share of the correction made}."""
        shares = ((0.25, 0.5), (0.4, 0.7), (0.55, 0.8), (0.7, 1.0), (0.85, 1.0))
        return {round(at * steps): share for at, share in shares if round(at * steps) >= _EARLIEST}

    def corrected(self, weight: float, losses: Mapping[str, float], share: float = 1.0) -> float:
        """The weight of the style to go on with.

        Args:
            weight: that `losses` came of.
            losses: {name: loss} now.
            share: of the correction to make: 1 where the losses have settled.
        """
        now = max(losses[self.name], 1e-9)
        change = (self.value / now) ** (share / _SLOPES[self.name])
        changed = weight * min(max(change, 1 / _MOST), _MOST)
        return min(max(changed, _LEAST_WEIGHT), _MOST_WEIGHT)
