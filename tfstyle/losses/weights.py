"""The weights of the losses: the flags that recipes share."""

import dataclasses
import math
from typing import Literal

from tfstyle.errors import ArgumentError
from tfstyle.losses.style import CONTENT_LAYER


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a network is to aim for, and how much.

    Args:
        content_layers: VGG16 layers of the content loss, separated by commas; shallower ones keep
            finer detail of the photo.
        content_weight: of the content loss; more keeps more of the photo.
        style_weight: of the style loss; more gives more of the paintings.
        tv_weight: of total variation; more is smoother.
        checkerboard_weight: of patterns of the periods of up-sampling; 0 to not compute them. Crops
            must be of 128 pixels or more.
        target: content=X or style=X, the loss at which the training shall end: style_weight, which
            is then only where it begins, is moved until it does.
        balance: "fixed" weights of content and style; "uncertainty" (Kendall et al. 2018) and
            "gradnorm" (Chen et al. 2018) move both from where they are, to ends of their own.
    """

    content_layers: str = CONTENT_LAYER
    content_weight: float = 1.0
    style_weight: float = 10.0
    tv_weight: float = 0.0
    checkerboard_weight: float = 0.0
    target: str = ""
    balance: Literal["fixed", "uncertainty", "gradnorm"] = "fixed"

    def __post_init__(self) -> None:
        if self.aim and self.balance != "fixed":
            raise ArgumentError(f"target {self.target} and balance {self.balance}: give one")
        moved = {"style": self.aim or self.balance != "fixed", "content": self.balance != "fixed"}
        for name, is_moved in moved.items():
            weight = self.numbers[f"{name}_weight"]
            if is_moved and not weight > 0:
                raise ArgumentError(
                    f"{name}_weight {weight:g} with a target or balance: give one above 0 to begin "
                    "with"
                )

    @property
    def aim(self) -> tuple[str, float] | None:
        """("content" or "style", where that loss shall end) of `target`; None where there is none.

        Raises:
            ValueError: for another text.
        """
        if not self.target:
            return None
        name, _, text = self.target.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if name not in ("content", "style") or not (value > 0 and math.isfinite(value)):
            raise ArgumentError(
                f"target {self.target}: give content=X or style=X, X above 0, such as content=0.8"
            )
        return name, value

    @property
    def numbers(self) -> dict[str, float]:
        """All but the layers, by the names that train steps give them."""
        told = dataclasses.asdict(self)
        return {name: value for name, value in told.items() if name.endswith("_weight")}


@dataclasses.dataclass(frozen=True)
class GanWeights(Weights):
    """What a generator that faces a discriminator is to aim for, and how much.

    Args:
        adversarial_weight: of the adversarial loss.
        identity_weight: of the identity loss: paintings are to stay as they are.
        color_weight: of the colour loss; more keeps more of the photo's colours.
    """

    adversarial_weight: float = 5.0
    identity_weight: float = 5.0
    color_weight: float = 60.0
