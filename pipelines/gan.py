"""GAN style transfer: a U-Net learns a manner of painting from many paintings, unpaired.

    make train PIPELINE=gan STYLE=paintings/ CONTENT=photos/
    tfstyle train gan --style=paintings/ --content=photos/ --evaluate_on=held_out/ \\
        --precision=mixed_bfloat16 --name=van_gogh

The discriminator (PatchGAN, Isola et al. 2017, https://arxiv.org/abs/1611.07004) tells patches of
real paintings from patches of stylized photos, past ones among them (Zhu et al. 2017,
https://arxiv.org/abs/1703.10593); the generator is paid for fooling it, for the paintings' Gram
matrices, for keeping the photo's VGG16 content features and its colours, and for leaving paintings
as they are. Without --style and --content: bundled photos and drawn paintings, as a trial.

`--generator=fast --discriminator=projected --match=nearest --style_loss=wasserstein` made the
shipped `vangogh_gan`: docs/models.md has its command, its figures and what each of these brought.
"""

from typing import Literal

import tensorflow as tf

from tfstyle import cli, data, export, features, images, losses, metrics, stylize, training
from tfstyle.data import drawn, samples
from tfstyle.errors import ArgumentError
from tfstyle.explain import health
from tfstyle.images import sheets
from tfstyle.networks import discriminators, generators
from tfstyle.training import image_pool, steps

# Parts of pictures, so that strokes are learnt as large as in pictures of twice the crop.
SCALE = (1.5, 2.0)
# What a projected discriminator looks at: strokes and what they make, not things.
PROJECTED = ("block2_conv1", "block3_conv1", "block4_conv1")
# Side at which figures and the picture are made, in pixels: the discriminator knows no larger.
JUDGED_SIZE = 256


def train(
    *,
    style: str = "swirls",
    style_held_out: str = "",
    initial: str = "",
    network: generators.GanGenerator = generators.GanGenerator(),  # noqa: B008 (frozen, as all of these)
    style_size: int = 384,
    match: Literal["batch", "nearest"] = "batch",
    discriminator: Literal["patch", "projected"] = "patch",
    discriminator_width: int = 48,
    discriminator_norm: Literal["instance", "batch", "spectral", "none"] = "spectral",
    adversarial: Literal["bce", "lsgan", "hinge"] = "lsgan",
    d_steps: int = 1,
    pool_size: int = 50,
    warmup_steps: int = 0,
    discriminator_learning_rate: float = 5e-4,
    photos: data.Photos = data.Photos(crop_size=128, batch_size=2),  # noqa: B008
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
        initial: folder of a run (runs/NAME, or runs/NAME/best) whose generator's weights to start
            from, to go on with other weights of the losses, or to learn another style sooner.
        style_size: longest side of the paintings where they are matched, in pixels.
        match: what the style loss compares with: "batch", the mean Gram matrix of the batch's
            paintings, or "nearest", the painting whose features are nearest to the photo's (a sky
            is then painted as skies are), by style_loss, style_depth and style_falloff.
        discriminator: "patch", trained from nothing; "projected" (Sauer et al. 2021), small heads
            on VGG16's features, which learn from fewer paintings and see more of forms.
        discriminator_width: channels of the discriminator's first layer, or of its heads.
        discriminator_norm: normalisation in a patch discriminator; "spectral" is of its kernels.
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
    if (match == "nearest") != (weights.style_loss == "wasserstein"):
        raise ArgumentError(
            f"match {match} and style_loss {weights.style_loss}: give nearest with wasserstein, "
            "batch with gram"
        )
    run = training.open_run(train, locals(), name=f"gan_{data.name_of(style)}")
    release.check(run)

    # Data
    unseen, judged = data.list_files(style_held_out), photos.judged
    paintings = style
    if style in drawn.STYLES:
        paintings = str(drawn.write_styles(run.folder / "style", style))
    crops_of = {"crop_size": photos.crop_size, "scale": SCALE}

    def batches(*, seed, **place):
        of_content, reports = photos.batches(seed=seed, times=d_steps, scale=SCALE, **place)
        place["batch_size"] = d_steps * photos.batch_size
        of_crops = {"exclude": unseen, "strict": photos.strict_data, **crops_of, **place}
        of_style, report = data.image_batches(paintings, seed=seed + 1, **of_crops)
        parts = [of_content, of_style]
        if network.takes_noise:
            parts.append(data.noise_batches(network.noise_dim, seed=seed, **place))
        return tf.data.Dataset.zip(*parts), [*reports, report]

    # Networks
    with run.scope():
        generator = network.build()
        run.start_from(generator, initial)
        vgg = features.Perceptual(weights.content_layers, dtype=options.precision)
        if discriminator == "patch":
            judges = discriminators.patch_discriminator(
                width=discriminator_width, norm=discriminator_norm
            )
        else:
            reals = data.crops(paintings, 16, exclude=unseen, seed=options.seed, **crops_of)
            judges = discriminators.projected_discriminator(
                vgg.extractor, vgg.scales(reals, PROJECTED), width=discriminator_width
            )
        rates = {"discriminator_rate": discriminator_learning_rate, "beta_1": 0.5}
        pace = {"waits": warmup_steps, "d_steps": d_steps}
        optimizers = optim.adams(generator, judges, options.steps, **rates, **pace)
        ema = optim.average(generator)
        pool = None
        if pool_size:
            pool = image_pool.ImagePool(pool_size, (photos.crop_size,) * 2, seed=options.seed)
    result = generators.at_zero_noise(ema.model) if network.takes_noise else ema.model
    stylizer = stylize.Stylizer.load(result)

    # Losses
    targets = None
    if match == "nearest":
        targets = vgg.targets(
            data.scaled_pictures(paintings, size=style_size, exclude=unseen),
            weights,
            photos=photos.crops(64, seed=options.seed, scale=SCALE),
        )
    step = steps.GanStep(
        generator=generator,
        discriminator=judges,
        **vgg.networks,
        layer_weights=weights.style_layers,
        **optimizers,
        adversarial=adversarial,
        d_steps=d_steps,
        warmup_steps=warmup_steps,
        pool=pool,
        heads=judges.get_layer(discriminators.HEADS) if discriminator == "projected" else None,
        targets=targets,
        saliency=weights.saliency,
        **weights.numbers,
        balance=run.balance(weights),
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
        if network.takes_noise:
            batch.append(next(iter(data.noise_batches(network.noise_dim, batch_size=8, seed=0))))
        batch = [tf.constant(part) for part in batch]
        return {
            "batch": batch,
            "inputs": [batch[0], batch[2]] if network.takes_noise else batch[0],
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
    if network.takes_noise:
        # The same photos with other noise.
        (noise,) = data.noise_batches(network.noise_dim, batch_size=2, seed=options.seed + 1).take(
            1
        )
        for row in rows:
            row += [ema.model([tf.constant(row[0][None]), one[None]])[0].numpy() for one in noise]
    release.write(
        result,
        run,
        description="GAN style transfer: a manner learnt from many paintings.",
        style=data.name_of(style),
        limits=["the noise of the training is held at 0"] if network.takes_noise else [],
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
