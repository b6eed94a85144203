"""A GAN that writes digits: noise in, 28x28 digits out, after VGG16 and DCGAN.

    tfds build mnist && make train PIPELINE=dcgan_mnist
    make train PIPELINE=dcgan_mnist ARGS='--data=FOLDER'      # with the four files of MNIST
    python -m pipelines.dcgan_mnist --data=FOLDER --schedule=document

Radford et al. 2015 (https://arxiv.org/abs/1511.06434). Generator and discriminator are convolutions
in the blocks of VGG16; both minimise cross-entropy with Adam. A small classifier, trained here on
the real digits, then tells how many generated ones are surely a digit (probability 0.9 or more).
"""

import json
import math
import os
import pathlib
from collections.abc import Callable
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tfstyle import cli, export, images, steps, training
from tfstyle.data import digit_batches, noise_batches, read_digits
from tfstyle.networks import mnist

JUDGED = 1000


def train(
    *,
    data: str = "tfds:mnist",
    name: str = "digits",
    width: int = 16,
    discriminator_width: int = 16,
    batch_size: int = 64,
    schedule: Literal["cosine", "document"] = "cosine",
    learning_rate: float | None = None,
    ema_decay: float = 0.99,
    options: training.Options = training.Options(steps=2500),  # noqa: B008 (frozen)
):
    """Trains, judges and shows a generator of digits.

    Args:
        data: folder with the four gzipped idx files of MNIST, or tfds:NAME, prepared before by
            `tfds build NAME`.
        name: of the run.
        width: channels of the generator at full size.
        discriminator_width: channels of the discriminator at full size.
        batch_size: real and generated digits in a step, each, over all devices.
        schedule: "document" halves the rate after every epoch; "cosine" leads down to a twentieth.
        learning_rate: of both Adams at its highest; none for 1e-3 (cosine) or 2e-4 (document).
        ema_decay: of the average of the weights that is judged and kept; 0 for the last weights.
        options: see training.Options.
    """
    settings = {key: value for key, value in locals().items() if key != "options"}
    strategy = training.prepare(options)

    # Data
    export.check_name(name)
    run = training.open_run(name, options, settings)
    digits = read_digits(data)

    def batches(skip):
        shape = {"batch_size": batch_size, "skip": skip}
        real = digit_batches(digits.train, seed=options.seed, **shape)
        noise = noise_batches(mnist.NOISE_SIZE, seed=options.seed, **shape)
        return tf.data.Dataset.zip(real, noise), []

    # Networks
    if learning_rate is None:
        learning_rate = {"cosine": 1e-3, "document": 2e-4}[schedule]
    if schedule == "document":
        epoch = math.ceil(len(digits.train) / batch_size)
        rate = keras.optimizers.schedules.ExponentialDecay(
            learning_rate, epoch, 0.5, staircase=True
        )
    else:
        rate = training.cosine_schedule(learning_rate, options.steps)
    with strategy.scope():
        generator = mnist.digit_generator(width=width)
        discriminator = mnist.digit_discriminator(width=discriminator_width)
        generator_optimizer = training.adam(rate, generator.trainable_variables, beta_1=0.5)
        discriminator_optimizer = training.adam(rate, discriminator.trainable_variables, beta_1=0.5)
        ema = training.Ema(generator, ema_decay) if ema_decay else None

    # Losses
    step = steps.NoiseGanStep(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
    )

    # Train
    result = ema.model if ema else generator
    # Another seed than the training's, and the same noise each time: the pictures can be compared.
    (noise,) = noise_batches(mnist.NOISE_SIZE, batch_size=JUDGED, seed=options.seed + 1).take(1)

    def sample():
        return mnist.tiled(result(noise[:100]))

    def show(progress):
        if progress.step % options.sample_every == 0:
            (run.folder / "samples").mkdir(exist_ok=True)
            images.write(run.folder / f"samples/{progress.step:06d}.png", sample())

    training.fit(
        step.update,
        batches=batches,
        state={
            "generator": generator,
            "discriminator": discriminator,
            "generator_optimizer": generator_optimizer,
            "discriminator_optimizer": discriminator_optimizer,
        },
        run=run,
        options=options,
        strategy=strategy,
        ema=ema,
        sample=sample,
        callback=show,
    )

    # Judge
    classifier_file = run.folder / "classifier.keras"
    if options.resume and classifier_file.exists():
        classifier = keras.models.load_model(classifier_file)
    else:
        keras.utils.set_random_seed(options.seed)
        classifier = mnist.digit_classifier()
        classifier.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
        classifier.fit(images.from_uint8(digits.train), digits.train_labels, 128, verbose=0)
        save(classifier.save, classifier_file)
    of_real = classifier.predict(images.from_uint8(digits.test), 500, verbose=0)
    of_generated = mnist.recognised(classifier.predict(result(noise).numpy(), 500, verbose=0))
    figures = {
        "count": JUDGED,
        **of_generated._asdict(),
        "share_of_real_digits": mnist.recognised(of_real).share,
        "classifier_accuracy": float(np.mean(of_real.argmax(axis=1) == digits.test_labels)),
    }

    # Export: `export` is for networks from image to image, so the generator is kept as Keras does.
    generator_file = save(result.save, run.folder / "generator.keras")
    text = json.dumps(figures, indent=2) + "\n"
    figures_file = save(lambda path: path.write_text(text), run.folder / "figures.json")
    picture = run.folder / "result.png"
    images.write(picture, sample())
    print(
        f"Digits      {of_generated.share:.1%} of {JUDGED} are surely a digit "
        f"({figures['share_of_real_digits']:.1%} of the real ones); {of_generated.classes} of 10 "
        f"classes occur\n"
        f"Classifier  {figures['classifier_accuracy']:.2%} of the test digits right\n"
        f"Generator   {generator_file}\nFigures     {figures_file}\nPicture     {picture}"
    )


def save(write: Callable[[pathlib.Path], object], path: pathlib.Path) -> pathlib.Path:
    """Lets `write` write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    write(temporary)
    os.replace(temporary, path)
    return path


if __name__ == "__main__":
    cli.run(train)
