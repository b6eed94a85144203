"""GAN style transfer: a U-Net learns a manner of painting from many paintings, unpaired.

    make train PIPELINE=gan STYLE=paintings/ CONTENT=photos/
    tfstyle train gan --style=paintings/ --content=photos/ --evaluate_on=held_out/ \\
        --precision=mixed_bfloat16 --name=van_gogh

The discriminator (PatchGAN, Isola et al. 2017, https://arxiv.org/abs/1611.07004) tells patches of
real paintings from patches of stylized photos, past ones among them (Zhu et al. 2017,
https://arxiv.org/abs/1703.10593); the generator is paid for fooling it, for the paintings' Gram
matrices, for keeping the photo's VGG16 content features and its colours, and for leaving paintings
as they are. Without --style and --content it runs on the bundled photos and on drawn paintings, to
show that it runs.

The shipped `vangogh_gan` learnt so from 161 paintings by van Gogh and 270 photos, in 1500 steps of
two crops of 160 pixels, --noise_dim=0 --identity_weight=0 --style_weight=12
--checkerboard_weight=0.05: 29 minutes on two cores with bfloat16 in hardware and much other work.
On ten photos kept out, at 256 px, vgg16_kid to all the paintings is 0.77, of the untouched photos
1.50; content distance 0.67. Edges and texture become short strokes, colours ochre and teal. Where a
photo is dark and flat some clouds of colour appear that are not in it. Noise changes values by
about 0.005 where it is taken: nothing asks the generator to heed it (Isola et al., section 3.1).
docs/systems/gan.jpg shows it.
"""

from typing import Literal

import tensorflow as tf

from tfstyle import cli, data, export, features, images, losses, metrics, stylize, training
from tfstyle.data import drawn, samples
from tfstyle.explain import health
from tfstyle.images import sheets
from tfstyle.networks import discriminators, generators
from tfstyle.training import image_pool, steps

# Parts of pictures, so that strokes are learnt as large as in pictures of twice the crop.
SCALE = (1.5, 2.0)
# Side at which figures and the picture are made, in pixels: the discriminator knows no larger.
JUDGED_SIZE = 256


def train(
    *,
    style: str = "swirls",
    style_held_out: str = "",
    width: int = 24,
    residual_blocks: int = 6,
    norm: Literal["instance", "batch"] = "instance",
    dropout: float = 0.0,
    padding: Literal["reflect", "zero"] = "reflect",
    noise_dim: int = 8,
    discriminator_width: int = 48,
    discriminator_norm: Literal["instance", "batch", "spectral", "none"] = "spectral",
    initial: str = "",
    adversarial: Literal["bce", "lsgan", "hinge"] = "lsgan",
    d_steps: int = 1,
    pool_size: int = 50,
    warmup_steps: int = 0,
    discriminator_learning_rate: float = 5e-4,
    photos: data.Photos = data.Photos(crop_size=128, batch_size=2),  # noqa: B008 (frozen)
    weights: losses.GanWeights = losses.GanWeights(style_weight=20.0),  # noqa: B008
    optim: training.Optim = training.Optim(learning_rate=5e-4),  # noqa: B008
    release: export.Release = export.Release(),  # noqa: B008
    options: training.Options = training.Options(steps=700),  # noqa: B008
):
    """Trains, exports and shows one manner of painting.

    Args:
        style: folder of paintings (several: separate by commas), tfds:NAME:SPLIT, records:FOLDER,
            or the name of a style that tfstyle draws (swirls, mosaic, woodcut).
        style_held_out: paintings (files or folders, separated by commas) that are kept out of
            training, for --explain to see whether the discriminator learns the others by heart.
        width: channels of the generator at full size.
        residual_blocks: of the generator, at an eighth of the size.
        norm: normalisation in the generator.
        dropout: share of values dropped in the generator's bottleneck and decoder.
        padding: of the generator's convolutions.
        noise_dim: numbers of noise that the generator takes beside the photo; 0 for none. The
            exported model has them at 0.
        discriminator_width: channels of the discriminator's first layer.
        discriminator_norm: normalisation in the discriminator; "spectral" is of its kernels.
        initial: folder of a run (runs/NAME, or runs/NAME/best) whose generator's weights to start
            from, to go on with other weights of the losses, or to learn another style sooner.
        adversarial: pair of adversarial losses.
        d_steps: updates of the discriminator to one of the generator, each on a batch of its own.
        pool_size: past stylized photos that the discriminator is shown among the new ones; 0 for
            new ones alone.
        warmup_steps: steps at the start in which the generator learns the content loss alone, which
            may leave dark spots: see docs/models.md.
        discriminator_learning_rate: of the discriminator's Adam at its highest.
        photos: see data.Photos; batch_size is that of crops of each kind.
        optim: see training.Optim; the learning rate is the generator's.
    """
    run = training.open_run(train, locals(), name=f"gan_{data.name_of(style)}")

    # Data
    unseen, judged = data.list_files(style_held_out), photos.judged
    paintings = style
    if style in drawn.STYLES:
        paintings = str(drawn.write_styles(run.folder / "style", style))
    crops_of = {"crop_size": photos.crop_size, "scale": SCALE}

    def batches(*, seed, **place):
        of_content, reports = photos.batches(seed=seed, times=d_steps, scale=SCALE, **place)
        place["batch_size"] = d_steps * photos.batch_size
        of_style, report = data.image_batches(
            paintings,
            seed=seed + 1,
            exclude=unseen,
            strict=photos.strict_data,
            **crops_of,
            **place,
        )
        parts = [of_content, of_style]
        if noise_dim:
            parts.append(data.noise_batches(noise_dim, seed=seed, **place))
        return tf.data.Dataset.zip(*parts), [*reports, report]

    # Networks
    with run.scope():
        generator = generators.unet_generator(
            width=width,
            residual_blocks=residual_blocks,
            norm=norm,
            dropout=dropout,
            padding=padding,
            noise_dim=noise_dim,
        )
        discriminator = discriminators.patch_discriminator(
            width=discriminator_width, norm=discriminator_norm
        )
        run.start_from(generator, initial)
        vgg = features.Perceptual(weights.content_layers, dtype=options.precision)
        generator_optimizer = optim.adam(generator, options.steps, beta_1=0.5)
        discriminator_optimizer = optim.adam(
            discriminator,
            max(1, options.steps - warmup_steps),
            learning_rate=discriminator_learning_rate,
            beta_1=0.5,
        )
        ema = optim.average(generator)
        pool = image_pool.ImagePool(pool_size, (photos.crop_size,) * 2, seed=options.seed)
    result = generators.at_zero_noise(ema.model) if noise_dim else ema.model
    stylizer = stylize.Stylizer.load(result)

    # Losses
    step = steps.GanStep(
        generator=generator,
        discriminator=discriminator,
        **vgg.networks,
        style_layers=losses.STYLE_LAYERS,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        adversarial=adversarial,
        d_steps=d_steps,
        warmup_steps=warmup_steps,
        pool=pool if pool_size else None,
        **weights.numbers,
    )
    judge = metrics.Validator(
        photos=judged,
        paintings=data.pictures_of(paintings, size=JUDGED_SIZE, exclude=unseen),
        size=JUDGED_SIZE,
    )

    # Train
    def look():
        seen = {"seed": options.seed, **crops_of}
        batch = [photos.crops(8, seed=options.seed, scale=SCALE)]
        batch.append(data.crops(paintings, 8, exclude=unseen, **seen))
        if noise_dim:
            batch.append(next(iter(data.noise_batches(noise_dim, batch_size=8, seed=0))))
        batch = [tf.constant(part) for part in batch]
        return {
            "batch": batch,
            "inputs": [batch[0], batch[2]] if noise_dim else batch[0],
            "real": data.crops(paintings, 32, exclude=unseen, **seen),
            "boundary": 0.5 if adversarial == "lsgan" else 0.0,
            "held_out": data.crops(unseen, 32, **seen) if unseen else None,
        }

    shown = samples.crops(photos.crop_size)
    run.fit(
        step,
        batches,
        ema=ema,
        validate=lambda: judge(stylizer),
        sample=lambda: sheets.sample_grid(result, shown),
        callbacks=[health.watch(run, step, look, after=warmup_steps)],
    )
    if not run.chief:
        return

    # Export
    rows = [[images.fit(images.read(path), 2 * JUDGED_SIZE)] for path in judged[:6]]
    for row in rows:
        row.append(stylizer(row[0]))
    if noise_dim:
        # The same photos with other noise.
        (noise,) = data.noise_batches(noise_dim, batch_size=2, seed=options.seed + 1).take(1)
        for row in rows:
            row += [ema.model([row[0][None], one[None]])[0].numpy() for one in noise]
    release.write(
        result,
        run,
        description="GAN style transfer: a manner learnt from many paintings.",
        style=data.name_of(style),
        limits=["the noise of the training is held at 0"] if noise_dim else [],
        figures={
            "photos": photos.told,
            "count": len(judged),
            **judge(stylizer),
            "untouched": judge(lambda photo: photo),
        },
        picture=sheets.grid(rows),
    )


if __name__ == "__main__":
    cli.run(train)
