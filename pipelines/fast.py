"""Fast feed-forward style transfer: one style, one small network, one pass a photo.

    make train                                            # bundled photos, a drawn style
    make train STYLE=painting.jpg CONTENT=photos/ STEPS=4000
    python -m pipelines.fast --style=painting.jpg --content=photos/ --steps=4000 --name=mine

Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution"
(https://arxiv.org/abs/1603.08155): the network learns to give any photo the Gram matrices of one
painting and the VGG16 content features of the photo.
"""

import pathlib

import tensorflow as tf

from tfstyle import cli, data, export, features, images, losses, metrics, stylize, training
from tfstyle.data import paintings, samples
from tfstyle.explain import health
from tfstyle.images import sheets
from tfstyle.networks import generators
from tfstyle.training import steps


def train(
    *,
    style: str = "swirls",
    content: str = "",
    name: str = "",
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
    options: training.Options = training.Options(steps=600),  # noqa: B008 (frozen)
):
    """Trains, exports and shows one style.

    Args:
        style: image file, or the name of a style that tfstyle draws (swirls, mosaic, woodcut).
        content: folder of photos (several: separate by commas), or tfds:NAME:SPLIT; the bundled
            photos where empty.
        name: of the run and the exported model; the style's name where empty.
        title: of the style, for the model card.
        licence: of the model, for its card.
        photos: what the photos are and where they are from, for the model card.
        initial: folder of a run (runs/NAME, or runs/NAME/best) whose generator's weights to start
            from, to go on with other weights of the losses, or to learn another style
            sooner.
        width: channels of the generator at half size; more is finer, slower and larger.
        depth: residual blocks of the generator.
        crop_size: side of the training crops, in pixels.
        batch_size: crops in a step, over all devices.
        style_size: longest side of the style image, in pixels; larger gives larger strokes.
        content_layers: VGG16 layers of the content loss, separated by commas; shallower ones keep
            finer detail of the photo.
        content_weight: of the content loss; more keeps more of the photo.
        style_weight: of the style loss; more gives more of the painting.
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
    painting = paintings.read(style, style_size)
    name = name or pathlib.Path(style).stem
    export.check_name(name)
    held_out = data.list_files(evaluate_on)

    def batches(skip):
        dataset, report = data.image_batches(
            content or samples.photo_paths(),
            batch_size=batch_size,
            crop_size=crop_size,
            seed=options.seed,
            skip=skip,
            strict=strict_data,
            exclude=held_out,
            shard=training.shard(strategy),
        )
        return dataset, [report]

    # Networks
    with strategy.scope():
        generator = generators.fast_generator(width=width, depth=depth)
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
    of_painting = extractor(painting[None])
    step = steps.PerceptualStep(
        generator=generator,
        extractor=extractor,
        content_extractor=content_extractor,
        style_grams={layer: losses.gram(of_painting[layer]) for layer in losses.STYLE_LAYERS},
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
    shown = samples.crops(crop_size)
    judged = held_out or samples.photo_paths()
    validator = metrics.Validator(photos=judged, paintings=[painting])

    def validate():
        return metrics.with_total(
            validator(stylizer), content_weight=content_weight, style_weight=style_weight
        )

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
        monitor = health.Monitor(
            folder=run.folder,
            every=health.looks(options),
            generator=generator,
            inputs=looked_at,
            real=looked_at,
            terms=lambda: step.terms(looked_at),
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
    extractor = features.vgg16(metrics.LAYERS)
    figures = metrics.evaluate_all(stylizer, judged, painting, extractor=extractor)
    exported = export.export(
        result,
        name,
        directory=saved_models,
        card={
            "description": "Fast feed-forward style transfer: one style, any photo, one pass.",
            "style": title or name,
            **training.card("pipelines.fast", settings, options, final_losses),
            "figures": {"photos": "kept out of training" if held_out else "bundled", **figures},
        },
    )
    picture = run.folder / "result.jpg"
    photo = images.read(held_out[0]) if held_out else samples.photo("chelsea")
    images.write(picture, sheets.compare(photo, painting, stylizer(photo)))
    export.announce(exported, picture)


if __name__ == "__main__":
    cli.run(train)
