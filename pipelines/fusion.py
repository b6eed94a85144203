"""Fast style transfer in several styles and all blends of them: one network, one pass a photo.

    make train PIPELINE=fusion                            # bundled photos, three drawn styles
    make train PIPELINE=fusion STYLE=a.jpg,b.jpg CONTENT=photos/ STEPS=8000
    tfstyle train fusion --style=paintings/ --content=photos/ --steps=8000 --name=mine

Dumoulin et al. 2017, "A Learned Representation For Artistic Style"
(https://arxiv.org/abs/1610.07629): the styles share all convolutions, 330 175 weights, and each has
a scale and an offset of its own for every normalised channel, and a strength of noise, 1696
numbers. A blend of these is a blend of the styles. Each image of a batch is taught one style; no
blend is taught. Give it more steps than pipelines.fast: a style learns from its share of them.

Measured: without arguments, in 9 minutes, the relative style distance is 0.46 to 0.56.
docs/systems.md has more; `ten_styles` is what longer training gives: docs/models.md.
"""

import numpy as np
import tensorflow as tf

from tfstyle import cli, data, export, features, images, losses, metrics, stylize, training
from tfstyle.data import drawn, paintings, samples
from tfstyle.explain import health
from tfstyle.images import sheets
from tfstyle.networks import generators
from tfstyle.training import steps


def train(
    *,
    style: str = ",".join(drawn.STYLES),
    style_size: int = 384,
    width: int = 16,
    depth: int = 4,
    noise: bool = True,
    initial: str = "",
    photos: data.Photos = data.Photos(),  # noqa: B008 (frozen, as all of these)
    weights: losses.StyleWeights = losses.PAINTERLY,  # noqa: B008
    optim: training.Optim = training.Optim(),  # noqa: B008
    release: export.Release = export.Release(),  # noqa: B008
    options: training.Options = training.Options(steps=1200),  # noqa: B008
):
    """Trains, exports and shows several styles in one network.

    Args:
        style: image files, folders of them, or names of styles that tfstyle draws (swirls, mosaic,
            woodcut), separated by commas; each image is a style and is called as its file is.
        style_size: longest side of the style images, in pixels; larger gives larger strokes.
        width: channels of the generator at half size; more is finer, slower and larger.
        depth: residual blocks of the generator.
        noise: whether the generator paints calm areas from noise, so that they do not repeat.
        initial: folder of a run (runs/NAME, or runs/NAME/best) whose generator's weights to start
            from, to go on with other weights of the losses; it must have as many styles.
        photos: see data.Photos; each crop is taught one style.
    """
    run = training.open_run(train, locals(), name="fusion")
    release.check(run)

    # Data
    pictures = paintings.read_all(style, style_size)
    names, judged = list(pictures), photos.judged

    def batches(**place):
        crops, reports = photos.batches(**place)
        draws = data.style_draws(len(names), batch_size=photos.batch_size, **place)
        return tf.data.Dataset.zip(crops, draws), reports

    # Networks
    with run.scope():
        generator = generators.fusion_generator(
            styles=len(names), width=width, depth=depth, noise=noise
        )
        run.start_from(generator, initial)
        vgg = features.Perceptual(weights.content_layers, dtype=options.precision)
        optimizer, ema = optim.adam(generator, options.steps), optim.average(generator)
    stylizer = stylize.Stylizer.load(ema.model)

    # Losses
    step = steps.PerceptualStep(
        generator=generator,
        **vgg.networks,
        **vgg.aims(pictures.values(), weights),
        optimizer=optimizer,
        **weights.numbers,
        balance=run.balance(weights),
    )
    validators = [metrics.Validator(photos=judged, paintings=[each]) for each in pictures.values()]

    # Train: what is shown and looked at has the styles in turn
    shown = samples.crops(photos.crop_size)
    in_turn = np.eye(len(names), dtype=np.float32)[np.arange(max(8, len(shown))) % len(names)]

    def look():
        crops = tf.constant(photos.crops(8, seed=options.seed))
        batch = crops, tf.constant(in_turn[:8])
        return {"batch": batch, "inputs": list(batch), "real": crops}

    run.fit(
        step,
        batches,
        ema=ema,
        validate=lambda: metrics.over_styles(validators, stylizer, weights),
        sample=lambda: sheets.sample_grid(ema.model, shown, in_turn),
        callbacks=[health.watch(run, step, look)],
    )
    if not run.chief:
        return

    # Export
    vgg16 = features.vgg16(metrics.LAYERS)
    figures = metrics.evaluate_styles(stylizer, judged, pictures, extractor=vgg16)
    pictured = [images.fit(images.read(path), 512) for path in judged[:5]]
    rows = [[None, *pictures.values()]]
    rows += [[each, *(stylizer(each, style=i) for i in range(len(names)))] for each in pictured]
    release.write(
        ema.model,
        run,
        description="Fast style transfer: several styles and their blends, one pass.",
        style=", ".join(names),
        styles=names,
        figures={"photos": photos.told, **figures},
        picture=sheets.grid(rows),
    )
    if len(names) > 1:
        images.write(run.folder / "blend.jpg", sheets.blends(stylizer, pictured[0], len(names)))
        print(f"Blends      {run.folder / 'blend.jpg'}")


if __name__ == "__main__":
    cli.run(train)
