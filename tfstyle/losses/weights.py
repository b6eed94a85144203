"""The weights of the losses: the flags that recipes share."""

import dataclasses
import math
from typing import Literal

from tfstyle.errors import ArgumentError
from tfstyle.losses.style import CONTENT_LAYER, STYLE_LAYERS, falling


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
class StyleWeights(Weights):
    """What a network of given styles is to aim for, and how much.

    Args:
        style_loss: "gram" compares Gram matrices (Gatys et al. 2015), "wasserstein" mean and
            covariance: nearer to the painting's strokes and colours, with less fine grain.
        style_depth: how many of VGG16's five style layers, from the first; the last ones see
            things rather than strokes.
        style_falloff: weight of each of these relative to that of the one before.
        saliency: from 0, all of the photo weighs alike in the content loss, to 1, what stands out
            weighs most, and a sky or a wall is free for strokes.
    """

    style_loss: Literal["gram", "wasserstein"] = "gram"
    style_depth: int = len(STYLE_LAYERS)
    style_falloff: float = 1.0
    saliency: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, holds, what in (
            ("style_loss", self.style_loss in ("gram", "wasserstein"), "gram or wasserstein"),
            ("style_depth", 1 <= self.style_depth <= len(STYLE_LAYERS), "1 to 5"),
            ("style_falloff", 0 < self.style_falloff < math.inf, "more than 0"),
            ("saliency", 0 <= self.saliency <= 1, "0 to 1"),
        ):
            if not holds:
                raise ArgumentError(f"{name} {getattr(self, name)}: give {what}")

    @property
    def style_layers(self) -> dict[str, float]:
        """{layer: weight} of the style loss; they sum to 1."""
        weights = falling(STYLE_LAYERS, self.style_depth, self.style_falloff)
        total = sum(weights.values())
        return {layer: weight / total for layer, weight in weights.items()}


# What networks of given styles paint best with: docs/systems.md.
PAINTERLY = StyleWeights(
    style_loss="wasserstein",
    style_depth=4,
    style_falloff=0.7,
    saliency=0.5,
    style_weight=15.0,
    tv_weight=10.0,
)


@dataclasses.dataclass(frozen=True)
class GanWeights(StyleWeights):
    """What a generator that faces a discriminator is to aim for, and how much.

    Args:
        adversarial_weight: of the adversarial loss.
        identity_weight: of the identity loss: paintings are to stay as they are.
        color_weight: of the colour loss; more keeps more of the photo's colours.
    """

    adversarial_weight: float = 5.0
    identity_weight: float = 5.0
    color_weight: float = 60.0
