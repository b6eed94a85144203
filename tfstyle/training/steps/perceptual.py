"""Steps of one network against fixed losses: perceptual, or a target."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from tfstyle import losses
from tfstyle.training.balance import Balance
from tfstyle.training.steps.base import (
    apply,
    balance_of,
    content_of,
    follow,
    tape_of,
    weighted_total,
    weights_of,
)

_FORMULAS = {
    "relative": (losses.content_loss, losses.style_loss),
    "gatys": (losses.gatys_content_loss, losses.gatys_style_loss),
}


class PerceptualStep:
    """Trains a generator on content, style and total variation.

    Johnson et al. 2016 (https://arxiv.org/abs/1603.08155), with every loss relative to its target's
    energy (see `losses`), so that the same weights suit every style. With several styles, Dumoulin
    et al. 2017 (https://arxiv.org/abs/1610.07629): each image is judged by its own style.
    """

    def __init__(
        self,
        *,
        generator: keras.Model,
        extractor: keras.Model,
        content_extractor: keras.Model,
        style_grams: Mapping[str, tf.Tensor],
        optimizer: keras.optimizers.Optimizer,
        content_layers: Sequence[str],
        content_weight: float,
        style_weight: float,
        tv_weight: float,
        checkerboard_weight: float = 0.0,
        layer_weights: Mapping[str, float] | None = None,
        style_means: Mapping[str, tf.Tensor] | None = None,
        saliency: float = 0.0,
        formula: Literal["relative", "gatys"] = "relative",
        balance: Balance | None = None,
    ) -> None:
        """
        Args:
            generator: [B, H, W, 3] in [0, 1] -> same; its trainable weights are updated. For
                several styles its inputs are [images, style_weights [B, styles]].
            extractor: image -> features of `content_layers` and of the layers of `style_grams`.
            content_extractor: image -> features of `content_layers`; the photo needs no more.
            style_grams: {layer: [1, C, C]} of the style image; [styles, C, C] of several.
            optimizer: built on the generator's trainable variables.
            content_layers: layers whose content losses are averaged.
            content_weight, style_weight, tv_weight, checkerboard_weight: of the losses named so.
            layer_weights: {layer: weight} within the style loss; equal where None.
            style_means: {layer: [styles, C]}, the `losses.channel_means` that go with
                `style_grams`: the style loss is then `losses.wasserstein_style_loss`.
            saliency: how far the positions of the content are weighted by `losses.saliency`, from
                0, all alike, to 1.
            formula: of content and style loss; "gatys" takes them as published.
            balance: gives weights in place of those above, and moves them.
        """
        self.generator = generator
        self.extractor = extractor
        self.content_extractor = content_extractor
        self.optimizer = optimizer
        self.content_layers = tuple(content_layers)
        self.content_weight = content_weight
        self.style_weight = style_weight
        self.tv_weight = tv_weight
        self.checkerboard_weight = checkerboard_weight
        self.content_loss, style_loss = _FORMULAS[formula]
        self.saliency = saliency
        self.style = losses.StyleTargets(
            style_grams, means=style_means, layer_weights=layer_weights, formula=style_loss
        )
        self.balance = balance

    @tf.function(autograph=False)
    def __call__(
        self, photos: tf.Tensor, style_weights: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, style_weights)

    def update(
        self, photos: tf.Tensor, style_weights: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """One update on photos [B, H, W, 3] in [0, 1]; returns unweighted losses and total.

        With a `balance` also the weights that it moves, as "style_weight".

        `style_weights` [B, styles], for a generator of several styles: how much of each an image
        gets. The target of a blend is the blend of the Gram matrices; of the Wasserstein loss, of
        means and of roots of covariances.
        """
        with tape_of(self) as tape:
            stylized = self._stylized(photos, style_weights, training=True)
            values = self._terms(stylized, photos, style_weights)
            total = weighted_total(values, self.weights)
            scaled = self.optimizer.scale_loss(total)
        apply(self.optimizer, tape, scaled, self.generator.trainable_variables)
        return {"total": total, **values, **follow(self, values, tape=tape, stylized=stylized)}

    @property
    def weights(self) -> dict[str, Any]:
        """{name of a loss: its weight in the total}, a variable where `balance` moves it."""
        return weights_of(self, ("content", "style", "tv"), optional=("checkerboard",))

    @property
    def state(self) -> dict:
        """What a checkpoint holds, by name."""
        return {"generator": self.generator, "optimizer": self.optimizer, **balance_of(self)}

    def terms(
        self, photos: tf.Tensor, style_weights: tf.Tensor | None = None, *, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """The unweighted losses of a batch, as `update` takes it; updates nothing."""
        return self._terms(self._stylized(photos, style_weights, training), photos, style_weights)

    def _stylized(self, photos, style_weights, training):
        inputs = photos if style_weights is None else [photos, style_weights]
        return self.generator(inputs, training=training)

    def _terms(self, stylized, photos, style_weights):
        target = self.content_extractor(photos)
        features = self.extractor(stylized)
        values = {
            "content": content_of(
                features, target, self.content_layers, self.content_loss, self.saliency
            ),
            "style": self.style.loss(features, blends=style_weights),
            "tv": losses.total_variation(stylized),
        }
        if self.checkerboard_weight:
            values["checkerboard"] = losses.checkerboard_loss(images=stylized)
        return values


class TargetStep:
    """Trains a generator on what each photo is to become, by the mean squared difference."""

    def __init__(self, *, generator: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """
        Args:
            generator: [B, H, W, 3] in [0, 1] -> same; its trainable weights are updated.
            optimizer: built on the generator's trainable variables.
        """
        self.generator = generator
        self.optimizer = optimizer

    @tf.function(autograph=False)
    def __call__(self, photos: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, targets)

    def update(self, photos: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
        """One update on photos and targets, [B, H, W, 3] in [0, 1]; returns the loss."""
        with tf.GradientTape() as tape:
            values = self.terms(photos, targets, training=True)
            scaled = self.optimizer.scale_loss(values["pixels"])
        apply(self.optimizer, tape, scaled, self.generator.trainable_variables)
        return values

    @property
    def weights(self) -> dict[str, float]:
        """{name of a loss: its weight}."""
        return {"pixels": 1.0}

    @property
    def state(self) -> dict:
        """What a checkpoint holds, by name."""
        return {"generator": self.generator, "optimizer": self.optimizer}

    def terms(
        self, photos: tf.Tensor, targets: tf.Tensor, *, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """The loss of a batch, as `update` takes it; updates nothing."""
        stylized = self.generator(photos, training=training)
        return {"pixels": losses.pixel_loss(images=stylized, target=targets)}
