"""A style of one's own in two minutes: a painting's parameters for a network of many styles.

A network of several styles (`networks.generators.fusion_generator`) has the convolutions in common
and for each style a gamma and a beta of every normalised channel, and strengths of noise. For a
new painting these alone are fitted, from those of the style that is nearest to it: 1696 numbers in
place of 330 175 weights (Dumoulin et al. 2017, https://arxiv.org/abs/1610.07629, section 3.3). The
other styles stay as they are, and the new one blends with them. Or all weights are fitted, for a
network of that painting alone.
"""

import dataclasses
import math
import os
import pathlib
import tempfile
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfstyle import data, features, files, images, losses, machine, stylize, training
from tfstyle.data import paintings, samples
from tfstyle.errors import TfstyleError
from tfstyle.export import rebuild
from tfstyle.networks import layers
from tfstyle.training import steps

# Peak memory of the painting's features and their Gram matrices, in float32: 1250 at 1024 px.
_BYTES_PER_PIXEL = 1300
CONTENT_LAYERS = ("block4_conv2",)
# As the networks that are taught were trained.
_AIMS = dataclasses.replace(losses.PAINTERLY, tv_weight=15.0, checkerboard_weight=0.2)


class LearnError(TfstyleError, ValueError):
    """The model cannot be taught a style; the message says why and what can."""


@dataclasses.dataclass(frozen=True)
class Learned:
    """What `learn` gives.

    Attributes:
        generator: as `fusion_generator`, with the new style first and then those of the model; if
            learned alone, with that style only.
        styles: their names, in that order.
        nearest: the style that was started from.
        losses: of the last step, unweighted, and their total.
        card: what a card of the new model can take over from that of the old one.
    """

    generator: keras.Model
    styles: tuple[str, ...]
    nearest: str
    losses: dict[str, float]
    card: dict


@machine.own_random_state()
def learn(
    painting: np.ndarray,
    name: str,
    *,
    model: str | os.PathLike = "ten_styles",
    alone: bool = False,
    content: str = "",
    count: int = 150,
    batch_size: int = 2,
    crop_size: int = 192,
    style_size: int = 512,
    content_weight: float = 1.0,
    style_weight: float = 20.0,
    learning_rate: float | None = None,
    seed: int = 0,
    progress: Callable[[int, dict[str, float]], object] | None = None,
) -> Learned:
    """Fits the style parameters of a network of several styles to one painting.

    Args:
        painting: float32 RGB [H, W, 3] in [0, 1].
        name: of the style; none that the model has.
        model: name or folder of an exported model of several styles.
        alone: fits all weights of the network and not the style parameters alone: nearer to the
            painting, and there are no other styles to blend with.
        content: photos to fit on, as `data.image_batches` takes them; the bundled ones if empty.
        count: steps; more come nearer to the painting.
        batch_size: crops in a step.
        crop_size: side of a crop, in pixels.
        style_size: longest side that the painting is scaled down to, in pixels; larger gives larger
            strokes.
        content_weight, style_weight: of the losses; more of the second gives more of the painting.
        learning_rate: of Adam at its highest, by default 0.02, or 0.003 for all weights; a cosine
            leads down from there.
        seed: decides the crops.
        progress: called after each step with the number of steps done and the losses.

    Raises:
        ArgumentError: for a painting whose short side is too small, see `paintings.fit`.
        LearnError: where a loss is not finite, for a model that has not several styles, or has one
            of that name.
        ModelNotFoundError: where there is none of that name.
        RebuildError: for a model that no pipeline here makes.
        DataError: for `content` without images.
        TooLargeError: where the memory does not suffice for the painting.
    """
    painting = paintings.fit(painting, style_size, name)
    card = stylize.read_card(stylize.find_saved_model(model))
    styles = tuple(card.get("styles") or ())
    if not styles:
        several = [one["name"] for one in stylize.shipped_models() if one.get("styles")]
        raise LearnError(
            f"model {model}: not one of several styles. Give one of these: "
            f"{', '.join(several) or 'there are none here'}"
        )
    if name in styles:
        raise LearnError(f"name {name!r}: {model} has a style called so. Give another name")
    built = rebuild.of_export(model)
    base = built.generator
    # The light one is nearly as good, and as fast in float32; docs/models.md has the figures.
    if machine.has_fast_bfloat16():
        policy, backbone = "mixed_bfloat16", features.vgg16
    else:
        policy, backbone = "float32", features.vgg16_light
    extractor = backbone((*_AIMS.style_layers, *CONTENT_LAYERS), dtype=policy)
    images.check_memory(
        painting.shape[:2],
        _BYTES_PER_PIXEL,
        name="painting",
        purpose="to be looked at",
        mend="Give a style_size of",
    )
    of_painting = extractor(painting[None])
    grams = {layer: losses.gram(of_painting[layer]) for layer in _AIMS.style_layers}
    means = {layer: losses.channel_means(of_painting[layer]) for layer in _AIMS.style_layers}

    nearest = _nearest(base, len(styles), extractor, grams)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        generator = built.build(1)
    finally:
        keras.config.set_dtype_policy(before)
    for here, there in zip(generator.variables, base.variables, strict=True):
        here.assign(there if here.shape == there.shape else there[nearest : nearest + 1])
    for layer in generator.layers:
        of_style = isinstance(layer, layers.ConditionalInstanceNorm | layers.Noise)
        layer.trainable = alone or of_style
    if learning_rate is None:
        learning_rate = 0.003 if alone else 0.02
    step = steps.PerceptualStep(
        generator=generator,
        extractor=extractor,
        content_extractor=backbone(CONTENT_LAYERS, dtype=policy),
        style_grams=grams,
        style_means=means,
        layer_weights=_AIMS.style_layers,
        saliency=_AIMS.saliency,
        optimizer=training.adam(
            training.cosine_schedule(learning_rate, count),
            generator.trainable_variables,
            clip_norm=5.0,
        ),
        content_layers=CONTENT_LAYERS,
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=_AIMS.tv_weight,
        # Of crops in which the periods can be told.
        checkerboard_weight=_AIMS.checkerboard_weight if crop_size >= 128 else 0.0,
    )
    dataset, report = data.image_batches(
        content or samples.photo_paths(), batch_size=batch_size, crop_size=crop_size, seed=seed
    )
    weights = tf.ones((batch_size, 1))
    last = {}
    for number, photos in enumerate(dataset.take(count), 1):
        last = {key: float(value) for key, value in step(photos, weights).items()}
        if broken := [key for key, value in last.items() if not math.isfinite(value)]:
            raise LearnError(
                f"step {number}: loss {broken[0]} is {last[broken[0]]}. Give a smaller "
                "style_weight or learning rate, or another painting"
            )
        if progress:
            progress(number, last)
    report.check()

    taught = built.build(1 if alone else len(styles) + 1)
    for variable, of_base, of_new in zip(
        taught.variables, base.variables, generator.variables, strict=True
    ):
        of_new = tf.cast(of_new, variable.dtype)
        if alone:
            variable.assign(of_new)
        elif variable.shape == of_base.shape:
            variable.assign(of_base)
        else:
            variable.assign(tf.concat([of_new, of_base], axis=0))
    told = ("pipeline", "options") if alone else ("description", "style", "pipeline", "options")
    kept = {key: card[key] for key in told if key in card}
    return Learned(taught, (name,) if alone else (name, *styles), styles[nearest], last, kept)


def keep(learned: Learned, name: str, directory: str | os.PathLike) -> pathlib.Path:
    """Saves what was learned where it cannot be exported, so that the training was not in vain.

    Args:
        learned: as `learn` gives it.
        name: of the model; the file is NAME.learned.keras, and an earlier one is replaced.
        directory: where that can be written; else the current folder, or that of temporary files.

    Returns:
        Path of the file, which `Stylizer.load` and `tfstyle export` take.

    Raises:
        OSError: where it can be written nowhere.
    """
    folders = [pathlib.Path(directory), pathlib.Path(), pathlib.Path(tempfile.gettempdir())]
    for folder in folders:
        try:
            path = folder / f"{name}.learned.keras"
            return files.write_whole(path, learned.generator.save)
        except OSError:
            if folder == folders[-1]:
                raise
    raise AssertionError("one of the folders returns or raises")


def _nearest(base, count, extractor, grams) -> int:
    """The style that a photo takes nearest to the painting's statistics."""
    photo = tf.constant(images.fit(samples.photo("coffee"), 192)[None])

    def loss(style):
        found = extractor(base([photo, tf.one_hot([style], count)]))
        return float(
            losses.style_loss(
                grams={layer: losses.gram(found[layer]) for layer in grams}, targets=grams
            )
        )

    return min(range(count), key=loss)
