"""A generator of several styles, and a discriminator that names styles."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfstyle import losses
from tfstyle.training.balance import Balance
from tfstyle.training.steps.base import (
    apply_both,
    balance_of,
    content_of,
    follow,
    networks_of,
    tape_of,
    weighted_total,
    weights_of,
)


class StyleClassStep:
    """Trains a generator of several styles and a discriminator that names the style of an image.

    The discriminator gives one of N + 1 classes, the N styles and "generated": Odena 2016
    (https://arxiv.org/abs/1606.01583), section 2. It minimises the cross-entropy of paintings with
    their own style and of stylized photos with "generated"; the generator that of stylized photos
    with the style that was wanted, in place of the sign-reversed loss of the discriminator, which
    would teach it nothing while the discriminator is sure (Goodfellow et al. 2014,
    https://arxiv.org/abs/1406.2661, section 3).

    To these comes the content loss, and the style loss E ||f(s) - f(g)||^2 over paintings s of the
    wanted style and stylized photos g. f, the Gram matrices, stands still, so that the expectation
    over s is ||E f(s) - f(g)||^2 and a constant: no painting need be drawn for it. The
    discriminator's own features as f would move in each step.
    """

    def __init__(
        self,
        *,
        generator: keras.Model,
        discriminator: keras.Model,
        extractor: keras.Model,
        content_extractor: keras.Model,
        style_grams: Mapping[str, tf.Tensor],
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        content_layers: Sequence[str],
        content_weight: float,
        style_weight: float,
        class_weight: float,
        tv_weight: float = 0.0,
        checkerboard_weight: float = 0.0,
        balance: Balance | None = None,
    ) -> None:
        """
        Args:
            generator: [images [B, H, W, 3] in [0, 1], style_weights [B, N]] -> images.
            discriminator: [B, H, W, 3] in [0, 1] -> logits [B, N + 1], "generated" the last.
            extractor: image -> features of `content_layers` and of the layers of `style_grams`.
            content_extractor: image -> features of `content_layers`; the photo needs no more.
            style_grams: {layer: [N, C, C]}, the mean over the paintings of each style.
            generator_optimizer, discriminator_optimizer: built on their network's variables.
            content_layers: layers whose content losses are averaged.
            content_weight, style_weight, class_weight, tv_weight, checkerboard_weight: of the
                generator's losses named so.
            balance: gives weights in place of those above, and moves them.
        """
        self.generator = generator
        self.discriminator = discriminator
        self.extractor = extractor
        self.content_extractor = content_extractor
        self.style_grams = dict(style_grams)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.content_layers = tuple(content_layers)
        self.content_weight = content_weight
        self.style_weight = style_weight
        self.class_weight = class_weight
        self.tv_weight = tv_weight
        self.checkerboard_weight = checkerboard_weight
        self.balance = balance

    @tf.function(autograph=False)
    def __call__(
        self, photos: tf.Tensor, style_weights: tf.Tensor, paintings: tf.Tensor, styles: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, style_weights, paintings, styles)

    def update(
        self, photos: tf.Tensor, style_weights: tf.Tensor, paintings: tf.Tensor, styles: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """One update of each network.

        Args:
            photos, paintings: [B, H, W, 3] in [0, 1].
            style_weights: [B, N], how much of each style a photo gets; rows sum to 1.
            styles: [B, N], the same of the paintings: what they are.

        Returns:
            Unweighted losses, the generator's weighted total, the discriminator's accuracy on
            paintings (their own style among N + 1 classes) and on stylized photos ("generated"),
            and the share of stylized photos that it gives the wanted style (shares in [0, 1]).
        """
        # A last class: "generated".
        wanted, own = (tf.pad(weights, [[0, 0], [0, 1]]) for weights in (style_weights, styles))
        generated = tf.pad(tf.zeros_like(style_weights), [[0, 0], [0, 1]], constant_values=1.0)
        with tape_of(self) as generator_tape, tf.GradientTape() as discriminator_tape:
            stylized = self.generator([photos, style_weights], training=True)
            of_paintings = self.discriminator(paintings, training=True)
            of_stylized = self.discriminator(stylized, training=True)
            values = self._terms(stylized, of_stylized, photos, style_weights)
            discriminator_total = _cross_entropy(logits=of_paintings, labels=own)
            discriminator_total += _cross_entropy(logits=of_stylized, labels=generated)
            total = weighted_total(values, self.weights)
            generator_scaled = self.generator_optimizer.scale_loss(total)
            discriminator_scaled = self.discriminator_optimizer.scale_loss(discriminator_total)
        apply_both(self, generator_tape, generator_scaled, discriminator_tape, discriminator_scaled)
        return {
            "total": total,
            **values,
            "discriminator": discriminator_total,
            "real_accuracy": _agreement(of_paintings, own),
            "fake_accuracy": _agreement(of_stylized, generated),
            "as_wanted": _agreement(of_stylized, wanted),
            **follow(self, values, tape=generator_tape, stylized=stylized),
        }

    @property
    def weights(self) -> dict[str, Any]:
        """{name of a loss of the generator: its weight in the total}, a variable where it moves."""
        return weights_of(self, ("content", "style", "class"), optional=("tv", "checkerboard"))

    @property
    def state(self) -> dict:
        """What a checkpoint holds, by name."""
        return networks_of(self) | balance_of(self)

    def terms(
        self, photos: tf.Tensor, style_weights: tf.Tensor, *_: tf.Tensor, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """The generator's unweighted losses of a batch, as `update` takes it; updates nothing."""
        stylized = self.generator([photos, style_weights], training=training)
        judged = self.discriminator(stylized, training=training)
        return self._terms(stylized, judged, photos, style_weights)

    def _terms(self, stylized, judged, photos, style_weights):
        target = self.content_extractor(photos)
        style_grams = {
            layer: tf.einsum("bs,scd->bcd", style_weights, gram)
            for layer, gram in self.style_grams.items()
        }
        wanted = tf.pad(style_weights, [[0, 0], [0, 1]])
        features = self.extractor(stylized)
        values = {
            "content": content_of(features, target, self.content_layers),
            "style": losses.style_loss(
                grams={layer: losses.gram(features[layer]) for layer in style_grams},
                targets=style_grams,
            ),
            "class": _cross_entropy(logits=judged, labels=wanted),
        }
        if self.tv_weight:
            values["tv"] = losses.total_variation(stylized)
        if self.checkerboard_weight:
            values["checkerboard"] = losses.checkerboard_loss(images=stylized)
        return values


def _cross_entropy(*, logits, labels):
    """-sum of labels log softmax(logits) over classes, [B, K]; the mean over images."""
    logits = tf.cast(logits, "float32")
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def _agreement(logits, labels):
    """Share of images whose highest logit is that of their highest label."""
    same = tf.argmax(logits, axis=-1) == tf.argmax(labels, axis=-1)
    return tf.reduce_mean(tf.cast(same, "float32"))
