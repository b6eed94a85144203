"""A generator of pictures out of noise, and its discriminator."""

import keras
import tensorflow as tf

from tfstyle import losses
from tfstyle.training.steps.base import accuracies, apply_both, networks_of


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
    ) -> None:
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

    @tf.function(autograph=False)
    def __call__(self, pictures: tf.Tensor | None, noise: tf.Tensor) -> dict[str, tf.Tensor]:
        """`update`, compiled."""
        return self.update(pictures, noise)

    def update(self, pictures: tf.Tensor | None, noise: tf.Tensor) -> dict[str, tf.Tensor]:
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
        apply_both(self, generator_tape, generator_scaled, discriminator_tape, discriminator_scaled)
        return {
            "generator": generator_loss,
            "discriminator": discriminator_loss,
            **accuracies(real, fake),
        }

    @property
    def weights(self) -> dict[str, float]:
        """{name of a loss of the generator: its weight}."""
        return {"generator": 1.0}

    @property
    def state(self) -> dict:
        """What a checkpoint holds, by name."""
        return networks_of(self)

    def terms(
        self, pictures: tf.Tensor | None, noise: tf.Tensor, *, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """The generator's loss of a batch, as `update` takes it; updates nothing."""
        generated = self.generator(noise, training=training)
        fake = self.discriminator(generated, training=training)
        return {"generator": losses.bce_generator_loss(fake=fake)}
