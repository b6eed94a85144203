"""Optimisation-based style transfer: the picture itself is what is optimised.

Gatys, Ecker, Bethge, "A Neural Algorithm of Artistic Style" (https://arxiv.org/abs/1508.06576),
from coarse to fine as in Gatys et al. 2017, "Controlling Perceptual Factors in Neural Style
Transfer" (https://arxiv.org/abs/1611.07865), section 6.

    result = gatys.optimize(photo, [gatys.Style(painting)])
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tfstyle import features, images, losses, machine
from tfstyle.errors import ArgumentError
from tfstyle.gatys.balance import Balance
from tfstyle.gatys.lbfgs import Lbfgs
from tfstyle.gatys.objective import Objective, Region, Targets
from tfstyle.images.color import keep_color, match_color
from tfstyle.machine import TooLargeError

# Values that `optimize` takes in place of its defaults; any of them can still be given.
PRESETS = {
    # What `optimize` did up to 0.1.0: nearer to the photo, with finer and brighter grain.
    "classic": {
        "style_loss": "gram",
        "style_weight": 10.0,
        "tv_weight": 0.0,
        "min_size": 192,
        "scale_factor": 2.0,
        "style_depth": 5,
        "style_falloff": 1.0,
        "padding": "zero",
        "saliency": 0.0,
        "keep": "off",
        "steps": 100,
    },
    # Finer content and finer strokes: a face is a few dozen pixels, and a stroke as large as an eye
    # unmakes it.
    "portrait": {
        "content_layers": {"block2_conv2": 1.0, "block4_conv2": 1.0},
        "style_scale": 0.6,
        "target": {"content": 0.4},
    },
    "preview": {"size": 384, "min_size": 192, "scale_factor": 2.0, "steps": 6},
}

# Where no weight of the style is given: what the content loss shall be in the end, and the weight
# to begin with.
AUTO_TARGET = {"content": 0.5}
_FIRST_WEIGHT = 30.0

OPTIMIZERS = ("lbfgs", "adam", "adagrad")
KEEPS = ("faces", "off")
INITS = ("content", "uniform", "normal", "style")

# Learning rates for pixels in [0, 1]. Adam's is crowsonkb's style-transfer-pytorch's (0.02), a
# little larger since this runs fewer steps.
_LEARNING_RATES = {"adam": 0.03, "adagrad": 0.1}
# The gradient of a mean over pixels is some 1e-6 for each: Keras' constants, which keep these
# optimizers from dividing by 0, would outweigh it.
_OPTIMIZERS = {
    "adam": functools.partial(keras.optimizers.Adam, epsilon=1e-12),
    "adagrad": functools.partial(
        keras.optimizers.Adagrad, initial_accumulator_value=1e-14, epsilon=1e-14
    ),
}
# Below it the deepest layer has no positions left, or hardly any.
_MIN_SHORT_SIDE, _MIN_SIDE = 16, 32
# Sides of tiles that are tried, largest first: halves of a surrounding's cost each.
_TILES = (2048, 1024, 512)
# Arrays of the image's size that are alive at once, beside an L-BFGS history of ten pairs.
_ARRAYS, _HISTORY = 14, 20
# Where the gradients of the two precisions point in directions whose cosine is above this, bfloat16
# holds: its rounding is then smaller than what one step changes.
_SAME_DIRECTION = 0.97
# Losses, depths and falloffs for which it is known to hold where a backbone says so. With the
# second, 40 photos with a style each, from the photo and from noise: cosine 0.978 to 1, median
# 0.999.
_BFLOAT16_KNOWN = (("gram", 5, 1.0), ("wasserstein", 4, 0.7))
_TRIAL_SIDE = 80


@dataclasses.dataclass(frozen=True)
class Style:
    """An image whose style is wanted, how much of it, and where.

    Args:
        image: float RGB [H, W, 3] in [0, 1].
        weight: above 0; the weights of all styles are scaled to sum 1.
        mask: [h, w] in [0, 1], the region of the content that shall take the style on (1: fully);
            brought to the content's size. Everywhere where None.
        style_mask: [h, w] in [0, 1], the region of the style image whose statistics count.
    """

    image: np.ndarray
    weight: float = 1.0
    mask: np.ndarray | None = None
    style_mask: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a callback gets after every step.

    Args:
        scale, scales: which of the scales, from 0, and how many there are.
        size: (height, width) of this scale.
        step, steps: from 1, within this scale, and the most there will be.
        losses: {name: loss}, unweighted: "content", "style", "tv", and by layer
            ("style/block1_conv1"); "total" is the weighted sum.
        image: the picture so far, float32 [height, width, 3] in [0, 1]: what the result would be,
            at this scale's size.
        seconds: since the beginning.
    """

    scale: int
    scales: int
    size: tuple[int, int]
    step: int
    steps: int
    losses: dict[str, float]
    image: np.ndarray
    seconds: float


@dataclasses.dataclass(frozen=True)
class Result:
    """The picture and how it came to be.

    Args:
        image: float32 RGB [H, W, 3] in [0, 1], of the size asked for.
        losses: of the last step, as in `Progress`.
        steps: evaluations of the loss, over all scales.
        seconds: in all.
        stopped: why: "steps", "content_threshold", "no improvement", "time_budget" or "callback".
        precision: of the convolutions, "float32" or "bfloat16".
        style_weight: of the last step.
    """

    image: np.ndarray
    losses: dict[str, float]
    steps: int
    seconds: float
    stopped: str
    precision: str
    style_weight: float


def optimize(
    content: np.ndarray,
    styles: Sequence[Style],
    *,
    backbone: str = "vgg16",
    weights: str | None = None,
    pooling: Literal["max", "average"] = "max",
    padding: Literal["symmetric", "zero"] = "symmetric",
    content_layers: Mapping[str, float] | Sequence[str] | None = None,
    style_layers: Mapping[str, float] | Sequence[str] | None = None,
    content_weight: float = 1.0,
    style_weight: float | None = None,
    tv_weight: float = 30.0,
    target: Mapping[str, float] | Literal["auto", "off"] = "auto",
    style_loss: Literal["gram", "wasserstein"] = "wasserstein",
    style_depth: int = 4,
    style_falloff: float = 0.7,
    saliency: float = 1.0,
    keep: str | np.ndarray = "faces",
    formula: Literal["relative", "gatys"] = "relative",
    size: int | None = 512,
    min_size: int = 128,
    scale_factor: float = 1.5,
    steps: int = 60,
    optimizer: Literal["lbfgs", "adam", "adagrad"] = "lbfgs",
    learning_rate: float | None = None,
    init: str | np.ndarray = "content",
    averaging: float = 0.0,
    color: Literal["style", "content", "match"] = "style",
    style_scale: float = 1.0,
    content_threshold: float | None = None,
    patience: int | None = None,
    time_budget: float | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    jit: bool = False,
    tile: int | Literal["auto", "off"] = "auto",
    seed: int = 0,
    callback: Callable[[Progress], bool | None] | None = None,
) -> Result:
    """Paints the content image in the style of others.

    Two runs with the same arguments on the same machine give the same picture, unless `time_budget`
    decides when to stop.

    Args:
        content: float RGB [H, W, 3] in [0, 1].
        styles: one or more.
        backbone: a name of `features.BACKBONES`; "vgg16" is bundled.
        weights: a file with the backbone's weights; by default those of ImageNet, which keras
            downloads for all but "vgg16".
        pooling: "average" gives smoother pictures than the "max" the network was trained with
            (Gatys et al. 2015, section 2).
        padding: of the backbone's convolutions at the image's border. "symmetric" mirrors it; the
            "zero" that the network was trained with makes marks along it.
        content_layers, style_layers: names, or {name: weight}, of the backbone's layers; weights
            are scaled to sum 1. The backbone's defaults where None.
        content_weight, style_weight, tv_weight: of the losses. Only their ratios matter. Where
            there is a target, style_weight is the one to begin with; None leaves it to that.
        target: {name: loss} that the picture shall end at, of "content" or of "style": the weight
            of the style is moved until it does, for each pair of photo and painting another.
            "auto" is `AUTO_TARGET` where no style_weight is given, "off" leaves the weights alone.
        style_loss: "gram" compares Gram matrices, "wasserstein" mean and covariance.
        style_depth: where style_layers are the backbone's, how many of them, from the first. The
            fifth of VGG sees things rather than strokes: with it the painting's own turn up.
        style_falloff: likewise, the weight of each relative to that of the one before: below 1 the
            early ones, which hold strokes and colours, count more.
        saliency: how far the content loss is one of what stands out in the photo (see
            `losses.saliency`), from 0, all of it alike, to 1: a bird keeps its shape, and the sky
            is free for strokes.
        keep: what stays recognisable whatever the style does: "faces", those that
            `images.find_faces` finds; a region [h, w] in [0, 1] of the photo; or "off", nothing
            more than elsewhere. Finer features (block1_conv2 and block2_conv2 of VGG16) may
            differ there from the photo's only so far. The formula "gatys" keeps nothing.
        formula: "relative" has losses that do not depend on size and layer; with "gatys" they are
            the paper's own, and content_weight and style_weight its alpha and beta.
        size: longest side of the picture in pixels, larger or smaller than the photo; None keeps
            the photo's.
        min_size: longest side of the coarsest scale is at least this many pixels.
        scale_factor: from scale to scale, above 1.
        steps: evaluations of the loss at the last scale, at most. A coarser one takes no longer
            than the last, and at most 60 of them, or 60 % of `steps` where that is more.
        optimizer: "lbfgs" needs the fewest steps.
        learning_rate: of adam (0.03 by default) and adagrad (0.1), in units of the range [0, 1].
        init: start from the "content"; from "uniform" or "normal" noise; from noise with the
            "style"'s mean and covariance of colours; or from an image [h, w, 3].
        averaging: decay of an exponential average over the steps' pictures, which is then the
            result; 0 takes the last picture. It calms adam and adagrad (0.9 or more).
        color: "style" takes the style's colours on; "content" keeps the photo's, by luminance
            transfer at the end; "match" first gives the style image the photo's colours.
        style_scale: the style image's longest side, relative to the picture's. Larger is coarser
            strokes. A style image is enlarged beyond its own pixels only above 1.
        content_threshold: stop at the last scale when the content loss falls to this. It rises
            first where the picture starts from the content, at a loss of 0.
        patience: stop a scale when the total has not fallen by 0.1 % for this many steps.
        time_budget: seconds from the call to its return, about.
        precision: of the convolutions; Gram matrices are float32 always. "auto" is bfloat16 where
            the processor has it in hardware and a trial finds the same gradients, else float32.
        jit: compile with XLA: seldom faster on a CPU.
        tile: side in pixels of the tiles in which large images are computed, which changes memory
            and time but not the result; "auto" where the memory asks for it, "off" never.
        seed: of noise.
        callback: gets a `Progress` after every step; True stops there.

    On a CPU a step takes a third less where the process has called `machine.keep_freed_memory`.

    Raises:
        ValueError: for arguments that cannot be; features.WeightsError where there are no weights.
        TooLargeError: where the memory does not suffice even in tiles, before anything starts.
    """
    clock = _Clock(time_budget)
    content = _image(content, "content")
    _check(
        styles,
        optimizer=optimizer,
        color=color,
        scale_factor=scale_factor,
        steps=steps,
        size=size,
        min_size=min_size,
        averaging=averaging,
        style_scale=style_scale,
        patience=patience,
        style_depth=style_depth,
        style_falloff=style_falloff,
        saliency=saliency,
        weights={
            "content_weight": content_weight,
            "style_weight": 0.0 if style_weight is None else style_weight,
            "tv_weight": tv_weight,
        },
    )
    balance = _balance(target, given=style_weight is not None or formula == "gatys")
    if style_weight is None:
        style_weight = _FIRST_WEIGHT
    if backbone not in features.BACKBONES:
        raise ArgumentError(f"backbone {backbone!r}: give {', '.join(features.BACKBONES)}")
    network = features.BACKBONES[backbone]
    as_known = (
        pooling == "max"
        and (style_loss, style_depth, style_falloff) in _BFLOAT16_KNOWN
        and not (weights or style_layers or content_layers)
    )
    if style_layers is None:
        style_layers = losses.falling(network.style_layers, style_depth, style_falloff)
    style_layers = _normalised(style_layers, "style_layers")
    region = None if formula == "gatys" else _kept(keep, content)
    content_layers = _normalised(
        network.content_layers if content_layers is None else content_layers, "content_layers"
    )
    kept_layers = network.kept_layers if region is not None else ()
    kept_layers = tuple(layer for layer in kept_layers if layer not in content_layers)

    @functools.cache
    def extractor(dtype: str) -> keras.Model:
        return network.build(
            list(dict.fromkeys([*style_layers, *content_layers, *kept_layers])),
            weights=weights,
            pooling=pooling,
            padding=padding,
            dtype={"bfloat16": "mixed_bfloat16"}.get(dtype, dtype),
        )

    def objective(dtype: str, compiled: bool = True) -> Objective:
        return Objective(
            extractor(dtype),
            content_layers=content_layers,
            style_layers=style_layers,
            content_weight=content_weight,
            style_weight=style_weight,
            tv_weight=tv_weight,
            style_loss=style_loss,
            formula=formula,
            saliency=saliency,
            kept_layers=kept_layers,
            compiled=compiled,
            jit=jit,
        )

    styles = [
        dataclasses.replace(style, image=_image(style.image, f"style {i + 1}"))
        for i, style in enumerate(styles)
    ]
    final = _final_size(content.shape[:2], size)
    if math.prod(final) * _array_bytes(optimizer) > machine.usable_memory():
        # Refused before anything of that size is made: a photo may be enlarged a hundred times.
        _tile(tile, objective("float32"), final, optimizer)
    content = images.resize(content, final)
    if color == "match":
        styles = [
            dataclasses.replace(style, image=match_color(style.image, content)) for style in styles
        ]
    precision = _precision(precision)
    if precision == "auto":
        holds = as_known and network.bfloat16_holds
        if not holds:
            holds = _bfloat16_holds(objective, content, styles, style_scale)
        precision = "bfloat16" if holds else "float32"
    judge = objective(precision)
    side = _tile(tile, judge, content.shape[:2], optimizer)

    rng = np.random.default_rng(seed)
    sizes = _sizes(content.shape[:2], min_size, scale_factor)
    state: Any = None
    image: np.ndarray | None = None
    total_steps, stopped = 0, "steps"
    found: dict[str, float] = {}
    for scale, here in enumerate(sizes):
        last = scale == len(sizes) - 1
        small = images.resize(content, here) if here != content.shape[:2] else content
        targets = judge.targets(
            small,
            _regions(styles, here, style_scale),
            keep=None if region is None else _mask(region, here),
            tile=side,
        )
        if image is None:
            image = _start(init, small, styles, rng)
        else:
            image = _enlarged(image, small, detail=isinstance(init, str) and init == "content")
        walk = _Walk(
            judge=judge,
            targets=targets,
            tile=side,
            scale=(scale, len(sizes), here),
            steps=_steps(steps, here, content.shape[:2]),
            patience=patience,
            balance=balance,
            content_threshold=content_threshold if last else None,
            deadline=clock.deadline(here, sizes[scale:]),
            averaging=averaging,
            finish=functools.partial(keep_color, content=small)
            if color == "content"
            else lambda image: image,
            callback=callback,
            clock=clock,
        )
        image, state = walk.run(image, optimizer, learning_rate, state)
        total_steps += walk.step
        found, stopped = walk.losses, walk.stopped
        if stopped == "callback" or clock.over():
            break
    assert image is not None  # there is one scale at least
    if image.shape[:2] != content.shape[:2]:
        image = images.resize(image, content.shape[:2])
    if color == "content":
        image = keep_color(image, content)
    return Result(
        image, found, total_steps, clock.seconds(), stopped, precision, judge.style_weight
    )


class _Clock:
    """Seconds since the beginning, and how many of them a scale may have."""

    def __init__(self, budget: float | None) -> None:
        if budget is not None and not budget > 0:
            raise ArgumentError(f"time_budget {budget}: give more than 0 seconds")
        self._start, self._budget = time.monotonic(), budget

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def over(self) -> bool:
        return self._budget is not None and self.seconds() >= self._budget

    def deadline(self, size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> float | None:
        """When a scale must end so that the later ones get their part: by their pixels, but no
        less than a third for the present one, which moves more than later ones."""
        if self._budget is None:
            return None
        share = math.prod(size) / sum(math.prod(other) for other in sizes)
        left = max(0.0, self._budget - self.seconds())
        return self.seconds() + max(share, 1 / 3) * left


class _Walk:
    """One scale: steps until something says stop, with the losses and the average on the way."""

    def __init__(
        self,
        *,
        judge: Objective,
        targets: Targets,
        tile: int | None,
        scale: tuple[int, int, tuple[int, int]],
        steps: int,
        patience: int | None,
        balance: Balance | None,
        content_threshold: float | None,
        deadline: float | None,
        averaging: float,
        finish: Callable[[np.ndarray], np.ndarray],
        callback: Callable[[Progress], bool | None] | None,
        clock: _Clock,
    ) -> None:
        self._judge, self._targets, self._tile = judge, targets, tile
        self._scale, self._steps, self._patience = scale, steps, patience
        self._threshold, self._deadline = content_threshold, deadline
        self._averaging, self._finish = averaging, finish
        self._callback, self._clock = callback, clock
        self._balance, self._marks = balance, balance.begin_scale(steps) if balance else {}
        self.step, self.stopped = 0, "steps"
        self.losses: dict[str, float] = {}
        self._latest: dict[str, float] = {}
        self._average: np.ndarray | None = None
        self._share = 0.0
        self._lowest, self._since, self._highest = math.inf, 0, 0.0
        self._longest_step, self._before = 0.0, clock.seconds()

    def run(
        self, image: np.ndarray, optimizer: str, learning_rate: float | None, state: Any
    ) -> tuple[np.ndarray, Any]:
        """(picture, state of the optimizer for the next scale)."""
        if optimizer == "lbfgs":
            solver = Lbfgs() if state is None else state.transferred(_resizer(image.shape[:2]))
            image = solver.minimize(self._evaluate, image, self._took)
            while self._corrected():
                image = solver.minimize(self._evaluate, image, self._took)
            if self.stopped == "steps" and self.step < self._steps:
                self.stopped = "no improvement"
        else:
            image, solver = self._descend(image, optimizer, learning_rate, state)
        return self._so_far(image), solver

    def _so_far(self, image: np.ndarray) -> np.ndarray:
        return image if self._average is None else self._average / self._share

    def _evaluate(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        self._latest, gradient = self._judge(image, self._targets, tile=self._tile)
        return self._latest["total"], gradient

    def _descend(
        self,
        image: np.ndarray,
        optimizer: str,
        learning_rate: float | None,
        state: keras.Optimizer | None,
    ) -> tuple[np.ndarray, keras.Optimizer]:
        variable = keras.Variable(image)
        solver = _OPTIMIZERS[optimizer](learning_rate or _LEARNING_RATES[optimizer])
        solver.build([variable])
        if state is not None:
            _carry_over(state, solver, image.shape[:2])
        while True:
            _, gradient = self._evaluate(image)
            solver.apply([tf.constant(gradient)], [variable])
            variable.assign(tf.clip_by_value(variable.value, 0.0, 1.0))
            image = variable.numpy()
            if self._took(image, True) and not self._corrected():
                return image, solver

    def _took(self, image: np.ndarray, is_new: bool) -> bool:
        """Takes note of one evaluation; True where it was the last, or the weight's turn comes."""
        self.step += 1
        now = self._clock.seconds()
        self._longest_step, self._before = max(self._longest_step, now - self._before), now
        if is_new:
            self.losses = self._latest
            if self._averaging:
                keep = self._averaging
                average = 0 if self._average is None else self._average
                self._average = keep * average + (1 - keep) * image
                self._share = keep * self._share + 1 - keep
        if not np.isfinite(self._latest["total"]) and is_new:
            raise ArgumentError(
                f"the loss became {self._latest['total']} at step {self.step}: give a smaller "
                "learning_rate, or precision float32"
            )
        self._highest = max(self._highest, self.losses["content"])
        if self.losses["total"] < self._lowest * 0.999:
            self._lowest, self._since = self.losses["total"], 0
        else:
            self._since += 1
        return self._is_last(image, now) or self.step in self._marks

    def _corrected(self) -> bool:
        """Corrects the weight of the style where its turn has come; whether it had."""
        share = self._marks.pop(self.step, None)
        if self.stopped != "steps" or self.step >= self._steps or not (self._balance and share):
            return False
        self._judge.style_weight = self._balance.corrected(
            self._judge.style_weight, self.losses, share
        )
        # The total is another one from here on.
        self._lowest, self._since = math.inf, 0
        return True

    def _is_last(self, image: np.ndarray, now: float) -> bool:
        scale, scales, size = self._scale
        stop: bool | None = False
        if self._callback:
            picture = self._finish(self._so_far(image))
            stop = self._callback(
                Progress(scale, scales, size, self.step, self._steps, self.losses, picture, now)
            )
        if stop:
            self.stopped = "callback"
        elif self._deadline is not None and now + self._longest_step > self._deadline:
            self.stopped = "time_budget"
        elif (
            self._threshold is not None
            and self.losses["content"] <= self._threshold < self._highest
        ):
            self.stopped = "content_threshold"
        elif self._patience is not None and self._since >= self._patience:
            self.stopped = "no improvement"
        return self.stopped != "steps" or self.step >= self._steps


def _carry_over(state: keras.Optimizer, solver: keras.Optimizer, size: tuple[int, int]) -> None:
    """The moments of one Keras optimizer, resized, into another, with its count of steps."""
    resized = _resizer(size)
    for old, new in zip(state.variables, solver.variables, strict=True):
        if len(old.shape) == 3:
            # A variance must not fall below 0 where the resize overshoots.
            value = resized(old.numpy())
            new.assign(
                np.maximum(value, 0) if "velocity" in old.path or "accum" in old.path else value
            )
        elif "learning_rate" not in old.path:
            new.assign(old.value)


def _resizer(size: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    def resized(array: np.ndarray) -> np.ndarray:
        return tf.image.resize(array, size, "bilinear").numpy()

    return resized


def _enlarged(image: np.ndarray, content: np.ndarray, detail: bool) -> np.ndarray:
    """The picture of a coarser scale at the next one's size.

    With `detail` it gets what the photo has at this scale and lacked at the one before: less to
    find again (content distance 0.95 in place of 1.01 after three steps, on five pairs).
    """
    coarse = image.shape[:2]
    image = images.resize(image, content.shape[:2])
    if detail:
        lost = content - images.resize(images.resize(content, coarse), content.shape[:2])
        image = np.clip(image + lost, 0, 1)
    return image


def _start(
    init: str | np.ndarray, content: np.ndarray, styles: Sequence[Style], rng: np.random.Generator
) -> np.ndarray:
    shape = content.shape
    if not isinstance(init, str):
        return images.resize(_image(init, "init"), shape[:2])
    if init == "content":
        return content.copy()
    if init == "uniform":
        return rng.uniform(0, 1, shape).astype(np.float32)
    normal = rng.normal(0, 1, shape)
    if init == "normal":
        return np.clip(0.5 + 0.2 * normal, 0, 1).astype(np.float32)
    if init == "style":
        pixels = np.concatenate([style.image.reshape(-1, 3) for style in styles])
        spread = np.linalg.cholesky(np.cov(pixels.T) + 1e-6 * np.eye(3))
        return np.clip(pixels.mean(0) + normal @ spread.T, 0, 1).astype(np.float32)
    raise ArgumentError(f"init {init!r}: give {', '.join(INITS)} or an image")


def _regions(styles: Sequence[Style], size: tuple[int, int], style_scale: float) -> list[Region]:
    total = sum(style.weight for style in styles)
    regions = []
    for style in styles:
        own = max(style.image.shape[:2])
        side = round(min(max(size) * style_scale, own * max(1.0, style_scale)))
        shape = style.image.shape[:2]
        there = images.scaled_size(shape, max(side, _MIN_SHORT_SIDE * max(shape) / min(shape)))
        regions.append(
            Region(
                style=images.resize(style.image, there),
                weight=style.weight / total,
                style_mask=None if style.style_mask is None else _mask(style.style_mask, there),
                mask=None if style.mask is None else _mask(style.mask, size),
            )
        )
    return regions


def _kept(keep: str | np.ndarray, content: np.ndarray) -> np.ndarray | None:
    """The region of the content that `keep` of `optimize` means; None for nothing."""
    if isinstance(keep, str):
        if keep not in KEEPS:
            raise ArgumentError(f"keep {keep!r}: give {', '.join(KEEPS)} or a region [h, w]")
        return images.face_mask(content) if keep == "faces" else None
    region = np.asarray(keep, np.float32)
    if region.ndim != 2 or not region.size or not (region.min() >= 0 and region.max() <= 1):
        raise ArgumentError(f"keep of shape {region.shape}: give [h, w] with values in [0, 1]")
    return region if region.any() else None


def _mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    mask = np.asarray(mask, np.float32)
    return images.resize(np.repeat(mask[..., None], 3, axis=-1), size)[..., 0]


def _sizes(size: tuple[int, int], min_size: int, factor: float) -> list[tuple[int, int]]:
    """Sizes from coarse to fine, ending in `size`."""
    sizes: list[tuple[int, int]] = []
    longest: float = max(size)
    while (
        not sizes
        or longest >= max(min_size, _MIN_SIDE)
        and (min(images.scaled_size(size, longest)) >= _MIN_SHORT_SIDE)
    ):
        sizes.append(images.scaled_size(size, round(longest)))
        longest /= factor
    return sizes[::-1]


def _steps(steps: int, here: tuple[int, int], final: tuple[int, int]) -> int:
    """Steps of a scale. Coarse ones are cheap, and fine ones cannot do their work."""
    if here == final:
        return steps
    no_longer = steps * math.prod(final) / math.prod(here)
    return round(max(0.6 * steps, min(60, no_longer)))


def _final_size(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    final = images.scaled_size(size, longest or max(size))
    if min(final) < _MIN_SHORT_SIDE:
        raise ArgumentError(
            f"a picture of {final[1]}x{final[0]} pixels: the deepest layer needs at least "
            f"{_MIN_SHORT_SIDE} on each side. Give a larger size, or a less narrow photo."
        )
    return final


def _balance(target: Mapping[str, float] | str, *, given: bool) -> Balance | None:
    """What leads to a target; None where the weights stay as they are."""
    if isinstance(target, str):
        if target not in ("auto", "off"):
            raise ArgumentError(
                f"target {target!r}: give auto, off, or content or style and a loss"
            )
        return None if given or target == "off" else Balance(AUTO_TARGET)
    return Balance(target)


def _precision(
    precision: Literal["auto", "float32", "bfloat16"],
) -> Literal["auto", "float32", "bfloat16"]:
    """The precision to use; "auto" where bfloat16 would be faster."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise ArgumentError(f"precision {precision!r}: give auto, float32 or bfloat16")
    if precision == "auto" and (
        tf.config.list_physical_devices("GPU") or not machine.has_fast_bfloat16()
    ):
        return "float32"
    return precision


def _bfloat16_holds(
    objective: Callable[..., Objective],
    content: np.ndarray,
    styles: Sequence[Style],
    style_scale: float,
) -> bool:
    """Whether it does, tried on a small image."""
    shape = content.shape[:2]
    small = images.resize(content, images.scaled_size(shape, _TRIAL_SIDE * max(shape) / min(shape)))
    regions = _regions(styles, small.shape[:2], style_scale)
    gradients = []
    for dtype in ("float32", "bfloat16"):
        # Once each: a graph would take longer to make than it saves.
        judge = objective(dtype, compiled=False)
        gradients.append(judge(small, judge.targets(small, regions))[1].ravel())
    one, other = gradients
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return bool(np.vdot(one, other) > _SAME_DIRECTION * lengths)


def _array_bytes(optimizer: str) -> int:
    """Bytes for each pixel of the picture that are taken whatever the backbone and the tiles."""
    return 12 * (_ARRAYS + (_HISTORY if optimizer == "lbfgs" else 0))


def _tile(tile: int | str, judge: Objective, size: tuple[int, int], optimizer: str) -> int | None:
    """The side of tiles to use, None for none; refuses what does not fit."""
    if isinstance(tile, str) and tile not in ("auto", "off"):
        raise ArgumentError(f"tile {tile!r}: give auto, off, or a side in pixels")
    pixels, free = math.prod(size), machine.usable_memory()
    chosen: int | None = None
    # Bytes for each pixel of the picture, and those that a tile takes whatever the picture's size.
    fixed = _array_bytes(optimizer)
    each, once = fixed + judge.bytes_per_pixel(), 0.0
    if isinstance(tile, int) or tile == "auto" and pixels * each > free:
        halo, _ = features.receptive_field(judge.extractor)
        # Content features are kept for the whole image; the rest is of one tile.
        each = fixed + judge.kept_bytes_per_pixel()
        for side in (tile,) if isinstance(tile, int) else _TILES:
            chosen = side
            once = min(pixels, (side + 2 * halo) ** 2) * judge.bytes_per_pixel()
            if pixels * each + once <= free:
                break
    needed = pixels * each + once
    if needed > free:
        scale = math.sqrt(max(free - once, 0) / (pixels * each))
        height, width = (max(1, int(side * scale)) for side in size)
        raise TooLargeError(
            f"{size[1]}x{size[0]} pixels need about {needed / 1e9:.1f} GB of memory and "
            f"{machine.usable_memory() / 1e9:.1f} GB are free. Make the picture at most "
            f"{width}x{height}" + (", or let it be tiled" if chosen is None else ""),
            (height, width),
        )
    return chosen


def _normalised(layers: Mapping[str, float] | Sequence[str], name: str) -> dict[str, float]:
    layers = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    total = sum(layers.values())
    if not layers or min(layers.values()) < 0 or not total > 0:
        raise ArgumentError(f"{name} {layers}: give at least one, and weights of at least 0")
    return {layer: weight / total for layer, weight in layers.items()}


def _image(image: np.ndarray, name: str) -> np.ndarray:
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ArgumentError(f"{name} of shape {image.shape}: give floats [H, W, 3] in [0, 1]")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ArgumentError(f"{name} with values outside [0, 1]: give floats in that range")
    return image


def _check(
    styles: Sequence[Style],
    *,
    optimizer: str,
    color: str,
    scale_factor: float,
    steps: int,
    size: int | None,
    min_size: int,
    averaging: float,
    style_scale: float,
    style_depth: int,
    style_falloff: float,
    saliency: float,
    patience: int | None,
    weights: Mapping[str, float],
) -> None:
    if not styles:
        raise ArgumentError("no styles: give at least one")
    for i, style in enumerate(styles):
        if not style.weight > 0:
            raise ArgumentError(f"weight {style.weight} of style {i + 1}: give more than 0")
        for name, mask in (("mask", style.mask), ("style_mask", style.style_mask)):
            if mask is not None and not (np.ndim(mask) == 2 and np.max(mask) > 0):
                raise ArgumentError(f"{name} of style {i + 1}: give [h, w] in [0, 1], not all 0")
    if optimizer not in OPTIMIZERS:
        raise ArgumentError(f"optimizer {optimizer!r}: give {', '.join(OPTIMIZERS)}")
    if color not in ("style", "content", "match"):
        raise ArgumentError(f"color {color!r}: give style, content or match")
    for name, weight in weights.items():
        if not weight >= 0 or not math.isfinite(weight):
            raise ArgumentError(f"{name} {weight}: give at least 0")
    if not scale_factor > 1:
        raise ArgumentError(f"scale_factor {scale_factor}: give more than 1")
    for name, value in (("steps", steps), ("patience", patience), ("style_depth", style_depth)):
        if value is not None and value < 1:
            raise ArgumentError(f"{name} {value}: give at least 1")
    for name, value in (("size", size), ("min_size", min_size)):
        if value is not None and value < _MIN_SIDE:
            raise ArgumentError(f"{name} {value}: give at least {_MIN_SIDE} pixels")
    if not 0 <= averaging < 1:
        raise ArgumentError(f"averaging {averaging}: give 0 up to, but not, 1")
    if not style_falloff > 0:
        raise ArgumentError(f"style_falloff {style_falloff}: give more than 0")
    if not 0 <= saliency <= 1:
        raise ArgumentError(f"saliency {saliency}: give 0 to 1")
    if not style_scale > 0:
        raise ArgumentError(f"style_scale {style_scale}: give more than 0")
