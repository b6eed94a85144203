"""A network that learns CLAHE, contrast-limited adaptive histogram equalisation, from photos.

    make train PIPELINE=clahe                             # bundled photos
    make train PIPELINE=clahe CONTENT=photos/ STEPS=2000 ARGS='--evaluate_on=others/'
    tfstyle train clahe --losses=mixed --style=painting.jpg --content=photos/ --name=mixed

The target is OpenCV's CLAHE (Zuiderveld 1994, see `images.contrast`) of the lightness L of CIE Lab,
8x8 tiles, clip limit 2, of each training crop as it is given: the tiles are those of the crop, not
of the photo that it was cut from. The network predicts a curve for each tile from its histogram,
and is built to apply curves as CLAHE does; how a histogram becomes a curve is what it learns.
--losses=mixed or gatys trains a style network by a preset of content, style and total variation
instead, on a style image: `losses.PRESETS`. Give these --batch_size=1 on two cores.

Measured: without arguments, in 1.3 minutes of processor time, the PSNR to CLAHE of two photos kept
out is 12.2 dB above that of the untouched photos. docs/systems.md has more.
"""

import dataclasses
import functools
from typing import Literal

import tensorflow as tf

from tfstyle import cli, data, export, features, images, metrics, stylize, training
from tfstyle.data import drawn, paintings, samples
from tfstyle.errors import ArgumentError
from tfstyle.explain import health
from tfstyle.images import contrast, sheets
from tfstyle.losses import CONTENT_LAYER, PRESETS
from tfstyle.networks import clahe, generators
from tfstyle.training import steps


def train(
    *,
    losses: Literal["pixels", "mixed", "gatys"] = "pixels",
    style: str = "",
    style_size: int = 384,
    photos: data.Photos = data.Photos(crop_size=256, batch_size=4, spared=2),  # noqa: B008 (frozen)
    optim: training.Optim = training.Optim(ema_decay=0.99),  # noqa: B008
    release: export.Release = export.Release(),  # noqa: B008
    options: training.Options = training.Options(steps=600),  # noqa: B008
):
    """Trains, judges, exports and shows a network that enhances contrast.

    Args:
        losses: "pixels" is the squared difference from CLAHE; "mixed" and "gatys" are presets of
            content, style and total variation, with a style image in place of CLAHE.
        style: of the presets: image file, or the name of a style that tfstyle draws (swirls,
            mosaic, woodcut); swirls where empty.
        style_size: longest side of the style image, in pixels.
        photos: see data.Photos; without evaluate_on, two of the bundled photos are kept out.
    """
    run = training.open_run(train, locals(), name="clahe")
    release.check(run)
    preset = PRESETS.get(losses)
    if style and not preset:
        raise ArgumentError(f"style {style}: CLAHE has none. Give --losses=mixed or gatys with it")

    # Data
    held_out = photos.held_out
    style = style or drawn.STYLES[0]
    painting = paintings.read(style, style_size) if preset else None

    def batches(**place):
        dataset, reports = photos.batches(**place)
        if not preset:
            parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
            dataset = dataset.map(contrast.with_target, **parallel).prefetch(tf.data.AUTOTUNE)
        return dataset, reports

    # Networks
    with run.scope():
        generator = generators.fast_generator() if preset else clahe.curve_generator()
        vgg = features.Perceptual(CONTENT_LAYER, dtype=options.precision) if preset else None
        optimizer, ema = optim.adam(generator, options.steps), optim.average(generator)
    stylizer = stylize.Stylizer.load(ema.model)

    # Losses, and what judges
    if preset:
        step = steps.PerceptualStep(
            generator=generator,
            **vgg.networks,
            style_grams=vgg.grams([painting]),
            optimizer=optimizer,
            **dataclasses.asdict(preset),
        )
        of_style = metrics.Validator(photos=held_out, paintings=[painting])
    else:
        step = steps.TargetStep(generator=generator, optimizer=optimizer)

    def validate():
        if preset:
            return of_style(stylizer)
        figures = metrics.evaluate_target(stylizer, held_out, contrast.equalize)
        return {key: figures[key] for key in ("error", "psnr", "psnr_gain")}

    # Train
    def look():
        crops = photos.crops(8)
        batch = (crops,) if preset else contrast.with_target(crops)
        return {"batch": batch, "inputs": crops, "real": crops}

    run.fit(
        step,
        batches,
        ema=ema,
        validate=validate,
        sample=functools.partial(sheets.sample_grid, ema.model, samples.crops(photos.crop_size)),
        callbacks=[health.watch(run, step, look)],
    )
    if not run.chief:
        return

    # Export
    figures = metrics.evaluate_target(stylizer, held_out, contrast.equalize)
    if preset:
        figures |= of_style(stylizer)
        judged = ("relative_style_distance", "content_distance", "checkerboard")
    else:
        judged = ("psnr_untouched", "psnr", "psnr_gain", "least_psnr_gain")
    photo = images.fit(images.read(held_out[0]), figures["size"])
    wanted = painting if preset else contrast.equalize(photo)
    release.write(
        ema.model,
        run,
        description="One style, one pass." if preset else "Raises local contrast as CLAHE does.",
        style=data.name_of(style) if preset else "CLAHE",
        figures={"photos": photos.told, **figures},
        picture=sheets.compare(photo, wanted, stylizer(photo)),
    )
    print(f"{figures['count']} photos that are {photos.told}")
    for key in judged:
        if key in figures:  # small photos have no checkerboard
            print(f"{key:<25}{figures[key]:.3f}")
    print(metrics.contrast_table(figures))


if __name__ == "__main__":
    cli.run(train)
