"""The weight of the style at which a loss ends where it was asked to."""

import math
from collections.abc import Mapping

from tfstyle.errors import ArgumentError

# How a loss follows the weight of the style, d log loss / d log weight, as long as a pair has not
# shown its own: 0.45 is content's between the weights 30 and 100 of a lighthouse in olive trees. A
# picture that is still a photo has 1 and more.
_SLOPES = {"content": 0.45, "style": -0.7}
# Between these it is believed, by its size, where the weight was changed by at least so much.
_FLATTEST, _STEEPEST, _CHANGED = 0.35, 2.0, 0.1
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
        self._slope = _SLOPES[self.name]
        self._last: tuple[float, float] | None = None
        if not (self.value > 0 and math.isfinite(self.value)):
            raise ArgumentError(f"target {self.name}={self.value}: give a loss above 0")

    def begin_scale(self, steps: int) -> dict[int, float]:
        """Forgets what was seen at the scale before, which is not to be compared with this one's.

        Returns:
            {step of the scale after which the weight is corrected: share of the correction made}.
        """
        self._last = None
        shares = ((0.25, 0.5), (0.4, 0.7), (0.55, 0.8), (0.7, 1.0), (0.85, 1.0))
        return {round(at * steps): share for at, share in shares if round(at * steps) >= _EARLIEST}

    def corrected(self, weight: float, losses: Mapping[str, float], share: float = 1.0) -> float:
        """The weight of the style to go on with.

        Args:
            weight: that `losses` came of.
            losses: {name: loss} now.
            share: of the correction to make: 1 where the losses have settled.
        """
        weight, now = max(weight, _LEAST_WEIGHT), max(losses[self.name], 1e-9)
        self._learn(math.log(weight), math.log(now))
        change = (self.value / now) ** (share / self._slope)
        changed = weight * min(max(change, 1 / _MOST), _MOST)
        return min(max(changed, _LEAST_WEIGHT), _MOST_WEIGHT)

    def _learn(self, weight: float, loss: float) -> None:
        """Takes the slope from the last two of (logarithm of the weight, of the loss)."""
        if self._last and abs(by := weight - self._last[0]) >= _CHANGED:
            sign = math.copysign(1, _SLOPES[self.name])
            steep = sign * (loss - self._last[1]) / by
            self._slope = sign * min(max(steep, _FLATTEST), _STEEPEST)
        self._last = weight, loss
