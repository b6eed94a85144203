"""A GAN that writes digits: noise in, 28x28 digits out, after VGG16 and DCGAN.

    tfds build mnist && make train PIPELINE=dcgan_mnist
    make train PIPELINE=dcgan_mnist ARGS='--data=FOLDER'      # with the four files of MNIST
    tfstyle train dcgan_mnist --data=FOLDER --schedule=document --steps=2814

Radford et al. 2015 (https://arxiv.org/abs/1511.06434). Generator and discriminator are convolutions
in the blocks of VGG16; both minimise cross-entropy with Adam. A judge, trained here first on the
real digits, tells how many generated ones are surely a digit (probability 0.9 or more).

Measured: after 6000 steps, 16.5 minutes of processor time, 89 % of 1000 digits are surely one (of
real ones 98 %), and all ten classes occur. docs/systems.md has more.
"""

import math
from typing import Literal

import tensorflow as tf

from tfstyle import cli, files, images, training
from tfstyle.data import blobs, digit_batches, noise_batches, read_digits, scrambled
from tfstyle.explain import health
from tfstyle.export import check_name
from tfstyle.images import sheets
from tfstyle.metrics import judges
from tfstyle.networks import digits
from tfstyle.training import steps

JUDGED = 1000


def train(
    *,
    data: str = "tfds:mnist",
    name: str = "",
    width: int = 16,
    discriminator_width: int = 16,
    batch_size: int = 64,
    schedule: Literal["cosine", "document"] = "cosine",
    learning_rate: float | None = None,
    real_label: float | None = None,
    ema_decay: float = 0.998,
    options: training.Options = training.Options(steps=6000),  # noqa: B008 (frozen)
):
    """Trains, judges and shows a generator of digits.

    Args:
        data: folder with the four gzipped idx files of MNIST, or tfds:NAME, prepared before by
            `tfds build NAME`.
        name: of the run; dcgan_mnist where empty.
        width: channels of the generator at full size.
        discriminator_width: channels of the discriminator at full size.
        batch_size: real and generated digits in a step, each, over all devices.
        schedule: "document" halves the rate after every epoch; "cosine" leads down to a twentieth.
        learning_rate: of both Adams at its highest; none for 1e-3 (cosine) or 2e-4 (document).
        real_label: the probability that the discriminator is to give real digits; none for 0.9
            (cosine), which keeps it from getting too sure, or 1 (document).
        ema_decay: of the average of the weights that is judged and kept; 0 for the last weights.
    """
    run = training.open_run(train, locals(), name="dcgan_mnist")
    check_name(run.name)

    # Data
    mnist = read_digits(data)

    def batches(**place):
        place["batch_size"] = batch_size
        real = digit_batches(mnist.train, **place)
        return tf.data.Dataset.zip(real, noise_batches(digits.NOISE_SIZE, **place)), []

    # Networks
    if schedule == "document":
        epoch = math.ceil(len(mnist.train) / batch_size)
        rate = training.halving_schedule(learning_rate or 2e-4, epoch)
    else:
        rate = training.cosine_schedule(learning_rate or 1e-3, options.steps)
    with run.scope():
        generator = digits.digit_generator(width=width)
        discriminator = digits.digit_discriminator(width=discriminator_width)
        generator_optimizer = training.adam(rate, generator.trainable_variables, beta_1=0.5)
        discriminator_optimizer = training.adam(rate, discriminator.trainable_variables, beta_1=0.5)
        ema = training.Ema(generator, ema_decay)

    # Losses
    step = steps.NoiseGanStep(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        real_label=real_label or {"cosine": 0.9, "document": 1.0}[schedule],
    )

    # Judge, on the same noise each time, of another seed than the training's
    judge = judges.judge_of(
        run.folder / "judge.keras",
        images.from_uint8(mnist.train),
        mnist.train_labels,
        seed=options.seed,
        keep=run.resumes,
        write=run.chief,
    )
    (noise,) = noise_batches(digits.NOISE_SIZE, batch_size=JUDGED, seed=options.seed + 1).take(1)

    def probabilities(pictures):
        return judge.predict(pictures, 500, verbose=0)

    def validate():
        found = judges.recognised(probabilities(ema.model(noise).numpy()))
        return {"unsure": 1 - found.share, "missing_classes": 10 - found.classes}

    # Train
    def sample():
        return sheets.tiled(ema.model(noise[:100]))

    def look():
        return {
            "batch": (None, noise[:64]),
            "inputs": noise[:64],
            "real": images.from_uint8(mnist.train[:256]),
            "held_out": images.from_uint8(mnist.test[:256]),
        }

    run.fit(
        step,
        batches,
        ema=ema,
        validate=validate,
        sample=sample,
        callbacks=[health.watch(run, step, look), run.keep_samples(sample)],
    )
    if not run.chief:
        return

    # Export: `export` is for networks from image to image, so the generator is kept as Keras does.
    test = images.from_uint8(mnist.test)
    unlike = {"scrambled_digits": scrambled(test), "blobs": blobs(JUDGED)}
    of_judge = judges.figures_of_judge(probabilities, test, mnist.test_labels, unlike)
    found = judges.recognised(probabilities(ema.model(noise).numpy()))
    figures = {"count": JUDGED, **found._asdict(), "judge": of_judge}
    generator_file = files.write_whole(run.folder / "generator.keras", ema.model.save)
    figures_file = files.write_json(run.folder / "figures.json", figures)
    images.write(run.folder / "result.png", sample())
    print(
        f"Digits      {found.share:.1%} of {JUDGED} are surely a digit; "
        f"{found.classes} of 10 classes occur\n"
        f"Judge       right on {of_judge['accuracy']:.2%} of the test digits, sure of "
        f"{of_judge['share_of_real_digits']:.1%}; of scrambled ones, sure of "
        f"{of_judge['share_of_scrambled_digits']:.1%}\n"
        f"Generator   {generator_file}\nFigures     {figures_file}\n"
        f"Picture     {run.folder / 'result.png'}"
    )


if __name__ == "__main__":
    cli.run(train)
