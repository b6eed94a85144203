"""Fast feed-forward style transfer: one style, one small network, one pass a photo.

    make train                                            # bundled photos, a drawn style
    make train STYLE=painting.jpg CONTENT=photos/ STEPS=4000
    tfstyle train fast --style=painting.jpg --content=photos/ --steps=4000 --name=mine

Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution"
(https://arxiv.org/abs/1603.08155): the network learns to give any photo the feature statistics of
one painting (means and covariances, or --style_loss=gram) and the VGG16 content features of the
photo.

Measured: without arguments (600 steps of one 160 px crop) it takes 3.5 minutes on two cores with
bfloat16 in hardware, under ten on others. docs/swirls.jpg shows what comes of it.
"""

import functools

from tfstyle import cli, data, export, features, images, losses, metrics, stylize, training
from tfstyle.data import paintings, samples
from tfstyle.explain import health
from tfstyle.images import sheets
from tfstyle.networks import generators
from tfstyle.training import steps


def train(
    *,
    style: str = "swirls",
    style_size: int = 384,
    width: int = 16,
    depth: int = 4,
    noise: bool = True,
    initial: str = "",
    photos: data.Photos = data.Photos(),  # noqa: B008 (frozen, as all of these)
    weights: losses.StyleWeights = losses.PAINTERLY,  # noqa: B008
    optim: training.Optim = training.Optim(),  # noqa: B008
    release: export.Release = export.Release(),  # noqa: B008
    options: training.Options = training.Options(steps=600),  # noqa: B008
):
    """Trains, exports and shows one style.

    Args:
        style: image file, or the name of a style that tfstyle draws (swirls, mosaic, woodcut).
        style_size: longest side of the style image, in pixels; larger gives larger strokes.
        width: channels of the generator at half size; more is finer, slower and larger.
        depth: residual blocks of the generator.
        noise: whether the generator paints calm areas from noise, so that they do not repeat.
        initial: folder of a run (runs/NAME, or runs/NAME/best) whose generator's weights to start
            from, to go on with other weights of the losses, or to learn another style sooner.
    """
    run = training.open_run(train, locals(), name=f"fast_{data.name_of(style)}")
    release.check(run)

    # Data
    painting = paintings.read(style, style_size)
    judged = photos.judged

    # Networks
    with run.scope():
        generator = generators.fast_generator(width=width, depth=depth, noise=noise)
        run.start_from(generator, initial)
        vgg = features.Perceptual(weights.content_layers, dtype=options.precision)
        optimizer, ema = optim.adam(generator, options.steps), optim.average(generator)
    stylizer = stylize.Stylizer.load(ema.model)

    # Losses
    step = steps.PerceptualStep(
        generator=generator,
        **vgg.networks,
        **vgg.aims([painting], weights),
        optimizer=optimizer,
        **weights.numbers,
        balance=run.balance(weights),
    )
    validator = metrics.Validator(photos=judged, paintings=[painting])

    # Train
    def look():
        crops = photos.crops(8, seed=options.seed)
        return {"batch": (crops,), "inputs": crops, "real": crops}

    run.fit(
        step,
        photos.batches,
        ema=ema,
        validate=lambda: metrics.with_total(validator(stylizer), weights),
        sample=functools.partial(sheets.sample_grid, ema.model, samples.crops(photos.crop_size)),
        callbacks=[health.watch(run, step, look)],
    )
    if not run.chief:
        return

    # Export
    vgg16 = features.vgg16(metrics.LAYERS)
    figures = metrics.evaluate_all(stylizer, judged, painting, extractor=vgg16)
    photo = images.read(judged[0]) if photos.held_out else samples.photo("chelsea")
    release.write(
        ema.model,
        run,
        description="Fast feed-forward style transfer: one style, any photo, one pass.",
        style=data.name_of(style),
        figures={"photos": photos.told, **figures},
        picture=sheets.compare(photo, painting, stylizer(photo)),
    )


if __name__ == "__main__":
    cli.run(train)
