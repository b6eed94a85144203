"""Fast style transfer in several styles and all blends of them: one network, one pass a photo.

    make train PIPELINE=fusion                            # bundled photos, three drawn styles
    make train PIPELINE=fusion STYLE=a.jpg,b.jpg CONTENT=photos/ STEPS=8000
    python -m pipelines.fusion --style=paintings/ --content=photos/ --steps=8000 --name=mine

Dumoulin et al. 2017, "A Learned Representation For Artistic Style"
(https://arxiv.org/abs/1610.07629): the styles share all convolutions, 330 163 weights, and each has
a scale and an offset of its own for every normalised channel, 1344 numbers. A blend of these is a
blend of the styles. Each image of a batch is taught one style; no blend is taught.

Give it more steps than pipelines.fast: a style learns from its share of them.

Measured: without arguments (1200 steps of one 160 px crop, about 9 minutes of processor time) the
relative style distance of the five bundled photos, which it was trained on, is 0.42 (swirls), 0.55
(mosaic) and 0.42 (woodcut), their content distance 1.30, 1.00 and 1.35: colours and lines, but the
mosaic has no tiles yet. docs/systems/fusion.jpg shows it, and blends below. What longer training
gives is the model `ten_styles`: docs/models.md has its commands and figures.
"""

import os
import pathlib
import statistics

import numpy as np
import tensorflow as tf

from tfstyle import cli, data, export, features, images, losses, metrics, stylize, training
from tfstyle.data import drawn, samples
from tfstyle.data.paintings import read as read_painting
from tfstyle.errors import ArgumentError
from tfstyle.explain import health
from tfstyle.images import sheets
from tfstyle.networks import generators
from tfstyle.training import steps


def train(
    *,
    style: str = ",".join(drawn.STYLES),
    content: str = "",
    name: str = "fusion",
    title: str = "",
    licence: str = "",
    photos: str = "",
    initial: str = "",
    width: int = 16,
    depth: int = 4,
    crop_size: int = 160,
    batch_size: int = 1,
    style_size: int = 384,
    content_layers: str = losses.CONTENT_LAYER,
    content_weight: float = 1.0,
    style_weight: float = 10.0,
    tv_weight: float = 0.0,
    checkerboard_weight: float = 0.0,
    learning_rate: float = 3e-3,
    clip_norm: float = 5.0,
    ema_decay: float = 0.995,
    evaluate_on: str = "",
    explain: bool = False,
    strict_data: bool = False,
    saved_models: str = "saved_models",
    options: training.Options = training.Options(steps=1200),  # noqa: B008 (frozen)
):
    """Trains, exports and shows several styles in one network.

    Args:
        style: image files, folders of them, or names of styles that tfstyle draws (swirls, mosaic,
            woodcut), separated by commas; each image is a style and is called as its file is.
        content: folder of photos (several: separate by commas), or tfds:NAME:SPLIT; the bundled
            photos where empty.
        name: of the run and the exported model.
        title: of the styles, for the model card; their names where empty.
        licence: of the model, for its card.
        photos: what the photos are and where they are from, for the model card.
        initial: folder of a run (runs/NAME, or runs/NAME/best) whose generator's weights to start
            from, to go on with other weights of the losses; it must have as many styles.
        width: channels of the generator at half size; more is finer, slower and larger.
        depth: residual blocks of the generator.
        crop_size: side of the training crops, in pixels.
        batch_size: crops in a step, over all devices; each is taught one style.
        style_size: longest side of the style images, in pixels; larger gives larger strokes.
        content_layers: VGG16 layers of the content loss, separated by commas; shallower ones keep
            finer detail of the photo.
        content_weight: of the content loss; more keeps more of the photo.
        style_weight: of the style loss; more gives more of the paintings.
        tv_weight: of total variation; more is smoother.
        checkerboard_weight: of patterns of the periods of up-sampling; 0 to not compute them. Crops
            must be of 128 pixels or more.
        learning_rate: of Adam at its highest; a cosine leads down from there.
        clip_norm: bound on the norm of the gradient.
        ema_decay: of the average of the weights that is exported; 0 for the last weights.
        evaluate_on: photos (files or folders, separated by commas) that are kept out of training
            for validation and the figures on the model card; the bundled photos where empty.
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
    export.check_name(name)
    paintings = {}
    for part in [style] if os.path.exists(style) else style.split(","):
        is_drawn = part.strip() in drawn.STYLES
        for path in [pathlib.Path(part.strip())] if is_drawn else data.list_files(part):
            if path.stem in paintings:
                raise ArgumentError(f"style {path}: another is called {path.stem} too; rename one")
            paintings[path.stem] = read_painting(str(path), style_size)
    names = list(paintings)
    held_out = data.list_files(evaluate_on)
    shard = training.shard(strategy)

    def batches(skip):
        dataset, report = data.image_batches(
            content or samples.photo_paths(),
            batch_size=batch_size,
            crop_size=crop_size,
            seed=options.seed,
            skip=skip,
            strict=strict_data,
            exclude=held_out,
            shard=shard,
        )
        draws = data.style_draws(
            len(names), batch_size=batch_size, seed=options.seed, skip=skip, shard=shard
        )
        return tf.data.Dataset.zip(dataset, draws), [report]

    # Networks
    with strategy.scope():
        generator = generators.fusion_generator(styles=len(names), width=width, depth=depth)
        if initial:
            training.start_from(generator, initial)
        extractor = features.vgg16(
            (*losses.STYLE_LAYERS, *content_layers.split(",")), dtype=options.precision
        )
        content_extractor = features.vgg16(content_layers.split(","), dtype=options.precision)
        optimizer = training.adam(
            training.cosine_schedule(learning_rate, options.steps),
            generator.trainable_variables,
            clip_norm=clip_norm,
        )
        ema = training.Ema(generator, ema_decay) if ema_decay else None

    # Losses
    of_paintings = [extractor(painting[None]) for painting in paintings.values()]
    step = steps.PerceptualStep(
        generator=generator,
        extractor=extractor,
        content_extractor=content_extractor,
        style_grams={
            layer: tf.concat([losses.gram(of_one[layer]) for of_one in of_paintings], axis=0)
            for layer in losses.STYLE_LAYERS
        },
        optimizer=optimizer,
        content_layers=content_layers.split(","),
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
        checkerboard_weight=checkerboard_weight,
    )

    # Train
    run = training.open_run(name, options, settings)
    result = ema.model if ema else generator
    stylizer = stylize.Stylizer.load(result)
    judged = held_out or samples.photo_paths()
    validators = [
        metrics.Validator(photos=judged, paintings=[painting]) for painting in paintings.values()
    ]

    def validate():
        return metrics.over_styles(
            validators, stylizer, content_weight=content_weight, style_weight=style_weight
        )

    shown = samples.crops(crop_size)
    # The styles in turn.
    shown_in = np.eye(len(names), dtype=np.float32)[np.arange(len(shown)) % len(names)]
    monitor = None
    if explain and training.is_chief(strategy):
        looked_at = tf.constant(
            data.crops(
                content or samples.photo_paths(),
                8,
                crop_size=crop_size,
                seed=options.seed,
                exclude=held_out,
            )
        )
        in_turn = tf.one_hot(tf.range(8) % len(names), len(names))
        monitor = health.Monitor(
            folder=run.folder,
            every=health.looks(options),
            generator=generator,
            inputs=[looked_at, in_turn],
            real=looked_at,
            terms=lambda: step.terms(looked_at, in_turn),
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
        sample=lambda: sheets.sample_grid(lambda batch: result([batch, shown_in]), shown),
        weights=step.weights,
        validate=validate,
    )
    if not training.is_chief(strategy):
        return
    if monitor:
        health.write_report(run.folder, name=name)

    # Export
    extractor = features.vgg16(metrics.LAYERS)
    figures = {
        key: metrics.evaluate_all(
            lambda photo, index=index: stylizer(photo, style=index),
            judged,
            painting,
            extractor=extractor,
        )
        for index, (key, painting) in enumerate(paintings.items())
    }
    mean = {
        key: statistics.mean(of_one[key] for of_one in figures.values())
        for key in figures[names[0]]
    }
    exported = export.export(
        result,
        name,
        directory=saved_models,
        styles=names,
        card={
            "description": "Fast style transfer: several styles and their blends, one pass.",
            "style": title or ", ".join(names),
            **training.card("pipelines.fusion", settings, options, final_losses),
            "figures": {
                "photos": "kept out of training" if held_out else "bundled",
                **mean,
                "by_style": figures,
            },
        },
    )
    stylizer = stylize.Stylizer.load(exported.tflite["float32"])
    pictured = [
        images.fit(images.read(path), 512) for path in held_out[:4] or samples.photo_paths()
    ]
    rows = [[None, *paintings.values()]]
    rows += [[photo, *(stylizer(photo, style=key) for key in names)] for photo in pictured]
    images.write(run.folder / "result.jpg", sheets.grid(rows))
    if len(names) > 1:
        # From each of the first styles to the next.
        rows = [
            [stylizer(pictured[0], style={one: 4 - i, other: i}) for i in range(5)]
            for one, other in zip(names[:4], names[1:5], strict=False)
        ]
        images.write(run.folder / "blend.jpg", sheets.grid(rows))
        print(f"Blends      {run.folder / 'blend.jpg'}")
    export.announce(exported, run.folder / "result.jpg")


if __name__ == "__main__":
    cli.run(train)
