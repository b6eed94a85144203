"""Train steps: one small class a system, called with a batch, returning its losses.

A step receives its networks, extractor, optimizers and weights and builds none. Called, it is a
`tf.function` on one device. `update` is the same uncompiled, for a caller that compiles it: it runs
in the replica context of the `tf.distribute` strategy that the variables were made under, where
TensorFlow admits no second `tf.function` around the exchange of gradients. Under a mixed precision
policy the networks compute in half precision; Gram matrices and losses are float32.
"""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from tfstyle import losses


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


def _mean_of_all(values):
    """[B, ...] of this replica -> mean over the whole batch, [1, ...]."""
    mean = tf.reduce_mean(values, axis=0, keepdims=True)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        context = tf.distribute.get_replica_context()
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
    return mean


def _content(features, target, layers):
    """Mean content loss of the layers."""
    values = [
        losses.content_loss(features=features[layer], target=target[layer]) for layer in layers
    ]
    return tf.add_n(values) / len(layers)


def style_draws(styles: int, *, batch_size: int, seed: int = 0, skip: int = 0) -> tf.data.Dataset:
    """Endless batches of one style an image, to be zipped with those of `data.image_batches`.

    The style of image i is a function of (seed, i), so that a resumed run passes the number of
    batches it has used as `skip`. Each `styles` images in a row get all styles, in another order
    each time: drawn one by one, some styles would lag behind in a short training.

    Returns:
        Dataset of style weights, float32 [batch_size, styles]: a single 1 in each row.
    """

    def draw(i):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(styles), seed=tf.stack([tf.cast(seed, "int64"), i // styles])
        )
        return tf.one_hot(order[i % styles], styles)

    return tf.data.Dataset.counter(skip * batch_size).map(draw).batch(batch_size)


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
        layer_weights: Mapping[str, float] | None = None,
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
            content_weight, style_weight, tv_weight: of the losses named so.
            layer_weights: {layer: weight} within the style loss; equal where None.
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
        self.layer_weights = layer_weights

    @tf.function
    def __call__(self, photos, style_weights=None) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, style_weights)

    def update(self, photos, style_weights=None) -> dict[str, tf.Tensor]:
        """One update on photos [B, H, W, 3] in [0, 1]; returns unweighted losses and total.

        `style_weights` [B, styles], for a generator of several styles: how much of each an image
        gets. The target of a blend is the blend of the Gram matrices.
        """
        target = self.content_extractor(photos)
        inputs, style_grams = photos, self.style_grams
        if style_weights is not None:
            inputs = [photos, style_weights]
            style_grams = {
                layer: tf.einsum("bs,scd->bcd", style_weights, gram)
                for layer, gram in self.style_grams.items()
            }
        with tf.GradientTape() as tape:
            stylized = self.generator(inputs, training=True)
            features = self.extractor(stylized)
            content = _content(features, target, self.content_layers)
            style = losses.style_loss(
                grams={layer: losses.gram(features[layer]) for layer in style_grams},
                targets=style_grams,
                layer_weights=self.layer_weights,
            )
            tv = losses.total_variation(stylized)
            total = self.content_weight * content + self.style_weight * style + self.tv_weight * tv
            scaled = self.optimizer.scale_loss(total)
        _apply(self.optimizer, tape, scaled, self.generator.trainable_variables)
        return {"total": total, "content": content, "style": style, "tv": tv}


class GanStep:
    """Trains a generator and a discriminator in turn, one update of each on every batch.

    The generator minimises content, Gram style, total variation and the adversarial loss; the
    discriminator tells real style images from stylized photos.
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
    ):
        """
        Args:
            generator: [B, H, W, 3] in [0, 1] -> same.
            discriminator: [B, H, W, 3] in [0, 1] -> patch scores before any sigmoid, any shape.
            extractor: image -> features of `content_layers` and `style_layers`.
            content_extractor: image -> features of `content_layers`.
            generator_optimizer, discriminator_optimizer: built on their network's variables.
            adversarial: pair of losses, a key of `losses.ADVERSARIAL`.
            style_layers: compared with the Gram matrices of the batch's own style images, averaged
                over the batch.
        """
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

    @tf.function
    def __call__(self, photos, paintings) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(photos, paintings)

    def update(self, photos, paintings) -> dict[str, tf.Tensor]:
        """One update of each network; photos, paintings [B, H, W, 3] in [0, 1].

        Returns unweighted losses, the generator's weighted total, and the discriminator's accuracy
        on real and on stylized patches (shares in [0, 1]).
        """
        target = self.content_extractor(photos)
        style_features = self.extractor(paintings)
        # A single painting's Gram matrix would ask every photo to become that one painting.
        style_grams = {
            layer: _mean_of_all(losses.gram(style_features[layer])) for layer in self.style_layers
        }
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            stylized = self.generator(photos, training=True)
            real = self.discriminator(paintings, training=True)
            fake = self.discriminator(stylized, training=True)
            features = self.extractor(stylized)
            content = _content(features, target, self.content_layers)
            style = losses.style_loss(
                grams={layer: losses.gram(features[layer]) for layer in self.style_layers},
                targets=style_grams,
            )
            tv = losses.total_variation(stylized)
            adversarial = self.generator_loss(fake=fake)
            discriminator_total = self.discriminator_loss(real=real, fake=fake)
            total = (
                self.content_weight * content
                + self.style_weight * style
                + self.tv_weight * tv
                + self.adversarial_weight * adversarial
            )
            generator_scaled = self.generator_optimizer.scale_loss(total)
            discriminator_scaled = self.discriminator_optimizer.scale_loss(discriminator_total)
        _apply(
            self.generator_optimizer,
            generator_tape,
            generator_scaled,
            self.generator.trainable_variables,
        )
        _apply(
            self.discriminator_optimizer,
            discriminator_tape,
            discriminator_scaled,
            self.discriminator.trainable_variables,
        )
        # The boundary between real and fake: a logit of 0, or halfway between LSGAN's 0 and 1.
        boundary = 0.5 if self.generator_loss is losses.lsgan_generator_loss else 0.0
        return {
            "total": total,
            "content": content,
            "style": style,
            "tv": tv,
            "adversarial": adversarial,
            "discriminator": discriminator_total,
            "real_accuracy": tf.reduce_mean(tf.cast(real > boundary, "float32")),
            "fake_accuracy": tf.reduce_mean(tf.cast(fake <= boundary, "float32")),
        }


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
    ):
        """
        Args:
            generator: noise [B, N] -> pictures [B, H, W, C] in [0, 1].
            discriminator: pictures -> scores before any sigmoid, any shape.
            generator_optimizer, discriminator_optimizer: built on their network's variables.
        """
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
            discriminator_loss = losses.bce_discriminator_loss(real=real, fake=fake)
            generator_scaled = self.generator_optimizer.scale_loss(generator_loss)
            discriminator_scaled = self.discriminator_optimizer.scale_loss(discriminator_loss)
        _apply(
            self.generator_optimizer,
            generator_tape,
            generator_scaled,
            self.generator.trainable_variables,
        )
        _apply(
            self.discriminator_optimizer,
            discriminator_tape,
            discriminator_scaled,
            self.discriminator.trainable_variables,
        )
        return {
            "generator": generator_loss,
            "discriminator": discriminator_loss,
            "real_accuracy": tf.reduce_mean(tf.cast(real > 0.0, "float32")),
            "fake_accuracy": tf.reduce_mean(tf.cast(fake <= 0.0, "float32")),
        }
