"""Train steps: one small class a system, called with a batch, returning its losses.

A step receives its networks, extractor, optimizers and weights and builds none. Called, it is a
`tf.function` on one device. `update` is the same uncompiled, for a caller that compiles it: it runs
in the replica context of the `tf.distribute` strategy that the variables were made under, where
TensorFlow admits no second `tf.function` around the exchange of gradients. Under a mixed precision
policy the networks compute in half precision; Gram matrices and losses are float32.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import keras
import tensorflow as tf

from tfstyle import image_pool, losses


def _apply(optimizer, tape, scaled_loss, variables):
    """One update of `variables` by the gradient of the loss, averaged over replicas.

    `scaled_loss` has been through `optimizer.scale_loss`: float16's loss scaling, else as it was.

    The optimizer clips before it adds up the replicas' gradients. So that what is clipped is the
    average, as on one device, it is given the average here, divided by the number of replicas; its
    `global_clipnorm` must be divided likewise (`training.adam` does).
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    values = [variable.value for variable in variables]
    gradients = tape.gradient(scaled_loss, values)
    if replicas > 1:
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients = [gradient / replicas for gradient in gradients]
    optimizer.apply(gradients, variables)


def _apply_both(step, generator_tape, generator_scaled, discriminator_tape, discriminator_scaled):
    """`_apply` to both networks of a step, whose losses were taken before either moved."""
    for network, optimizer, tape, scaled in (
        (step.generator, step.generator_optimizer, generator_tape, generator_scaled),
        (
            step.discriminator,
            step.discriminator_optimizer,
            discriminator_tape,
            discriminator_scaled,
        ),
    ):
        _apply(optimizer, tape, scaled, network.trainable_variables)


def _mean_of_all(values):
    """[B, ...] of this replica -> mean over the whole batch, [1, ...]."""
    mean = tf.reduce_mean(values, axis=0, keepdims=True)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        context = tf.distribute.get_replica_context()
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
    return mean


def _content(features, target, layers, loss=losses.content_loss):
    """Mean content loss of the layers."""
    values = [loss(features=features[layer], target=target[layer]) for layer in layers]
    return tf.add_n(values) / len(layers)


def _weights(step, names, optional):
    """{name: its weight}; of the `optional` losses only those that have one are computed."""
    names = (*names, *(name for name in optional if getattr(step, f"{name}_weight")))
    return {name: getattr(step, f"{name}_weight") for name in names}


def _total(values, weights):
    return tf.add_n([weights[name] * value for name, value in values.items()])


_FORMULAS = {
    "relative": (losses.content_loss, losses.style_loss),
    "gatys": (losses.gatys_content_loss, losses.gatys_style_loss),
}


class PerceptualStep:
    """Trains a generator on content, Gram style and total variation.

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
        formula: Literal["relative", "gatys"] = "relative",
    ):
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
            formula: of content and style loss; "gatys" takes them as published.
        """
        self.generator = generator
        self.extractor = extractor
        self.content_extractor = content_extractor
        self.style_grams = dict(style_grams)
        self.optimizer = optimizer
        self.content_layers = tuple(content_layers)
        self.content_weight = content_weight
        self.style_weight = style_weight
        self.tv_weight = tv_weight
        self.checkerboard_weight = checkerboard_weight
        self.layer_weights = layer_weights
        self.content_loss, self.style_loss = _FORMULAS[formula]

    @tf.function
    def __call__(self, photos, style_weights=None) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, style_weights)

    def update(self, photos, style_weights=None) -> dict[str, tf.Tensor]:
        """One update on photos [B, H, W, 3] in [0, 1]; returns unweighted losses and total.

        `style_weights` [B, styles], for a generator of several styles: how much of each an image
        gets. The target of a blend is the blend of the Gram matrices.
        """
        with tf.GradientTape() as tape:
            values = self.terms(photos, style_weights, training=True)
            total = _total(values, self.weights)
            scaled = self.optimizer.scale_loss(total)
        _apply(self.optimizer, tape, scaled, self.generator.trainable_variables)
        return {"total": total, **values}

    @property
    def weights(self) -> dict[str, float]:
        """{name of a loss: its weight in the total}."""
        return _weights(self, ("content", "style", "tv"), optional=("checkerboard",))

    def terms(self, photos, style_weights=None, *, training=False) -> dict[str, tf.Tensor]:
        """The unweighted losses of a batch, as `update` takes it; updates nothing."""
        target = self.content_extractor(photos)
        inputs, style_grams = photos, self.style_grams
        if style_weights is not None:
            inputs = [photos, style_weights]
            style_grams = {
                layer: tf.einsum("bs,scd->bcd", style_weights, gram)
                for layer, gram in self.style_grams.items()
            }
        stylized = self.generator(inputs, training=training)
        features = self.extractor(stylized)
        values = {
            "content": _content(features, target, self.content_layers, self.content_loss),
            "style": self.style_loss(
                grams={layer: losses.gram(features[layer]) for layer in style_grams},
                targets=style_grams,
                layer_weights=self.layer_weights,
            ),
            "tv": losses.total_variation(stylized),
        }
        if self.checkerboard_weight:
            values["checkerboard"] = losses.checkerboard_loss(images=stylized)
        return values


class TargetStep:
    """Trains a generator on what each photo is to become, by the mean squared difference."""

    def __init__(self, *, generator: keras.Model, optimizer: keras.optimizers.Optimizer):
        """
        Args:
            generator: [B, H, W, 3] in [0, 1] -> same; its trainable weights are updated.
            optimizer: built on the generator's trainable variables.
        """
        self.generator = generator
        self.optimizer = optimizer

    @tf.function
    def __call__(self, photos, targets) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, targets)

    def update(self, photos, targets) -> dict[str, tf.Tensor]:
        """One update on photos and targets, [B, H, W, 3] in [0, 1]; returns the loss."""
        with tf.GradientTape() as tape:
            values = self.terms(photos, targets, training=True)
            scaled = self.optimizer.scale_loss(values["pixels"])
        _apply(self.optimizer, tape, scaled, self.generator.trainable_variables)
        return values

    @property
    def weights(self) -> dict[str, float]:
        """{name of a loss: its weight}."""
        return {"pixels": 1.0}

    def terms(self, photos, targets, *, training=False) -> dict[str, tf.Tensor]:
        """The loss of a batch, as `update` takes it; updates nothing."""
        stylized = self.generator(photos, training=training)
        return {"pixels": losses.pixel_loss(images=stylized, target=targets)}


class GanStep:
    """Trains a discriminator and a generator in turn.

    The generator minimises content, Gram style, total variation, the adversarial loss and, where
    they have a weight, the identity and colour losses; the discriminator tells real style images
    from stylized photos. A batch goes to `d_steps` updates of the discriminator, a part to each,
    and the last part to the generator, which then faces the updated discriminator (Goodfellow et
    al. 2014, https://arxiv.org/abs/1406.2661, algorithm 1).

    In the first `warmup_steps` the generator minimises the content loss alone and the discriminator
    stands still (Chen et al. 2018, "CartoonGAN", section 3.3).
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
        style_layers: Sequence[str],
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
    ):
        """
        Args:
            generator: [B, H, W, 3] in [0, 1] -> same, or [images, noise [B, N]] -> same.
            discriminator: [B, H, W, 3] in [0, 1] -> patch scores before any sigmoid, any shape.
            extractor: image -> features of `content_layers` and `style_layers`.
            content_extractor: image -> features of `content_layers`.
            generator_optimizer, discriminator_optimizer: built on their network's variables.
            adversarial: pair of losses, a key of `losses.ADVERSARIAL`.
            style_layers: compared with the Gram matrices of the batch's own style images, averaged
                over the batch.
            content_weight, style_weight, tv_weight, adversarial_weight, identity_weight,
                color_weight, checkerboard_weight: of the losses named so.
            d_steps: updates of the discriminator to one of the generator; a batch must divide by
                it.
            warmup_steps: see above.
            pool: what the discriminator is shown of the generator's images; all as they come where
                None.
        """
        for name, value, least in (("d_steps", d_steps, 1), ("warmup_steps", warmup_steps, 0)):
            if value < least:
                raise ValueError(f"{name} {value}: give at least {least}")
        self.generator = generator
        self.discriminator = discriminator
        self.extractor = extractor
        self.content_extractor = content_extractor
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.discriminator_loss, self.generator_loss = losses.ADVERSARIAL[adversarial]
        self.content_layers = tuple(content_layers)
        self.style_layers = tuple(style_layers)
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

    @tf.function
    def __call__(self, photos, paintings, noise=None) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, paintings, noise)

    def update(self, photos, paintings, noise=None) -> dict[str, tf.Tensor]:
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

        with tf.GradientTape() as tape:
            stylized = self._stylized(photos, noise)
            with tape.stop_recording():
                judged = self._update_discriminator(paintings, stylized, active)
            values = self._terms(stylized, photos, paintings, noise, training=True)
            weights = {
                name: (1.0 if name == "content" else active) * weight
                for name, weight in self.weights.items()
            }
            total = _total(values, weights)
            scaled = self.generator_optimizer.scale_loss(total)
        _apply(self.generator_optimizer, tape, scaled, self.generator.trainable_variables)
        return {"total": total, **values, **judged}

    @property
    def weights(self) -> dict[str, float]:
        """{name of a loss of the generator: its weight in the total}."""
        names = ("content", "style", "tv", "adversarial")
        return _weights(self, names, optional=("identity", "color", "checkerboard"))

    def terms(self, photos, paintings, noise=None, *, training=False) -> dict[str, tf.Tensor]:
        """The generator's unweighted losses of a batch; updates nothing. All of it is one part."""
        stylized = self._stylized(photos, noise, training)
        return self._terms(stylized, photos, paintings, noise, training)

    def _terms(self, stylized, photos, paintings, noise, training):
        target = self.content_extractor(photos)
        style_features = self.extractor(paintings)
        # A single painting's Gram matrix would ask every photo to become that one painting.
        style_grams = {
            layer: _mean_of_all(losses.gram(style_features[layer])) for layer in self.style_layers
        }
        features = self.extractor(stylized)
        values = {
            "content": _content(features, target, self.content_layers),
            "style": losses.style_loss(
                grams={layer: losses.gram(features[layer]) for layer in self.style_layers},
                targets=style_grams,
            ),
            "tv": losses.total_variation(stylized),
            "adversarial": self.generator_loss(
                fake=self.discriminator(stylized, training=training)
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

    def _part(self, part, *batches):
        return [None if batch is None else batch[part :: self.d_steps] for batch in batches]

    def _stylized(self, photos, noise, training=True):
        inputs = photos if noise is None else [photos, noise]
        return self.generator(inputs, training=training)

    def _update_discriminator(self, paintings, stylized, active):
        shown = self.pool.exchange(stylized) if self.pool else tf.stop_gradient(stylized)
        with tf.GradientTape() as tape:
            # A call each: batch normalisation must not tell them apart by their neighbours.
            real = self.discriminator(paintings, training=True)
            fake = self.discriminator(shown, training=True)
            loss = self.discriminator_loss(real=real, fake=fake)
            scaled = self.discriminator_optimizer.scale_loss(active * loss)
        _apply(self.discriminator_optimizer, tape, scaled, self.discriminator.trainable_variables)
        # The boundary between real and fake: a logit of 0, or halfway between LSGAN's 0 and 1.
        boundary = 0.5 if self.generator_loss is losses.lsgan_generator_loss else 0.0
        return {"discriminator": loss, **_accuracies(real, fake, boundary)}


def _accuracies(real, fake, boundary=0.0):
    """Shares of the scores that are on the right side of the boundary."""
    return {
        "real_accuracy": tf.reduce_mean(tf.cast(real > boundary, "float32")),
        "fake_accuracy": tf.reduce_mean(tf.cast(fake <= boundary, "float32")),
    }


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
    ):
        """
        Args:
            generator: [images [B, H, W, 3] in [0, 1], style_weights [B, N]] -> images.
            discriminator: [B, H, W, 3] in [0, 1] -> logits [B, N + 1], "generated" the last.
            extractor: image -> features of `content_layers` and of the layers of `style_grams`.
            content_extractor: image -> features of `content_layers`; the photo needs no more.
            style_grams: {layer: [N, C, C]}, the mean over the paintings of each style.
            generator_optimizer, discriminator_optimizer: built on their network's variables.
            content_layers: layers whose content losses are averaged.
            content_weight, style_weight, class_weight: of the generator's losses named so.
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

    @tf.function
    def __call__(self, photos, style_weights, paintings, styles) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, style_weights, paintings, styles)

    def update(self, photos, style_weights, paintings, styles) -> dict[str, tf.Tensor]:
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
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            stylized = self.generator([photos, style_weights], training=True)
            of_paintings = self.discriminator(paintings, training=True)
            of_stylized = self.discriminator(stylized, training=True)
            values = self._terms(stylized, of_stylized, photos, style_weights)
            discriminator_total = _cross_entropy(logits=of_paintings, labels=own)
            discriminator_total += _cross_entropy(logits=of_stylized, labels=generated)
            total = _total(values, self.weights)
            generator_scaled = self.generator_optimizer.scale_loss(total)
            discriminator_scaled = self.discriminator_optimizer.scale_loss(discriminator_total)
        _apply_both(
            self, generator_tape, generator_scaled, discriminator_tape, discriminator_scaled
        )
        return {
            "total": total,
            **values,
            "discriminator": discriminator_total,
            "real_accuracy": _agreement(of_paintings, own),
            "fake_accuracy": _agreement(of_stylized, generated),
            "as_wanted": _agreement(of_stylized, wanted),
        }

    @property
    def weights(self) -> dict[str, float]:
        """{name of a loss of the generator: its weight in the total}."""
        return {
            "content": self.content_weight,
            "style": self.style_weight,
            "class": self.class_weight,
        }

    def terms(self, photos, style_weights, *_, training=False) -> dict[str, tf.Tensor]:
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
        return {
            "content": _content(features, target, self.content_layers),
            "style": losses.style_loss(
                grams={layer: losses.gram(features[layer]) for layer in style_grams},
                targets=style_grams,
            ),
            "class": _cross_entropy(logits=judged, labels=wanted),
        }


def _cross_entropy(*, logits, labels):
    """-sum of labels log softmax(logits) over classes, [B, K]; the mean over images."""
    logits = tf.cast(logits, "float32")
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def _agreement(logits, labels):
    """Share of images whose highest logit is that of their highest label."""
    same = tf.argmax(logits, axis=-1) == tf.argmax(labels, axis=-1)
    return tf.reduce_mean(tf.cast(same, "float32"))


class NoiseGanStep:
    """Trains a generator of pictures from noise and a discriminator, one update of each on a batch.

    Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661), algorithm 1 with one step of the
    discriminator and the non-saturating generator's loss; cross-entropy in both.
    """

    def __init__(
        self,
        *,
        generator: keras.Model,
        discriminator: keras.Model,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        real_label: float = 1.0,
    ):
        """
        Args:
            generator: noise [B, N] -> pictures [B, H, W, C] in [0, 1].
            discriminator: pictures -> scores before any sigmoid, any shape.
            generator_optimizer, discriminator_optimizer: built on their network's variables.
            real_label: of real pictures, to the discriminator: see `losses.bce_discriminator_loss`.
        """
        self.real_label = real_label
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer

    @tf.function
    def __call__(self, pictures, noise) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(pictures, noise)

    def update(self, pictures, noise) -> dict[str, tf.Tensor]:
        """One update of each network; pictures [B, H, W, C] in [0, 1], noise [B, N].

        Returns both losses, and the discriminator's accuracy on real and on generated pictures
        (shares in [0, 1]).
        """
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            # A call each: batch normalisation must not tell them apart by their neighbours.
            real = self.discriminator(pictures, training=True)
            fake = self.discriminator(self.generator(noise, training=True), training=True)
            generator_loss = losses.bce_generator_loss(fake=fake)
            discriminator_loss = losses.bce_discriminator_loss(
                real=real, fake=fake, real_label=self.real_label
            )
            generator_scaled = self.generator_optimizer.scale_loss(generator_loss)
            discriminator_scaled = self.discriminator_optimizer.scale_loss(discriminator_loss)
        _apply_both(
            self, generator_tape, generator_scaled, discriminator_tape, discriminator_scaled
        )
        return {
            "generator": generator_loss,
            "discriminator": discriminator_loss,
            **_accuracies(real, fake),
        }

    @property
    def weights(self) -> dict[str, float]:
        """{name of a loss of the generator: its weight}."""
        return {"generator": 1.0}

    def terms(self, pictures, noise, *, training=False) -> dict[str, tf.Tensor]:
        """The generator's loss of a batch, as `update` takes it; updates nothing."""
        generated = self.generator(noise, training=training)
        fake = self.discriminator(generated, training=training)
        return {"generator": losses.bce_generator_loss(fake=fake)}
