"""A network that learns CLAHE, contrast-limited adaptive histogram equalisation, from photos.

    make train PIPELINE=clahe                             # bundled photos
    make train PIPELINE=clahe CONTENT=photos/ STEPS=2000 ARGS='--evaluate_on=others/'
    python -m pipelines.clahe --losses=mixed --style=painting.jpg --content=photos/ --name=mixed

The target is OpenCV's CLAHE (Zuiderveld 1994, see `images.contrast`) of the lightness L of CIE Lab,
8x8 tiles, clip limit 2, of each training crop as it is given: the tiles are those of the crop, not
of the photo that it was cut from. The network predicts a curve for each tile from its histogram,
and is built to apply curves as CLAHE does; how a histogram becomes a curve is what it learns.

Measured: without arguments (600 steps on three bundled photos, 1.3 minutes of processor time) the
PSNR to CLAHE on the two that are kept out is 12.2 dB above that of the untouched photos.

2000 steps on 251 photos took 4.3 minutes of processor time (two cores, shared). On 29 photos kept
out, at 512 px, PSNR to CLAHE is 36.0 dB and that of the untouched photos 19.2: 16.8 more, and 9.0
at least. Mean local contrast, RMS of 16 px windows: photos 0.085, network 0.137, CLAHE 0.136. As
int8 TFLite (6288 weights, 0.03 MB) it has 35.9 dB.

--losses=mixed trains a style network by content, style and total variation with the weights (1,
100, 1e-6) instead, on a style image, and --losses=gatys one by the published losses of Gatys et
al.: `losses.PRESETS`. That is VGG16 at work: give them --batch_size=1 on two cores.
Trained by mixed for 150 steps of one 128 px crop on swirls, two photos kept out: relative style
distance 0.45, content distance 1.74.
docs/systems/clahe.jpg shows it.
"""

import dataclasses
import pathlib
from typing import Literal

import tensorflow as tf

from tfstyle import cli, data, export, features, files, images, metrics, stylize, training
from tfstyle.data import drawn, paintings, samples
from tfstyle.errors import ArgumentError
from tfstyle.explain import health
from tfstyle.images import contrast, sheets
from tfstyle.losses import CONTENT_LAYER, PRESETS, STYLE_LAYERS, gram
from tfstyle.networks import clahe, generators
from tfstyle.training import steps


def train(
    *,
    losses: Literal["pixels", "mixed", "gatys"] = "pixels",
    content: str = "",
    style: str = "",
    name: str = "clahe",
    licence: str = "",
    photos: str = "",
    crop_size: int = 256,
    batch_size: int = 4,
    style_size: int = 384,
    learning_rate: float = 3e-3,
    clip_norm: float = 5.0,
    ema_decay: float = 0.99,
    evaluate_on: str = "",
    explain: bool = False,
    strict_data: bool = False,
    saved_models: str = "saved_models",
    options: training.Options = training.Options(steps=600),  # noqa: B008 (frozen)
):
    """Trains, judges, exports and shows a network that enhances contrast.

    Args:
        losses: "pixels" is the squared difference from CLAHE; "mixed" and "gatys" are presets of
            content, style and total variation, with a style image in place of CLAHE.
        content: folder of photos (several: separate by commas), or tfds:NAME:SPLIT; the bundled
            photos where empty.
        style: of the presets: image file, or the name of a style that tfstyle draws (swirls,
            mosaic, woodcut); swirls where empty.
        name: of the run and the exported model.
        licence: of the model, for its card.
        photos: what the photos are and where they are from, for the model card.
        crop_size: side of the training crops, in pixels.
        batch_size: crops in a step, over all devices.
        style_size: longest side of the style image, in pixels.
        learning_rate: of Adam at its highest; a cosine leads down from there.
        clip_norm: bound on the norm of the gradient.
        ema_decay: of the average of the weights that is exported; 0 for the last weights.
        evaluate_on: photos (files or folders, separated by commas) that are kept out of training
            and give the figures; two bundled ones where empty.
        explain: note every fiftieth part of the training how healthy it is (runs/NAME/health.jsonl
            and TensorBoard), and end with a report of faults and remedies, health.html.
        strict_data: stop at the first unreadable image.
        saved_models: folder to export to.
        options: see training.Options.
    """
    settings = {key: value for key, value in locals().items() if key not in ("options", "explain")}
    if explain:
        health.require()
    preset = PRESETS.get(losses)
    if style and not preset:
        raise ArgumentError(f"style {style}: CLAHE has none. Give --losses=mixed or gatys with it")
    strategy = training.prepare(options)

    # Data
    export.check_name(name)
    held_out = data.list_files(evaluate_on or samples.photo_paths()[-2:])
    style = style or drawn.STYLES[0]
    painting = paintings.read(style, style_size) if preset else None

    def batches(skip):
        dataset, report = data.image_batches(
            content or samples.photo_paths(),
            batch_size=batch_size,
            crop_size=crop_size,
            seed=options.seed,
            skip=skip,
            shard=training.shard(strategy),
            strict=strict_data,
            exclude=held_out,
        )
        if not preset:
            parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
            dataset = dataset.map(contrast.with_target, **parallel).prefetch(tf.data.AUTOTUNE)
        return dataset, [report]

    # Networks
    with strategy.scope():
        generator = generators.fast_generator() if preset else clahe.curve_generator()
        optimizer = training.adam(
            training.cosine_schedule(learning_rate, options.steps),
            generator.trainable_variables,
            clip_norm=clip_norm,
        )
        ema = training.Ema(generator, ema_decay) if ema_decay else None
        if preset:
            extractor = features.vgg16((*STYLE_LAYERS, CONTENT_LAYER), dtype=options.precision)
            content_extractor = features.vgg16([CONTENT_LAYER], dtype=options.precision)

    # Losses, and what judges
    if preset:
        of_painting = extractor(painting[None])
        step = steps.PerceptualStep(
            generator=generator,
            extractor=extractor,
            content_extractor=content_extractor,
            style_grams={layer: gram(of_painting[layer]) for layer in STYLE_LAYERS},
            optimizer=optimizer,
            content_layers=[CONTENT_LAYER],
            **dataclasses.asdict(preset),
        )
        of_style = metrics.Validator(photos=held_out, paintings=[painting])
    else:
        step = steps.TargetStep(generator=generator, optimizer=optimizer)

    result = ema.model if ema else generator
    stylizer = stylize.Stylizer.load(result)

    def validate():
        if preset:
            return of_style(stylizer)
        figures = metrics.evaluate_target(stylizer, held_out, contrast.equalize)
        return {key: figures[key] for key in ("error", "psnr", "psnr_gain")}

    # Train
    run = training.open_run(name, options, settings)
    shown = samples.crops(crop_size)
    monitor = None
    if explain and training.is_chief(strategy):
        looked_at = data.crops(
            content or samples.photo_paths(), 8, crop_size=crop_size, exclude=held_out
        )
        batch = (looked_at,) if preset else contrast.with_target(looked_at)
        monitor = health.Monitor(
            folder=run.folder,
            every=health.looks(options),
            generator=generator,
            inputs=looked_at,
            real=looked_at,
            terms=lambda: step.terms(*batch),
            weights=step.weights,
        )
    final_losses = training.fit(
        step.update,
        batches=batches,
        state={"generator": generator, "optimizer": optimizer},
        run=run,
        options=options,
        strategy=strategy,
        ema=ema,
        callback=monitor,
        sample=lambda: sheets.sample_grid(result, shown),
        weights=step.weights,
        validate=validate,
    )
    if not training.is_chief(strategy):
        return
    if monitor:
        health.write_report(run.folder, name=name)

    # Export
    figures = metrics.evaluate_target(stylizer, held_out, contrast.equalize)
    if preset:
        figures |= of_style(stylizer)
    card_photos = "kept out of training" if evaluate_on or not content else "bundled"
    exported = export.export(
        result,
        name,
        directory=saved_models,
        card={
            "description": "A style network: one style, any photo, one pass."
            if preset
            else "Raises local contrast as CLAHE does: any photo, one pass.",
            "style": pathlib.Path(style).stem if preset else "CLAHE",
            **training.card("pipelines.clahe", settings, options, final_losses),
            "figures": {"photos": card_photos, **figures},
        },
    )
    figures_file = files.write_json(run.folder / "figures.json", figures)
    picture = run.folder / "result.jpg"
    photo = images.fit(images.read(held_out[0]), figures["size"])
    wanted = painting if preset else contrast.equalize(photo)
    images.write(picture, sheets.compare(photo, wanted, stylizer(photo)))

    if preset:
        judged = ("relative_style_distance", "content_distance", "checkerboard")
    else:
        judged = ("psnr_untouched", "psnr", "psnr_gain", "least_psnr_gain")
    print(f"{figures['count']} photos that are {card_photos}")
    for key in judged:
        if key in figures:  # small photos have no checkerboard
            print(f"{key:<25}{figures[key]:.3f}")
    local, histogram = figures["local_contrast"], figures["local_contrast_histogram"]
    print("Local contrast           " + "".join(f"{key:<8}" for key in local))
    print("mean                     " + "".join(f"{mean:<8.4f}" for mean in local.values()))
    shares = zip(*(histogram[key] for key in local), strict=True)
    for low, high, row in zip(histogram["edges"], histogram["edges"][1:], shares, strict=False):
        print(f"{low:.2f} to {high:.2f}             " + "".join(f"{share:<8.1%}" for share in row))
    export.announce(exported, picture)
    print(f"Figures     {figures_file}")


if __name__ == "__main__":
    cli.run(train)
