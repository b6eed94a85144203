"""Statistics of given styles, and the style loss to them."""

from collections.abc import Callable, Mapping

import tensorflow as tf

from tfstyle.errors import ArgumentError
from tfstyle.losses import style


class StyleTargets:
    """What pictures are to be painted like: the statistics of N styles.

    Each picture of a batch has a style of its own: the only one there is, a blend, or one of N.

    Attributes:
        grams: {layer: [N, C, C]}, see `gram`.
        means: {layer: [N, C]}, see `channel_means`; None where Gram matrices are compared.
    """

    def __init__(
        self,
        grams: Mapping[str, tf.Tensor],
        *,
        means: Mapping[str, tf.Tensor] | None = None,
        layer_weights: Mapping[str, float] | None = None,
        formula: Callable[..., tf.Tensor] = style.style_loss,
    ) -> None:
        """
        Args:
            grams: see above.
            means: with them the loss is `wasserstein_style_loss`, else `formula`.
            layer_weights: {layer: weight}; equal where None.
            formula: `style_loss` or `gatys_style_loss`.

        Raises:
            ArgumentError: for means of other layers, or with the formula of Gatys et al.
        """
        self.grams = dict(grams)
        self.means = dict(means) if means is not None else None
        self._layer_weights = layer_weights
        self._formula = formula
        # Of each style, mean and deviation of its distance from photos at large; see `even`.
        self._usual: tuple[tf.Tensor | float, tf.Tensor | float] = (0.0, 1.0)
        if self.means is None:
            return
        if formula is style.gatys_style_loss or self.means.keys() != self.grams.keys():
            told = "gatys" if formula is style.gatys_style_loss else "relative"
            raise ArgumentError(
                f"style_means of {sorted(self.means)} and formula {told}: give those "
                f"of {sorted(self.grams)}, with the relative formula"
            )
        self._roots = {
            layer: style.covariance_root(self.means[layer], gram)
            for layer, gram in self.grams.items()
        }

    def loss(
        self,
        features: Mapping[str, tf.Tensor],
        *,
        blends: tf.Tensor | None = None,
        chosen: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Scalar float32, the mean over pictures.

        Args:
            features: {layer: [B, H, W, C]} of the stylized pictures.
            blends: [B, N], how much of each style a picture gets: the blend of the Gram matrices;
                of the Wasserstein loss, of means and of roots of covariances.
            chosen: [B], the number of each picture's style, in place of blends.
        """

        def of_each(statistic: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            """{layer: [N, ...]} -> {layer: [B, ...]}, or as they are for a single style."""
            if chosen is not None:
                return {layer: tf.gather(each, chosen) for layer, each in statistic.items()}
            if blends is None:
                return dict(statistic)
            return {
                layer: tf.tensordot(tf.cast(blends, each.dtype), each, 1)
                for layer, each in statistic.items()
            }

        grams = {layer: style.gram(features[layer]) for layer in self.grams}
        if self.means is None:
            return self._formula(
                grams=grams, targets=of_each(self.grams), layer_weights=self._layer_weights
            )
        means, roots = of_each(self.means), of_each(self._roots)
        if blends is None:
            targets = of_each(self.grams)
        else:
            # Of a blend, the Gaussian whose mean and root are the blended ones.
            targets = {
                layer: tf.cast(root @ root, "float32")
                + means[layer][:, :, None] * means[layer][:, None]
                for layer, root in roots.items()
            }
        return style.wasserstein_style_loss(
            means={layer: style.channel_means(features[layer]) for layer in grams},
            grams=grams,
            target_means=means,
            target_grams=targets,
            target_roots=roots,
            layer_weights=self._layer_weights,
        )

    def distances(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """[B, N] float32: how far photos are from each style as they are, before any is painted.

        The squared 2-Wasserstein distance of the channels one by one (means and deviations),
        relative to the style's energy, mean over layers: cheap, and enough to tell which painting
        is of such a thing. Needs `means`.
        """
        assert self.means is not None
        found = []
        for layer, gram in self.grams.items():
            means = self.means[layer]
            squares = tf.linalg.diag_part(gram)
            of_photos = style.channel_means(features[layer])
            variances = style.channel_means(tf.square(tf.cast(features[layer], "float32")))
            deviations = tf.sqrt(tf.maximum(variances - tf.square(of_photos), 0.0))
            of_styles = tf.sqrt(tf.maximum(squares - tf.square(means), 0.0))
            distance = tf.reduce_sum(tf.square(of_photos[:, None] - means), axis=-1)
            distance += tf.reduce_sum(tf.square(deviations[:, None] - of_styles), axis=-1)
            found.append(distance / tf.reduce_sum(squares, axis=-1))
        return tf.add_n(found) / len(found)

    def even(self, distances: tf.Tensor) -> None:
        """Lets `nearest` go by how unusually near a style is, after `distances` [B, N] of photos.

        Else a middling style, which is near to everything, would be the nearest to most.
        """
        mean, variance = tf.nn.moments(distances, axes=[0])
        self._usual = mean, tf.sqrt(variance)

    def nearest(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """[B] int64: the number of the style that each of the photos is nearest to already."""
        mean, deviation = self._usual
        return tf.argmin(tf.math.divide_no_nan(self.distances(features) - mean, deviation), axis=1)
