"""Which explanations a model or a picture admits, in what order, and how long each takes."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfstyle import features, images, losses, machine, metrics, stylize
from tfstyle.data import drawn, samples
from tfstyle.errors import ArgumentError, TfstyleError
from tfstyle.explain import (
    attribution,
    layer_meaning,
    loss_maps,
    loss_weights,
    models,
    skips,
    style_directions,
    style_gap,
    suggestions,
    units,
)
from tfstyle.explain.results import Explanation
from tfstyle.training import steps

WEIGHTS = {"content": 1.0, "style": 10.0, "tv": 1.0}
# Longest side at which a model's styles are compared with the style image, in pixels.
_COMPARED = 128
# What a picture keeps at most of the photo's style distance to the style image, and at most of a
# blank picture's, where it was made after that image. Ten pictures of shipped models, at 256 px,
# kept 0.11 to 0.37 of the photo's to their own style, and 0.34 to 1.76 to others, once in 30 under
# this; small pictures of few colours are far from anything, hence the second.
_OWN, _OWN_OF_BLANK = 0.4, 0.7
# Memory for each pixel of the photo. Measured at 384 and 512 px: the style gap of a picture took
# 4800 at its peak, the discriminator's reasons (eight pictures at once) 7500.
_BYTES_PER_PIXEL = 8000


@dataclasses.dataclass(frozen=True)
class Job:
    """One explanation to make.

    Args:
        name: what it is about, for who waits.
        cost: seconds on two cores, about.
        parts: how often it calls `tell`.
        run: (explanations made before, by name; tell) -> explanation, or None where it does not
            apply.
    """

    name: str
    cost: float
    run: Callable[[Mapping[str, Explanation], Callable[[], object]], Explanation | None]
    parts: int = 1


@dataclasses.dataclass(frozen=True)
class Survey:
    """What there is to do.

    Args:
        picture: [H, W, 3] in [0, 1].
        jobs: in order.
        style: that of the model's that it is in; "" for a picture and a model of one style.
        warning: where the style image does not seem to be what it was made after; "" where it does.
    """

    picture: np.ndarray
    jobs: list[Job]
    style: str = ""
    warning: str = ""


@machine.own_random_state()
def of(
    model: str | os.PathLike,
    *,
    content: np.ndarray,
    style: np.ndarray,
    model_style: str | None = None,
    style_loss: style_gap.StyleLoss = "gram",
    style_layers: Mapping[str, float] | Sequence[str] = losses.STYLE_LAYERS,
    budget: str = "quick",
    seed: int = 0,
) -> Survey:
    """What there is to explain of a model or a picture.

    Args:
        model: what `models.load` takes, or a picture's file.
        content, style: [H, W, 3] in [0, 1], the photo at the size to look at and the style image.
        model_style: of a model of several, the style that is looked into; the one whose picture is
            nearest to the style image where None.
        style_loss, style_layers: the loss that the picture or model was made with, as
            `style_gap.explain` takes it; layers of `losses.STYLE_LAYERS`.
        budget: "quick", some two minutes at 256 px, or "full", some twenty.
        seed: of all draws.

    Raises:
        ValueError: for a file that is no model and no picture, and a style that the model lacks.
        RebuildError: for a run whose network does not paint photos.
        TooLargeError: where the memory does not suffice for photo or style image.
    """
    for name, image in (("the photo", content), ("the style image", style)):
        images.check_memory(
            image.shape[:2],
            _BYTES_PER_PIXEL,
            name=name,
            purpose="to be explained",
            mend="Look at it at a size of",
        )
    full = budget == "full"
    layers = (*losses.STYLE_LAYERS, losses.CONTENT_LAYER)
    extractor = features.vgg16(layers)
    is_picture = Path(model).suffix.lower() in images.SUFFIXES
    networks = None if is_picture else models.load(model)
    run = networks if not is_picture and models.is_run(model) else None
    beside: list[np.ndarray] = []
    stylizer = None
    if not is_picture and not (run and run.kind == "noise"):
        stylizer = stylize.Stylizer.load(run.generator if run else model)
    if model_style and not (stylizer and stylizer.styles):
        raise ArgumentError(f"style {model_style!r}: {model} has one style alone; give none")
    if stylizer:
        if stylizer.styles:
            model_style = model_style or _nearest(stylizer, content, style, extractor)
            weights = stylizer.style_weights(model_style)
            assert weights is not None  # as it has several styles
            beside = [weights]
        picture = stylizer(content, style=model_style)
    elif is_picture:
        picture = images.resize(images.read(model), content.shape[:2])
    else:
        assert run is not None  # one that takes noise
        beside = [np.zeros((1, run.generator.inputs[1].shape[-1]), "float32")]
        picture = _painted(run.generator, content, beside)
    pixels = content.shape[0] * content.shape[1] / 256**2
    options = {"content": content, "style": style, "extractor": extractor}
    jobs = [
        Job(
            "losses",
            1 + 3 * pixels,
            lambda found, tell: loss_maps.explain(
                picture,
                weights=WEIGHTS | _adversarial(networks),
                discriminator=_of_patches(networks),
                adversarial=(networks.options.get("adversarial") if networks else None) or "bce",
                style_loss=style_loss,
                style_layers=style_layers,
                **options,
            ),
        ),
        Job(
            "style gap",
            25 * pixels,
            lambda found, tell: style_gap.explain(
                picture,
                style,
                extractor=extractor,
                layers=style_layers,
                style_loss=style_loss,
                seed=seed,
            ),
        ),
    ]
    if networks:
        jobs += _of_networks(networks, beside, picture, options, full, pixels, seed)
    jobs += [
        _layers_job(style, extractor, full, seed),
        Job(
            "what helps",
            40 * pixels,
            lambda found, tell: suggestions.explain(
                suggestions.of_findings(
                    picture,
                    loss_maps=found["loss_maps"],
                    style_gap=found["style_gap"],
                    units=found.get("units"),
                    skips=found.get("skips"),
                    generator=networks and networks.generator,
                    inputs=beside,
                    weights=WEIGHTS,
                    steps=40 if full else 15,
                    **options,
                ),
                seed=seed,
                tell=tell,
            ),
            2,
        ),
    ]
    named = model_style or ("" if is_picture else _style_of_card(model))
    warning = _of_another_style(picture, content, style, extractor, named)
    return Survey(picture, jobs, model_style or "", warning)


def _style_of_card(model: str | os.PathLike) -> str:
    with contextlib.suppress(TfstyleError):  # a run has no card
        return str(stylize.read_card(stylize.find(model)).get("style") or "")
    return ""


def _of_another_style(
    picture: np.ndarray,
    content: np.ndarray,
    style: np.ndarray,
    extractor: keras.Model,
    named: str,
) -> str:
    """A warning where the picture is too far from the style image to be made after it.

    Args:
        named: what the model says that its style is; "" where it does not.
    """
    photo, distance = (
        metrics.style_distance(image, style, extractor=extractor) for image in (content, picture)
    )
    if not photo or (distance <= _OWN * photo and distance <= _OWN_OF_BLANK):
        return ""
    told = f" The model says that its style is {named}." if named else ""
    return (
        f"In style the picture is {distance:.2f} away from the style image (1: a blank picture), "
        f"and the photo {photo:.2f}; what was made after an image comes under {_OWN:.0%} of the "
        f"photo's distance, and under {_OWN_OF_BLANK}. It may be another than the picture was made "
        f"after, and then what is said of missing style is not true of it.{told}"
    )


def _nearest(
    stylizer: stylize.Stylizer, content: np.ndarray, style: np.ndarray, extractor: keras.Model
) -> str:
    """Which of the model's styles gives the picture whose style is nearest to the style image's."""
    photo, style = (images.fit(image, _COMPARED) for image in (content, style))
    return min(
        stylizer.styles,
        key=lambda name: metrics.style_distance(
            stylizer(photo, style=name), style, extractor=extractor
        ),
    )


def _of_patches(networks: models.Networks | None) -> keras.Model | None:
    return networks.discriminator if networks and not networks.classes else None


def _adversarial(networks: models.Networks | None) -> dict[str, float]:
    if networks is None or _of_patches(networks) is None:
        return {}
    return {"adversarial": float(networks.options.get("adversarial_weight") or 1.0)}


def _painted(generator: keras.Model, photo: np.ndarray, beside: Sequence[np.ndarray]) -> np.ndarray:
    given = [photo[None], *beside] if beside else photo[None]
    painted = np.asarray(generator(given, training=False), "float32")[0]
    return np.clip(painted, 0, 1)


def _photos(count: int, size: int) -> list[np.ndarray]:
    """Bundled photos, square, [size, size, 3]."""
    return list(samples.crops(size)[:count])


def _of_networks(
    networks: models.Networks,
    beside: Sequence[np.ndarray],
    picture: np.ndarray,
    options: Mapping[str, Any],
    full: bool,
    pixels: float,
    seed: int,
) -> Iterator[Job]:
    generator, content, style = networks.generator, options["content"], options["style"]
    extractor = options["extractor"]

    def distance(output: np.ndarray, photo: np.ndarray) -> float:
        return metrics.content_distance(np.clip(output, 0, 1), photo, extractor=extractor)

    found = skips.connections(generator)
    if found:
        held_out = _photos(5 if full else 2, max(content.shape[:2]))
        yield Job(
            "skip connections",
            (2 ** len(found) + (len(found) + 1) * len(held_out)) * pixels,
            lambda found, tell: skips.explain(
                generator, [content], score=distance, held_out=held_out, inputs=beside
            ),
        )
    if networks.kind == "noise":
        yield Job(
            "noise",
            5 * pixels,
            lambda found, tell: skips.explain_noise(generator, [content], draws=8, seed=seed),
        )
    # Units at half the size: a stroke is as large in pixels there, and there are many passes.
    count, side = (64, 160) if full else (24, 112)
    photos = _photos(5, side)
    yield Job(
        "units",
        (count * 2 + 3 * 21) * 0.1 + 10,
        lambda found, tell: units.explain(
            generator,
            photos[:2],
            photos[2:] if full else photos[2:4],
            inputs=beside,
            extractor=extractor,
            style=style,
            ablate=count,
            seed=seed,
            tell=tell,
        ),
        count,
    )
    if networks.kind == "styles" and generator.inputs[1].shape[-1] > 1:
        yield Job(
            "style directions",
            30,
            lambda found, tell: style_directions.explain(
                generator, _photos(2 if full else 1, side), seed=seed
            ),
        )
    if full:
        yield Job(
            "weights of the losses",
            60,
            lambda found, tell: _loss_weights(networks, beside, style),
        )
    if networks.discriminator is not None:
        yield Job(
            "discriminator",
            60 * pixels,
            lambda found, tell: _attribution(networks, beside, picture, content, seed),
        )


def _attribution(
    networks: models.Networks,
    beside: Sequence[np.ndarray],
    picture: np.ndarray,
    content: np.ndarray,
    seed: int,
) -> Explanation:
    import tensorflow as tf

    discriminator, says = networks.discriminator, "a painting"
    assert discriminator is not None  # else there is no such job

    def score(batch: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(discriminator(batch), axis=[1, 2, 3])

    if networks.classes:
        style = int(beside[0][0].argmax())
        says = f"style {style}"

        def score(batch: tf.Tensor) -> tf.Tensor:
            # The odds of the class, as a logarithm.
            logits = discriminator(batch)
            others = tf.concat([logits[:, :style], logits[:, style + 1 :]], axis=1)
            return logits[:, style] - tf.reduce_logsumexp(others, axis=1)

    return attribution.explain(
        score, picture, content, says=says, against="the photo", model=discriminator, seed=seed
    )


def _loss_weights(
    networks: models.Networks, beside: Sequence[np.ndarray], style: np.ndarray
) -> Explanation:
    """E3 by the perceptual losses that a generator was trained on, as far as its options tell.

    Args:
        beside: what the generator takes beside the photo.
    """
    import tensorflow as tf

    options = networks.options
    content_layers = options.get("content_layers", losses.CONTENT_LAYER).split(",")
    weights = {f"{name}_weight": options.get(f"{name}_weight", WEIGHTS[name]) for name in WEIGHTS}
    extractor = features.vgg16(tuple(dict.fromkeys((*losses.STYLE_LAYERS, *content_layers))))
    of_style = extractor(style[None])
    step = steps.PerceptualStep(
        generator=networks.generator,
        extractor=extractor,
        content_extractor=extractor,
        style_grams={layer: losses.gram(of_style[layer]) for layer in losses.STYLE_LAYERS},
        optimizer=keras.optimizers.Adam(),
        content_layers=content_layers,
        **weights,
    )
    generator = networks.generator
    if beside:
        # A second input of the step would choose among Gram matrices: here it is closed over.
        step.generator = lambda photos, training=False: generator(
            [photos, tf.repeat(beside[0], len(photos), axis=0)], training=training
        )
    photos = [tf.constant(photo[None]) for photo in _photos(5, 160)]
    return loss_weights.explain(
        step.terms,
        generator,
        weights=step.weights,
        batches=[(photo,) for photo in photos[:3]],
        held_out=[(photo,) for photo in photos[3:]],
    )


def _layers_job(style: np.ndarray, extractor: keras.Model, full: bool, seed: int) -> Job:
    size, count = (96, 80) if full else (64, 30)
    layers = losses.STYLE_LAYERS if full else losses.STYLE_LAYERS[1:4:2]
    styles = {"this style": style}
    for name in drawn.STYLES:
        for number in range(5 if full else 2):
            styles[f"{name} {number}"] = drawn.style(name, 128, seed=number)
    for path in samples.photo_paths():
        styles[path.stem] = images.fit(images.read(path), 160)
    retrieved = ["this style"]
    if full:
        retrieved += [f"{name} {number}" for name in drawn.STYLES for number in range(2)]
    textures = len(layers) * len(retrieved) + 2
    return Job(
        "what layers see",
        textures * count * size**2 / 64**2 * 0.025,
        lambda found, tell: layer_meaning.explain(
            styles,
            extractor=extractor,
            judge=features.alexnet(),
            layers=layers,
            retrieved=retrieved,
            size=size,
            steps=count,
            seed=seed,
            tell=tell,
        ),
        textures * count,
    )
