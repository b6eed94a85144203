"""GAN style transfer: a U-Net learns a manner of painting from many paintings, unpaired.

    make train PIPELINE=gan STYLE=paintings/ CONTENT=photos/
    python -m pipelines.gan --style=paintings/ --content=photos/ --evaluate_on=held_out/ \\
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

import pathlib
from typing import Literal

import tensorflow as tf

from tfstyle import cli, data, export, features, images, losses, metrics, stylize, training
from tfstyle.data import drawn, samples
from tfstyle.explain import health
from tfstyle.images import sheets
from tfstyle.networks import discriminators, generators
from tfstyle.training import image_pool, steps

SCALE = (1.5, 2.0)


def train(
    *,
    style: str = "swirls",
    content: str = "",
    name: str = "",
    title: str = "",
    licence: str = "",
    photos: str = "",
    initial: str = "",
    width: int = 24,
    residual_blocks: int = 6,
    norm: Literal["instance", "batch"] = "instance",
    dropout: float = 0.0,
    padding: Literal["reflect", "zero"] = "reflect",
    noise_dim: int = 8,
    discriminator_width: int = 48,
    discriminator_norm: Literal["instance", "batch", "spectral", "none"] = "spectral",
    crop_size: int = 128,
    batch_size: int = 2,
    d_steps: int = 1,
    pool_size: int = 50,
    warmup_steps: int = 0,
    adversarial: Literal["bce", "lsgan", "hinge"] = "lsgan",
    content_layers: str = losses.CONTENT_LAYER,
    content_weight: float = 1.0,
    style_weight: float = 20.0,
    tv_weight: float = 0.0,
    checkerboard_weight: float = 0.0,
    adversarial_weight: float = 5.0,
    identity_weight: float = 5.0,
    color_weight: float = 60.0,
    learning_rate: float = 5e-4,
    discriminator_learning_rate: float = 5e-4,
    clip_norm: float = 5.0,
    ema_decay: float = 0.995,
    evaluate_on: str = "",
    style_held_out: str = "",
    explain: bool = False,
    strict_data: bool = False,
    saved_models: str = "saved_models",
    options: training.Options = training.Options(steps=700),  # noqa: B008 (frozen)
):
    """Trains, exports and shows one manner of painting.

    Args:
        style: folder of paintings (several: separate by commas), tfds:NAME:SPLIT, or the name of a
            style that tfstyle draws (swirls, mosaic, woodcut).
        content: folder of photos (several: separate by commas), or tfds:NAME:SPLIT; the bundled
            photos where empty.
        name: of the run and the exported model; the style's name where empty.
        title: of the style, for the model card.
        licence: of the model, for its card.
        photos: what the photos are and where they are from, for the model card.
        initial: folder of a run (runs/NAME, or runs/NAME/best) whose generator's weights to start
            from, to go on with other weights of the losses, or to learn another style
            sooner.
        width: channels of the generator at full size.
        residual_blocks: of the generator, at an eighth of the size.
        norm: normalisation in the generator.
        dropout: share of values dropped in the generator's bottleneck and decoder.
        padding: of the generator's convolutions.
        noise_dim: numbers of noise that the generator takes beside the photo; 0 for none. The
            exported model has them at 0.
        discriminator_width: channels of the discriminator's first layer.
        discriminator_norm: normalisation in the discriminator; "spectral" is of its kernels.
        crop_size: side of the training crops, in pixels.
        batch_size: crops of each kind in an update, over all devices.
        d_steps: updates of the discriminator to one of the generator, each on a batch of its own.
        pool_size: past stylized photos that the discriminator is shown among the new ones; 0 for
            new ones alone.
        warmup_steps: steps at the start in which the generator learns the content loss alone, which
            may leave dark spots: see docs/models.md.
        adversarial: pair of adversarial losses.
        content_layers: VGG16 layers of the content loss, separated by commas; shallower ones keep
            finer detail of the photo.
        content_weight: of the content loss; more keeps more of the photo.
        style_weight: of the Gram style loss; more gives more of the paintings.
        tv_weight: of total variation; more is smoother.
        checkerboard_weight: of patterns of the periods of up-sampling; 0 to not compute them. Crops
            must be of 128 pixels or more.
        adversarial_weight: of the adversarial loss.
        identity_weight: of the identity loss: paintings are to stay as they are.
        color_weight: of the colour loss; more keeps more of the photo's colours.
        learning_rate: of the generator's Adam at its highest; a cosine leads down from there.
        discriminator_learning_rate: of the discriminator's Adam at its highest.
        clip_norm: bound on the norm of each network's gradient.
        ema_decay: of the average of the weights that is exported; 0 for the last weights.
        evaluate_on: photos (files or folders, separated by commas) that are kept out of training
            and give the figures on the model card.
        style_held_out: paintings (as evaluate_on) that are kept out of training, for --explain to
            see whether the discriminator learns the others by heart.
        explain: note every fiftieth part of the training how healthy it is (runs/NAME/health.jsonl
            and TensorBoard), and end with a report of faults and remedies, health.html.
        strict_data: stop at the first unreadable image.
        saved_models: folder to export to.
        options: see training.Options.
    """
    settings = {key: value for key, value in locals().items() if key not in ("options", "explain")}
    if explain:
        health.require()
    strategy = training.prepare(options)

    # Data
    name = name or pathlib.Path(style).stem
    export.check_name(name)
    held_out = data.list_files(evaluate_on)
    unseen = data.list_files(style_held_out)
    run = training.open_run(name, options, settings)
    if style in drawn.STYLES:
        paintings = drawn.write_styles(run.folder / "style", style)
    else:
        paintings = style

    def batches(skip):
        shape = {
            "batch_size": d_steps * batch_size,
            "skip": skip,
            "shard": training.shard(strategy),
        }
        # Parts of pictures, so that strokes are learnt as large as in pictures of twice the crop.
        crops = {"crop_size": crop_size, "scale": SCALE, "strict": strict_data, **shape}
        of_content, content_report = data.image_batches(
            content or samples.photo_paths(), seed=options.seed, exclude=held_out, **crops
        )
        of_style, style_report = data.image_batches(
            paintings, seed=options.seed + 1, exclude=unseen, **crops
        )
        parts = [of_content, of_style]
        if noise_dim:
            parts.append(data.noise_batches(noise_dim, seed=options.seed, **shape))
        return tf.data.Dataset.zip(*parts), [content_report, style_report]

    # Networks
    with strategy.scope():
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
        if initial:
            training.start_from(generator, initial)
        extractor = features.vgg16(
            (*losses.STYLE_LAYERS, *content_layers.split(",")), dtype=options.precision
        )
        content_extractor = features.vgg16(content_layers.split(","), dtype=options.precision)
        generator_optimizer = training.adam(
            training.cosine_schedule(learning_rate, options.steps),
            generator.trainable_variables,
            clip_norm=clip_norm,
            beta_1=0.5,
        )
        discriminator_optimizer = training.adam(
            training.cosine_schedule(discriminator_learning_rate, options.steps),
            discriminator.trainable_variables,
            clip_norm=clip_norm,
            beta_1=0.5,
        )
        ema = training.Ema(generator, ema_decay) if ema_decay else None
        pool = (
            image_pool.ImagePool(pool_size, (crop_size, crop_size), seed=options.seed)
            if pool_size
            else None
        )

    # Losses
    step = steps.GanStep(
        generator=generator,
        discriminator=discriminator,
        extractor=extractor,
        content_extractor=content_extractor,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        adversarial=adversarial,
        content_layers=content_layers.split(","),
        style_layers=losses.STYLE_LAYERS,
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
        adversarial_weight=adversarial_weight,
        identity_weight=identity_weight,
        color_weight=color_weight,
        checkerboard_weight=checkerboard_weight,
        d_steps=d_steps,
        warmup_steps=warmup_steps,
        pool=pool,
    )

    # Train
    network = ema.model if ema else generator
    result = generators.at_zero_noise(network) if noise_dim else network
    stylizer = stylize.Stylizer.load(result)
    photo_files = held_out or samples.photo_paths()
    # Of a dataset there are no files to judge by.
    dataset = any(prefix in str(paintings) for prefix in ("tfds:", "records:"))
    painting_files = [] if dataset else data.list_files(paintings)
    monitor = None
    if explain and training.is_chief(strategy):
        looked_at = {"crop_size": crop_size, "seed": options.seed, "scale": SCALE}
        batch = [
            data.crops(content or samples.photo_paths(), 8, exclude=held_out, **looked_at),
            data.crops(paintings, 8, exclude=unseen, **looked_at),
        ]
        if noise_dim:
            batch.append(next(iter(data.noise_batches(noise_dim, batch_size=8, seed=0))))
        batch = [tf.constant(part) for part in batch]
        monitor = health.Monitor(
            folder=run.folder,
            every=health.looks(options),
            generator=generator,
            inputs=[batch[0], batch[2]] if noise_dim else batch[0],
            real=data.crops(paintings, 32, exclude=unseen, **looked_at),
            terms=lambda: step.terms(*batch),
            weights=step.weights,
            discriminator=discriminator,
            boundary=0.5 if adversarial == "lsgan" else 0.0,
            held_out=data.crops(unseen, 32, **looked_at) if unseen else None,
        )
    judge = metrics.Validator(photos=photo_files, paintings=painting_files, size=256)
    shown = samples.crops(crop_size)
    final_losses = training.fit(
        step.update,
        batches=batches,
        state={
            "generator": generator,
            "discriminator": discriminator,
            "generator_optimizer": generator_optimizer,
            "discriminator_optimizer": discriminator_optimizer,
            **({"pool": pool} if pool else {}),
        },
        run=run,
        options=options,
        strategy=strategy,
        ema=ema,
        sample=lambda: sheets.sample_grid(result, shown),
        callback=monitor,
        weights=step.weights,
        validate=lambda: judge(stylizer),
    )
    if not training.is_chief(strategy):
        return
    if monitor:
        health.write_report(run.folder, name=name, after=warmup_steps)

    # Export
    exported = export.export(
        result,
        name,
        directory=saved_models,
        card={
            "description": "GAN style transfer: a manner learnt from many paintings.",
            "style": title or name,
            **training.card("pipelines.gan", settings, options, final_losses),
            "figures": {
                "photos": "kept out of training" if held_out else "bundled",
                "count": len(photo_files),
                **judge(stylizer),
                "untouched": judge(lambda photo: photo),
            },
            **({"limits": ["the noise of the training is held at 0"]} if noise_dim else {}),
        },
    )
    picture = run.folder / "result.jpg"
    pictured = [images.fit(images.read(path), 512) for path in photo_files[:6]]
    rows = [[photo, stylizer(photo)] for photo in pictured]
    if noise_dim:
        # The same photos with other noise.
        (noise,) = data.noise_batches(noise_dim, batch_size=2, seed=options.seed + 1).take(1)
        for row in rows:
            photo = tf.constant(row[0][None])
            row += [network([photo, z[None]])[0].numpy() for z in noise]
    images.write(picture, sheets.grid(rows))
    export.announce(exported, picture)


if __name__ == "__main__":
    cli.run(train)
