"""VGG16 as the train steps need it: what style and content are measured by."""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from tfstyle import losses
from tfstyle.features.bundled import vgg16

# Pictures at once where many are averaged.
_AT_ONCE = 8


class Perceptual:
    """The bundled VGG16 for a train step, and the Gram matrices of what it is to paint like.

    Attributes:
        content_layers: layers whose content losses are averaged.
        extractor: image -> features of these and of `losses.STYLE_LAYERS`.
        content_extractor: image -> features of `content_layers` alone: a photo needs no more.
    """

    def __init__(self, content_layers: str | Sequence[str], *, dtype: str = "float32") -> None:
        """
        Args:
            content_layers: names, or one string of them with commas.
            dtype: dtype policy of the convolutions; features come out in float32.

        Raises:
            ArgumentError: for layers that VGG16 does not have.
        """
        if isinstance(content_layers, str):
            content_layers = [layer.strip() for layer in content_layers.split(",")]
        self.content_layers = tuple(content_layers)
        self.extractor = vgg16((*losses.STYLE_LAYERS, *self.content_layers), dtype=dtype)
        self.content_extractor = vgg16(self.content_layers, dtype=dtype)

    @property
    def networks(self) -> dict:
        """The attributes by name, as train steps take them."""
        return {
            "extractor": self.extractor,
            "content_extractor": self.content_extractor,
            "content_layers": self.content_layers,
        }

    def grams(self, paintings: Iterable[np.ndarray]) -> dict[str, tf.Tensor]:
        """{layer: [N, C, C]}: the Gram matrices of N pictures [H, W, 3] in [0, 1], of any sizes."""
        found = [self.extractor(painting[None]) for painting in paintings]
        return {
            layer: tf.concat([losses.gram(of_one[layer]) for of_one in found], axis=0)
            for layer in losses.STYLE_LAYERS
        }

    def aims(self, paintings: Iterable[np.ndarray], weights: losses.StyleWeights) -> dict:
        """What `PerceptualStep` takes of styles, [H, W, 3] in [0, 1] each, and of their losses."""
        grams: dict[str, list[tf.Tensor]] = {layer: [] for layer in weights.style_layers}
        means: dict[str, list[tf.Tensor]] = {layer: [] for layer in weights.style_layers}
        for painting in paintings:
            features = self.extractor(painting[None])
            for layer in weights.style_layers:
                grams[layer].append(losses.gram(features[layer]))
                means[layer].append(losses.channel_means(features[layer]))

        def of(statistic: dict[str, list[tf.Tensor]]) -> dict[str, tf.Tensor]:
            return {layer: tf.concat(each, axis=0) for layer, each in statistic.items()}

        return {
            "style_grams": of(grams),
            "style_means": of(means) if weights.style_loss != "gram" else None,
            "layer_weights": weights.style_layers,
            "saliency": weights.saliency,
        }

    def targets(
        self,
        paintings: Iterable[np.ndarray],
        weights: losses.StyleWeights,
        *,
        photos: np.ndarray,
    ) -> losses.StyleTargets:
        """Paintings, [H, W, 3] in [0, 1] each, as styles of which each photo takes the nearest.

        `photos` [B, H, W, 3] stand for photos at large, see `losses.StyleTargets.even`.
        """
        aims = self.aims(paintings, weights)
        targets = losses.StyleTargets(
            aims["style_grams"], means=aims["style_means"], layer_weights=aims["layer_weights"]
        )
        found = [
            targets.distances(self.extractor(photos[i : i + _AT_ONCE]))
            for i in range(0, len(photos), _AT_ONCE)
        ]
        targets.even(tf.concat(found, axis=0))
        return targets

    def scales(self, pictures: np.ndarray, layers: Sequence[str]) -> dict[str, float]:
        """{layer: root of the mean square of its features} of pictures [B, H, W, 3] in [0, 1]."""
        features = self.extractor(pictures)
        return {
            layer: float(tf.sqrt(tf.reduce_mean(tf.square(features[layer])))) for layer in layers
        }

    def mean_grams(self, styles: Iterable[np.ndarray]) -> dict[str, tf.Tensor]:
        """{layer: [N, C, C]}: of N styles, each given as pictures [B, H, W, 3], the mean Gram."""
        means: dict[str, list[tf.Tensor]] = {layer: [] for layer in losses.STYLE_LAYERS}
        for pictures in styles:
            parts = [
                self.extractor(pictures[i : i + _AT_ONCE])
                for i in range(0, len(pictures), _AT_ONCE)
            ]
            for layer, of_layer in means.items():
                grams = tf.concat([losses.gram(part[layer]) for part in parts], axis=0)
                of_layer.append(tf.reduce_mean(grams, axis=0))
        return {layer: tf.stack(of_layer) for layer, of_layer in means.items()}
