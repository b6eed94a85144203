"""Train steps: one small class a system, called with a batch, returning its losses.

A step receives its networks, extractor, optimizers and weights and builds none. Called, it is a
`tf.function` on one device. `update` is the same uncompiled, for a caller that compiles it: it runs
in the replica context of the `tf.distribute` strategy that the variables were made under, where
TensorFlow admits no second `tf.function` around the exchange of gradients. Under a mixed precision
policy the networks compute in half precision; Gram matrices and losses are float32.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfstyle import losses
from tfstyle.errors import ArgumentError
from tfstyle.training import image_pool
from tfstyle.training.balance import Balance
from tfstyle.training.steps.base import (
    accuracies,
    apply,
    balance_of,
    content_of,
    follow,
    hold_back,
    mean_of_all,
    networks_of,
    tape_of,
    weighted_total,
    weights_of,
)


class GanStep:
    """Trains a discriminator and a generator in turn.

    The generator minimises content, style, total variation, the adversarial loss and, where they
    have a weight, the identity and colour losses; the discriminator tells real style images
    from stylized photos. A batch goes to `d_steps` updates of the discriminator, a part to each,
    and the last part to the generator, which then faces the updated discriminator (Goodfellow et
    al. 2014, https://arxiv.org/abs/1406.2661, algorithm 1).

    In the first `warmup_steps` the generator minimises the content loss alone and the discriminator
    stands still (Chen et al. 2018, "CartoonGAN", section 3.3); its optimizer counts from there.
    """

    def __init__(
        self,
        *,
        generator: keras.Model,
        discriminator: keras.Model,
        extractor: keras.Model,
        content_extractor: keras.Model,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        adversarial: str,
        content_layers: Sequence[str],
        layer_weights: Mapping[str, float],
        content_weight: float,
        style_weight: float,
        tv_weight: float,
        adversarial_weight: float,
        identity_weight: float = 0.0,
        color_weight: float = 0.0,
        checkerboard_weight: float = 0.0,
        d_steps: int = 1,
        warmup_steps: int = 0,
        pool: image_pool.ImagePool | None = None,
        heads: keras.Model | None = None,
        targets: losses.StyleTargets | None = None,
        saliency: float = 0.0,
        balance: Balance | None = None,
    ) -> None:
        """
        Args:
            generator: [B, H, W, 3] in [0, 1] -> same, or [images, noise [B, N]] -> same.
            discriminator: [B, H, W, 3] in [0, 1] -> patch scores before any sigmoid, any shape.
            extractor: image -> features of `content_layers` and the layers of `layer_weights`.
            content_extractor: image -> features of `content_layers`.
            generator_optimizer, discriminator_optimizer: built on their network's variables.
            adversarial: pair of losses, a key of `losses.ADVERSARIAL`.
            layer_weights: {layer: weight}, compared with the Gram matrices of the batch's own style
                images, averaged over the batch, where there are no `targets`.
            content_weight, style_weight, tv_weight, adversarial_weight, identity_weight,
                color_weight, checkerboard_weight: of the losses named so.
            d_steps: updates of the discriminator to one of the generator; a batch must divide by
                it.
            warmup_steps: see above.
            pool: what the discriminator is shown of the generator's images; all as they come where
                None.
            balance: gives weights in place of those above, and moves them.
        """
        for name, value, least in (("d_steps", d_steps, 1), ("warmup_steps", warmup_steps, 0)):
            if value < least:
                raise ArgumentError(f"{name} {value}: give at least {least}")
        self.generator = generator
        self.discriminator = discriminator
        self.extractor = extractor
        self.content_extractor = content_extractor
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.discriminator_loss, self.generator_loss = losses.ADVERSARIAL[adversarial]
        self.content_layers = tuple(content_layers)
        self.layer_weights = dict(layer_weights)
        self.content_weight = content_weight
        self.style_weight = style_weight
        self.tv_weight = tv_weight
        self.adversarial_weight = adversarial_weight
        self.identity_weight = identity_weight
        self.color_weight = color_weight
        self.checkerboard_weight = checkerboard_weight
        self.d_steps = d_steps
        self.warmup_steps = warmup_steps
        self.pool = pool
        self.heads = heads
        self.targets = targets
        self.saliency = saliency
        self.balance = balance

    @tf.function(autograph=False)
    def __call__(
        self, photos: tf.Tensor, paintings: tf.Tensor, noise: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, paintings, noise)

    def update(
        self, photos: tf.Tensor, paintings: tf.Tensor, noise: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """One update of the generator and `d_steps` of the discriminator.

        Args:
            photos, paintings: [d_steps * B, H, W, 3] in [0, 1].
            noise: [d_steps * B, N], where the generator takes noise.

        Returns:
            Unweighted losses, the generator's weighted total, and the discriminator's accuracy on
            real and on stylized patches (shares in [0, 1]), before its last update.
        """
        # 0 in the warm-up, then 1: a condition could not hold the exchange among replicas.
        active = tf.cast(self.generator_optimizer.iterations >= self.warmup_steps, "float32")
        # Every d_steps-th image, so that a part is the same however a batch is dealt to replicas.
        for part in range(self.d_steps - 1):
            of_photos, of_paintings, of_noise = self._part(part, photos, paintings, noise)
            stylized = self._stylized(of_photos, of_noise)
            self._update_discriminator(of_paintings, stylized, active)
        photos, paintings, noise = self._part(self.d_steps - 1, photos, paintings, noise)

        with tape_of(self) as tape:
            stylized = self._stylized(photos, noise)
            features = self.extractor(stylized)
            with tape.stop_recording():
                of_paintings = self.extractor(paintings)
                judged = self._update_discriminator(
                    paintings, stylized, active, of_paintings, features
                )
            values = self._terms(stylized, features, photos, paintings, of_paintings, noise, True)
            weights = {
                name: (1.0 if name == "content" else active) * weight
                for name, weight in self.weights.items()
            }
            total = weighted_total(values, weights)
            scaled = self.generator_optimizer.scale_loss(total)
        apply(self.generator_optimizer, tape, scaled, self.generator.trainable_variables)
        moved = follow(self, values, tape=tape, stylized=stylized, active=active)
        return {"total": total, **values, **judged, **moved}

    @property
    def weights(self) -> dict[str, Any]:
        """{name of a loss of the generator: its weight in the total}, a variable where it moves."""
        names = ("content", "style", "tv", "adversarial")
        return weights_of(self, names, optional=("identity", "color", "checkerboard"))

    @property
    def state(self) -> dict:
        """What a checkpoint holds, by name."""
        networks = networks_of(self)
        if self.heads:
            # What they look through is not trained.
            networks["discriminator"] = self.heads
        return networks | ({"pool": self.pool} if self.pool else {}) | balance_of(self)

    def terms(
        self,
        photos: tf.Tensor,
        paintings: tf.Tensor,
        noise: tf.Tensor | None = None,
        *,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """The generator's unweighted losses of a batch; updates nothing. All of it is one part."""
        stylized = self._stylized(photos, noise, training)
        features, of_paintings = self.extractor(stylized), self.extractor(paintings)
        return self._terms(stylized, features, photos, paintings, of_paintings, noise, training)

    def _terms(self, stylized, features, photos, paintings, of_paintings, noise, training):
        # The nearest painting is found by all layers, the content compared by few.
        of_photos = (self.extractor if self.targets else self.content_extractor)(photos)
        values = {
            "content": content_of(features, of_photos, self.content_layers, saliency=self.saliency),
            "style": self._style(features, of_photos, of_paintings),
            "tv": losses.total_variation(stylized),
            "adversarial": self.generator_loss(
                fake=self._scores(stylized, features, training=training)
            ),
        }
        if self.identity_weight:
            same = self._stylized(paintings, noise, training)
            values["identity"] = losses.identity_loss(images=same, target=paintings)
        if self.color_weight:
            values["color"] = losses.color_loss(images=stylized, target=photos)
        if self.checkerboard_weight:
            values["checkerboard"] = losses.checkerboard_loss(images=stylized)
        return values

    def _style(self, features, of_photos, of_paintings):
        if self.targets:
            return self.targets.loss(features, chosen=self.targets.nearest(of_photos))
        # A single painting's Gram matrix would ask every photo to become that one painting.
        style_grams = {
            layer: mean_of_all(losses.gram(of_paintings[layer])) for layer in self.layer_weights
        }
        return losses.style_loss(
            grams={layer: losses.gram(features[layer]) for layer in self.layer_weights},
            targets=style_grams,
            layer_weights=self.layer_weights,
        )

    def _scores(self, pictures, features=None, *, training):
        if self.heads is None or features is None:
            return self.discriminator(pictures, training=training)
        layers = self.heads.input.keys()
        return self.heads({layer: features[layer] for layer in layers}, training=training)

    def _part(self, part, *batches):
        return [None if batch is None else batch[part :: self.d_steps] for batch in batches]

    def _stylized(self, photos, noise, training=True):
        inputs = photos if noise is None else [photos, noise]
        return self.generator(inputs, training=training)

    def _update_discriminator(self, paintings, stylized, active, of_paintings=None, features=None):
        if self.pool:
            shown, features = self.pool.exchange(stylized), None
        else:
            shown = tf.stop_gradient(stylized)
            if features is not None:
                features = tf.nest.map_structure(tf.stop_gradient, features)
        with tf.GradientTape() as tape:
            # A call each: batch normalisation must not tell them apart by their neighbours.
            real = self._scores(paintings, of_paintings, training=True)
            fake = self._scores(shown, features, training=True)
            loss = self.discriminator_loss(real=real, fake=fake)
            scaled = self.discriminator_optimizer.scale_loss(active * loss)
        apply(self.discriminator_optimizer, tape, scaled, self.discriminator.trainable_variables)
        if self.warmup_steps:
            hold_back(self.discriminator_optimizer, active)
        # The boundary between real and fake: a logit of 0, or halfway between LSGAN's 0 and 1.
        boundary = 0.5 if self.generator_loss is losses.lsgan_generator_loss else 0.0
        return {"discriminator": loss, **accuracies(real, fake, boundary)}
