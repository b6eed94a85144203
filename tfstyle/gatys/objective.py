"""The loss of an image against content and styles, and its gradient; whole or in tiles.

A style loss looks at the whole image through means over positions, and means add up. So the image
is visited in tiles twice: once forward, to add up the statistics of all tiles; then, with the
derivative of the loss by those statistics known, forward and backward, tile by tile. A tile is
computed with as much surroundings as its features depend on, so loss and gradient are those of the
whole image.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tfstyle import features, losses
from tfstyle.errors import ArgumentError

# Peak memory of one forward and backward pass, in units of the bytes that all layers' outputs take,
# with room to spare: benchmarks/memory.py finds 1.2 for vgg16 in float32 and 1.35 in bfloat16.
_PASS_FACTOR = 1.5
# Weight of what is kept, relative to that of the style, which it is to hold out against, and the
# error, relative to the photo's energy, up to which it is painted like all else.
KEPT, KEPT_FREE = 0.4, 0.2
# And how much the content counts there at its own layers: little, or a large face would stand for
# all of the photo where the weights are moved by the content.
_ELSEWHERE = 0.9

Layered = Mapping[str, tf.Tensor]
# {layer: (features of the content, weights of its positions)}
Contents = Mapping[str, tuple[tf.Tensor, tf.Tensor]]
# {layer: (sum of the features, sum of their products, count of positions)}
Sums = Mapping[str, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Region:
    """A style at the size at which it is imitated, and where.

    Args:
        style: float32 [h, w, 3] in [0, 1].
        weight: share of the style loss.
        style_mask: [h, w] in [0, 1], which part of the style counts; all of it where None.
        mask: [H, W] in [0, 1], which part of the image shall take the style on; all where None.
    """

    style: np.ndarray
    weight: float = 1.0
    style_mask: np.ndarray | None = None
    mask: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Targets:
    """What an image of one size is compared with; made by `Objective.targets`."""

    size: tuple[int, int]
    content: Contents  # features [1, h, w, C], weights [1, h, w, 1]
    content_factors: dict[str, tf.Tensor]  # layer: scalar that normalises 1/2 sum w (F - P)^2
    means: dict[str, tf.Tensor]  # layer: [styles, C]
    grams: dict[str, tf.Tensor]  # layer: [styles, C, C]
    roots: dict[str, tf.Tensor]  # layer: of the covariances, [styles, C, C]; empty: not compared
    weights: list[tf.Tensor]  # a scalar for each style
    masks: dict[str, tf.Tensor]  # layer: [styles, h, w, 1]; empty: all styles everywhere
    kept_share: tf.Tensor  # scalar: how much of the picture is to be kept


class Objective:
    """content_weight * content + style_weight * style + tv_weight * total variation.

    Gatys et al. 2015, eq. 7 (https://arxiv.org/abs/1508.06576), each term in the form chosen.
    """

    def __init__(
        self,
        extractor: keras.Model,
        *,
        content_layers: Mapping[str, float],
        style_layers: Mapping[str, float],
        content_weight: float = 1.0,
        style_weight: float = 10.0,
        tv_weight: float = 0.0,
        style_loss: Literal["gram", "wasserstein"] = "gram",
        formula: Literal["relative", "gatys"] = "relative",
        saliency: float = 0.0,
        kept_layers: Collection[str] = (),
        compiled: bool = True,
        jit: bool = False,
    ) -> None:
        """Nothing is computed yet.

        Where `targets` are to keep something, KEPT * style_weight * share * max(0, e - KEPT_FREE)^2
        is added for each of `kept_layers`: e is its error there, relative to the photo's energy
        there, and share the region's of the picture, so that a position is held alike in a small
        region and in a large one. The square is of the excess alone: a face is painted, too, but
        not beyond recognition, whatever the style weighs.

        Args:
            extractor: image [1, H, W, 3] -> {layer: features}, with the layers below.
            content_layers, style_layers: {layer: weight}.
            content_weight, style_weight, tv_weight: of the three terms.
            style_loss: "gram" compares second moments, "wasserstein" mean and covariance.
            formula: "relative" divides each layer's distance by the target's energy
                (`losses.content_loss`, `style_loss`, `wasserstein_style_loss`); "gatys" takes
                `losses.gatys_content_loss` and `gatys_style_loss`, as published.
            saliency: how far the content's positions are weighted by `losses.saliency`, from 0, all
                alike, to 1.
            kept_layers: compared only where `targets` are to keep something; none of the content's.
            compiled: make graphs, which pays from the third evaluation on.
            jit: compile them with XLA.

        Raises:
            ValueError: for the published form of the Wasserstein loss or of saliency, which do not
                exist.
        """
        if saliency and formula == "gatys":
            raise ArgumentError("formula gatys has no saliency: give saliency 0 with it")
        if style_loss == "wasserstein" and formula == "gatys":
            raise ArgumentError("formula gatys is of Gram matrices: give style_loss gram with it")
        self.extractor = extractor
        self.content_layers, self.style_layers = dict(content_layers), dict(style_layers)
        self._style_loss, self._formula, self._saliency = style_loss, formula, saliency
        weights = {"content": content_weight, "style": style_weight, "tv": tv_weight}
        self.kept_layers = tuple(kept_layers)
        self._weights = {
            name: tf.Variable(weight, trainable=False, dtype=tf.float32)
            for name, weight in weights.items()
        }
        self._compiled, self._jit = compiled, jit
        self._graphs: dict[tuple, Callable] = {}
        # Of each size once, not at every step: Keras runs the whole network symbolically for it.
        self._shapes = functools.cache(lambda size: extractor.compute_output_shape((1, *size, 3)))
        self._receptive_field = functools.cache(lambda: features.receptive_field(extractor))

    def bytes_per_pixel(self) -> float:
        """Memory that a forward and backward pass over an untiled image takes, forecast."""
        return _PASS_FACTOR * _activation_bytes(self.extractor)

    def kept_bytes_per_pixel(self) -> float:
        """Memory of the content's features, which are kept whole even where the rest is tiled."""
        shapes = self._shapes((256, 256))
        return sum(4 * math.prod(shapes[layer]) for layer in self._compared) / 256**2

    @property
    def style_weight(self) -> float:
        """Of the style; it may be set between two evaluations."""
        return float(self._weights["style"])

    @style_weight.setter
    def style_weight(self, weight: float) -> None:
        self._weights["style"].assign(weight)

    def targets(
        self,
        content: np.ndarray,
        regions: Sequence[Region],
        *,
        keep: np.ndarray | None = None,
        tile: int | None = None,
    ) -> Targets:
        """Features of the content image and statistics of the styles.

        Args:
            content: float32 [H, W, 3] in [0, 1].
            regions: the styles; their masks have the content's or the style's size.
            keep: [H, W] in [0, 1], where `kept_layers` are compared.
            tile: side of a tile in pixels; None for images that fit at once.
        """
        size = content.shape[:2]
        stored = {
            layer: np.empty(shape, np.float32)
            for layer, shape in self._shapes(size).items()
            if layer in self._compared
        }
        for part in self._parts(size, tile):
            found = _cut(self._run(self._features, part.crop(content)), part.windows())
            for layer, whole in stored.items():
                whole[:, *part.place(layer)] = found[layer]
        contents = {layer: tf.constant(found) for layer, found in stored.items()}
        weights = {
            layer: self._content_weights(layer, found, keep) for layer, found in contents.items()
        }
        energies = {
            layer: float(tf.reduce_sum(weights[layer] * tf.square(found)))
            for layer, found in contents.items()
        }
        statistics = [self._statistics(region.style, region.style_mask, tile) for region in regions]
        masks = [
            np.ones(size, np.float32) if region.mask is None else region.mask for region in regions
        ]
        if all(region.mask is None for region in regions):
            masks = []
        relative = self._formula == "relative"
        means = _stacked([means for means, _ in statistics])
        grams = _stacked([grams for _, grams in statistics])
        roots = {}
        if self._style_loss == "wasserstein":
            roots = {layer: losses.covariance_root(means[layer], grams[layer]) for layer in means}
        return Targets(
            size=size,
            content={layer: (found, weights[layer]) for layer, found in contents.items()},
            content_factors={
                layer: tf.constant((2 / energy if energy else 0.0) if relative else 1.0)
                for layer, energy in energies.items()
            },
            means=means,
            grams=grams,
            roots=roots,
            weights=[tf.constant(region.weight, tf.float32) for region in regions],
            masks=self._layer_masks(size, masks),
            kept_share=tf.constant(0.0 if keep is None else np.mean(keep), tf.float32),
        )

    def __call__(
        self, image: np.ndarray, targets: Targets, *, tile: int | None = None
    ) -> tuple[dict[str, float], np.ndarray]:
        """Losses and gradient at an image.

        Args:
            image: float32 [H, W, 3] in [0, 1], of the size of `targets`.
            targets: of `self.targets`.
            tile: as there; other tiles give the same result.

        Returns:
            {name: loss}: unweighted for "content", "style", "tv" and for each layer
            ("content/block4_conv2"), weighted for "total"; and the gradient of "total",
            float32 [H, W, 3].

        Raises:
            ValueError: for an image of another size.
            MemoryError: where the memory runs out.
        """
        if image.shape[:2] != tuple(targets.size):
            raise ArgumentError(
                f"image of {image.shape[:2]} and targets of {targets.size}: give one size"
            )
        arguments = {key: value for key, value in vars(targets).items() if key != "size"}
        parts = self._parts(image.shape[:2], tile)
        if len(parts) == 1:
            found, gradient = self._run(self._whole, tf.constant(image[None]), arguments)
            return _floats(found), gradient.numpy()[0]
        sums, errors = self._added_up(image, targets.masks, parts, targets.content)
        style, by_layer, adjoints = self._run(self._from_sums, sums, arguments)
        content = {layer: targets.content_factors[layer] * errors[layer] for layer in errors}
        pulls = self._run(self._pulls, content, targets.kept_share)
        factors = {layer: pulls[layer] * targets.content_factors[layer] for layer in pulls}
        tv, tv_gradient = self._run(self._tv_gradient, tf.constant(image[None]))
        gradient = tv_gradient.numpy()[0]
        for part in parts:
            here = part.crop_slices()
            gradient[here] += self._run(
                self._tile_gradient,
                part.crop(image),
                part.windows(),
                part.masks(targets.masks),
                part.contents(targets.content),
                adjoints,
                factors,
            ).numpy()[0]
        return _floats(self._summary(content, style, by_layer, tv, targets.kept_share)), gradient

    def _run(self, function: Callable, *arguments: Any) -> Any:
        """Calls one of the functions below, as a graph for images of every size where compiled."""
        if not self._compiled:
            return function(*arguments)
        signature = tf.nest.map_structure(_any_size, arguments)
        key = function.__name__, tuple(tf.nest.flatten(signature))
        if key not in self._graphs:
            self._graphs[key] = tf.function(
                function, input_signature=signature, autograph=False, jit_compile=self._jit or None
            )
        try:
            return self._graphs[key](*arguments)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(error.message) from error

    # What follows runs inside tf.function: extractor and arithmetic, no Python values of tensors.

    def _whole(
        self, image: tf.Tensor, targets: Mapping[str, Any]
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            found = self._features(image)
            statistics = {
                layer: _moments(found[layer], targets["masks"].get(layer))
                for layer in self.style_layers
            }
            style, by_layer = self._style(statistics, targets)
            errors = _errors(found, targets["content"])
            content = {layer: targets["content_factors"][layer] * errors[layer] for layer in errors}
            tv = losses.total_variation(image)
            summary = self._summary(content, style, by_layer, tv, targets["kept_share"])
        return summary, tape.gradient(summary["total"], image)

    def _features(self, image: tf.Tensor) -> Layered:
        return self.extractor(image, training=False)

    def _sums(
        self, image: tf.Tensor, windows: Layered, masks: Layered, contents: Contents
    ) -> tuple[Sums, Layered]:
        """Of a tile: sums of the statistics over its own positions, and of the content's error."""
        found = _cut(self._features(image), windows)
        return self._style_sums(found, masks), _errors(found, contents)

    def _style_sums(self, found: Layered, masks: Layered) -> Sums:
        sums = {}
        for layer in self.style_layers:
            # Ones where there is no mask: a tile at the border may have no position of its own.
            mask = masks[layer] if masks else tf.ones_like(found[layer][..., :1])
            mean, gram = _moments(found[layer], mask)
            count = tf.reduce_sum(mask, axis=[1, 2, 3])
            sums[layer] = mean * count[:, None], gram * count[:, None, None], count
        return sums

    def _from_sums(self, sums: Sums, targets: Mapping[str, Any]) -> tuple[tf.Tensor, Layered, Sums]:
        """The style loss, that of each layer, and the derivatives of the weighted one."""
        with tf.GradientTape() as tape:
            tape.watch(sums)
            style, by_layer = self._style(_averages(sums), targets)
            weighted = self._weights["style"] * style
        return style, by_layer, tape.gradient(weighted, sums, unconnected_gradients="zero")

    def _tile_gradient(
        self,
        image: tf.Tensor,
        windows: Layered,
        masks: Layered,
        contents: Contents,
        adjoints: Sums,
        factors: Layered,
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(image)
            found = _cut(self._features(image), windows)
            total = tf.zeros([])
            for layer, (mean, gram, _) in self._style_sums(found, masks).items():
                by_mean, by_gram, _ = adjoints[layer]
                total += tf.reduce_sum(by_mean * mean) + tf.reduce_sum(by_gram * gram)
            for layer, error in _errors(found, contents).items():
                total += factors[layer] * error
        return tape.gradient(total, image)

    def _tv_gradient(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            tv = losses.total_variation(image)
            weighted = self._weights["tv"] * tv
        return tv, tape.gradient(weighted, image)

    def _style(
        self, statistics: Mapping[str, tuple[tf.Tensor, tf.Tensor]], targets: Mapping[str, Any]
    ) -> tuple[tf.Tensor, Layered]:
        """The style loss, and that of each layer by itself."""
        by_layer = {}
        for layer in self.style_layers:
            means, grams = statistics[layer]
            total = tf.zeros([])
            for style, weight in enumerate(targets["weights"]):
                own = slice(style, style + 1) if targets["masks"] else slice(0, 1)
                known = {
                    key: {layer: targets[key][layer][style : style + 1]}
                    for key in ("means", "grams", "roots")
                    if targets[key]
                }
                total += weight * self._distance(layer, means[own], grams[own], **known)
            by_layer[layer] = total
        return tf.add_n(
            [self.style_layers[layer] * by_layer[layer] for layer in by_layer]
        ), by_layer

    def _distance(
        self,
        layer: str,
        mean: tf.Tensor,
        gram: tf.Tensor,
        *,
        means: Layered,
        grams: Layered,
        roots: Layered | None = None,
    ) -> tf.Tensor:
        """Of one layer's statistics [1, ...] from those of one style."""
        one = {layer: 1.0}
        if self._style_loss == "wasserstein":
            return losses.wasserstein_style_loss(
                means={layer: mean},
                grams={layer: gram},
                target_means=means,
                target_grams=grams,
                target_roots=roots,
                layer_weights=one,
            )
        function = losses.style_loss if self._formula == "relative" else losses.gatys_style_loss
        return function(grams={layer: gram}, targets=grams, layer_weights=one)

    def _summary(
        self,
        content: Layered,
        style: tf.Tensor,
        style_by_layer: Layered,
        tv: tf.Tensor,
        share: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        of_content = tf.add_n(
            [weight * content[layer] for layer, weight in self.content_layers.items()]
        )
        total = (
            self._held(content, share) + self._weights["style"] * style + self._weights["tv"] * tv
        )
        return {
            "total": total,
            "content": of_content,
            "style": style,
            "tv": tv,
            **{
                f"{'kept' if layer in self.kept_layers else 'content'}/{layer}": loss
                for layer, loss in content.items()
            },
            **{f"style/{layer}": loss for layer, loss in style_by_layer.items()},
        }

    # Tiles.

    def _parts(self, size: tuple[int, int], tile: int | None) -> "list[_Part]":
        if tile is None or max(size) <= tile:
            return [_Part(self._shapes(size), size, (0, size[0]), (0, size[1]), 0)]
        halo, stride = self._receptive_field()
        halo = -(-halo // stride) * stride
        side = max(stride, tile // stride * stride)
        shapes = self._shapes(size)
        return [
            _Part(shapes, size, rows, columns, halo)
            for rows in _cuts(size[0], side, stride)
            for columns in _cuts(size[1], side, stride)
        ]

    def _statistics(
        self, image: np.ndarray, mask: np.ndarray | None, tile: int | None
    ) -> tuple[Layered, Layered]:
        """({layer: means}, {layer: Gram matrices}) of a style image."""
        parts = self._parts(image.shape[:2], tile)
        masks = self._layer_masks(image.shape[:2], [] if mask is None else [mask])
        averages = _averages(self._added_up(image, masks, parts, {})[0])
        means = {layer: mean for layer, (mean, _) in averages.items()}
        return means, {layer: gram for layer, (_, gram) in averages.items()}

    def _added_up(
        self, image: np.ndarray, masks: Layered, parts: "Sequence[_Part]", contents: Contents
    ) -> tuple[Sums, Layered]:
        """({layer: sums of the statistics}, {layer: 1/2 squared error}) over all tiles."""
        added: Any = None
        for part in parts:
            of_part = self._run(
                self._sums,
                part.crop(image),
                part.windows(),
                part.masks(masks),
                part.contents(contents),
            )
            added = of_part if added is None else tf.nest.map_structure(tf.add, added, of_part)
        return added

    @property
    def _compared(self) -> tuple[str, ...]:
        """The layers whose features are compared with the content's, position by position."""
        return *self.content_layers, *self.kept_layers

    def _content_weights(self, layer: str, found: tf.Tensor, keep: np.ndarray | None) -> tf.Tensor:
        """Of the positions of a layer of the content, [1, h, w, 1]."""
        kept = tf.zeros((1, *found.shape[1:3], 1))
        if keep is not None:
            whole = tf.constant(keep, tf.float32)[None, ..., None]
            kept = tf.image.resize(whole, found.shape[1:3], method="area")
        if layer in self.kept_layers:
            return kept
        return (1 + self._saliency * (losses.saliency(found) - 1)) * (1 - _ELSEWHERE * kept)

    def _held(self, content: Layered, share: tf.Tensor) -> tf.Tensor:
        """What content and kept layers add to the total."""
        total = self._weights["content"] * tf.add_n(
            [weight * content[layer] for layer, weight in self.content_layers.items()]
        )
        for layer in self.kept_layers:
            excess = tf.square(tf.nn.relu(content[layer] - KEPT_FREE))
            total += KEPT * self._weights["style"] * share * excess / len(self.kept_layers)
        return total

    def _pulls(self, content: Layered, share: tf.Tensor) -> Layered:
        """The derivatives of `_held` by the relative error of each layer."""
        with tf.GradientTape() as tape:
            tape.watch(content)
            total = self._held(content, share)
        return tape.gradient(total, content)

    def _layer_masks(
        self, size: tuple[int, int], masks: Sequence[np.ndarray]
    ) -> dict[str, tf.Tensor]:
        """Masks [H, W] as weights of each layer's positions: {layer: [masks, h, w, 1]}."""
        if not masks:
            return {}
        stacked = tf.stack([tf.constant(mask, tf.float32) for mask in masks])[..., None]
        shapes = self._shapes(size)
        return {
            layer: tf.image.resize(stacked, shapes[layer][1:3], method="area")
            for layer in self.style_layers
        }


@dataclasses.dataclass(frozen=True)
class _Part:
    """A tile: the rows and columns of the image that are its own, and a crop that is theirs.

    `rows`, `columns` begin at multiples of the stride; so does the crop, which is wider by `halo`.
    """

    shapes: dict[str, tuple[int, ...]]  # of the whole image's features
    size: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    halo: int

    def crop_slices(self) -> tuple[slice, slice]:
        rows, columns = (
            slice(max(0, start - self.halo), min(side, stop + self.halo))
            for (start, stop), side in zip((self.rows, self.columns), self.size, strict=True)
        )
        return rows, columns

    def crop(self, image: np.ndarray) -> tf.Tensor:
        return tf.constant(image[self.crop_slices()][None], tf.float32)

    def place(self, layer: str) -> tuple[slice, slice]:
        """Where its own positions lie in the whole image's features."""
        rows, columns = (
            self._positions(start, stop, side, count)
            for (start, stop), side, count in zip(
                (self.rows, self.columns), self.size, self.shapes[layer][1:3], strict=True
            )
        )
        return rows, columns

    def windows(self) -> dict[str, tf.Tensor]:
        """{layer: [top, left, height, width] of its own positions in the crop's features}."""
        windows = {}
        for layer, (_, *counts, _) in self.shapes.items():
            down, across = self.place(layer)
            top, left = (
                self._positions(crop.start, crop.start + 1, side, count).start
                for crop, side, count in zip(self.crop_slices(), self.size, counts, strict=True)
            )
            windows[layer] = tf.constant(
                [down.start - top, across.start - left]
                + [down.stop - down.start, across.stop - across.start]
            )
        return windows

    def masks(self, masks: Layered) -> Layered:
        return {layer: mask[:, *self.place(layer)] for layer, mask in masks.items()}

    def contents(self, contents: Contents) -> Contents:
        return {
            layer: (found[:, *self.place(layer)], weights[:, *self.place(layer)])
            for layer, (found, weights) in contents.items()
        }

    @staticmethod
    def _positions(start: int, stop: int, side: int, count: int) -> slice:
        # Strides are powers of 2, and padding moves a layer's size by less than a half of itself.
        stride = 2 ** round(np.log2(side / count))
        return slice(start // stride, count if stop == side else stop // stride)


def _cuts(side: int, tile: int, stride: int) -> list[tuple[int, int]]:
    """Tiles of about equal size: one of a few pixels would cost as much as its surroundings."""
    count = -(-side // tile)
    each = -(-side // (count * stride)) * stride
    return [(start, min(side, start + each)) for start in range(0, side, each)]


def _cut(found: Layered, windows: Layered) -> Layered:
    cut = {}
    for layer, values in found.items():
        top, left, height, width = tf.unstack(windows[layer])
        cut[layer] = values[:, top : top + height, left : left + width]
    return cut


def _errors(found: Layered, contents: Contents) -> Layered:
    """{layer: 1/2 weighted squared error}"""
    return {
        layer: losses.gatys_content_loss(features=found[layer], target=target, weights=weights)
        for layer, (target, weights) in contents.items()
    }


def _moments(values: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """(means [styles or 1, C], Gram matrices [styles or 1, C, C]) of features [1, h, w, C]."""
    weights = None if mask is None else mask[..., 0]
    return losses.channel_means(values, weights=weights), losses.gram(values, weights=weights)


def _averages(sums: Sums) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    return {
        layer: (
            tf.math.divide_no_nan(mean, count[:, None]),
            tf.math.divide_no_nan(gram, count[:, None, None]),
        )
        for layer, (mean, gram, count) in sums.items()
    }


def _stacked(tensors: Sequence[Layered]) -> dict[str, tf.Tensor]:
    return {layer: tf.concat([of[layer] for of in tensors], 0) for layer in tensors[0]}


def _any_size(tensor: tf.Tensor) -> tf.TensorSpec:
    shape = tensor.shape
    if shape.rank == 4:
        shape = [shape[0], None, None, shape[3]]
    return tf.TensorSpec(shape, tensor.dtype)


def _floats(found: Layered) -> dict[str, float]:
    return {name: float(value) for name, value in found.items()}


def _activation_bytes(extractor: keras.Model) -> float:
    """Bytes that the outputs of all layers take, for each pixel of the image."""
    side = 256
    outputs = [layer.output for layer in extractor.layers]
    everything = keras.Model(extractor.inputs, outputs)
    shapes = everything.compute_output_shape((1, side, side, 3))
    sizes = [
        np.prod(shape) * (2 if layer.compute_dtype in ("bfloat16", "float16") else 4)
        for layer, shape in zip(extractor.layers, shapes, strict=True)
    ]
    return float(sum(sizes)) / side**2
