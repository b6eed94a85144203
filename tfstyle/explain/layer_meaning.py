"""E8, what a layer sees of a style: textures with its Gram matrix and nothing else.

Gatys et al. 2015 (https://arxiv.org/abs/1505.07376): from noise, a picture is changed until one
layer's Gram matrix is that of the style image.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstyle import images, losses, machine
from tfstyle.explain.results import Check, Explanation


def texture(
    style: np.ndarray,
    *,
    extractor: keras.Model,
    layer: str,
    size: int = 96,
    steps: int = 100,
    seed: int = 0,
    tell: Callable[[], object] = lambda: None,
) -> np.ndarray:
    """A picture [size, size, 3] in [0, 1] whose Gram matrix in `layer` comes near the style's.

    Args:
        style: [H, W, 3] in [0, 1].
        extractor: gives `layer`.
        steps: of Adam on the pixels, from noise about the style's mean colour.
        seed: of the noise.
        tell: called after each step.
    """
    target = losses.gram(extractor(style[None])[layer])
    rng = np.random.default_rng(seed)
    start = style.mean(axis=(0, 1)) + rng.normal(0, 0.1, size=(1, size, size, 3))
    pixels = tf.Variable(np.clip(start, 0.01, 0.99), dtype="float32")
    # A tenth of the way to the other end of the range: textures need few steps and no line search.
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, max(1, steps)))
    optimizer.build([pixels])

    @tf.function(autograph=False)
    def step() -> None:
        with tf.GradientTape() as tape:
            gram = losses.gram(extractor(pixels)[layer])
            loss = losses.style_loss(grams={layer: gram}, targets={layer: target})
        optimizer.apply([tape.gradient(loss, pixels)], [pixels])
        pixels.assign(tf.clip_by_value(pixels, 0.0, 1.0))

    for _ in range(steps):
        step()
        tell()
    return pixels.numpy()[0]


def explain(
    styles: Mapping[str, np.ndarray],
    *,
    extractor: keras.Model,
    judge: keras.Model,
    layers: Sequence[str] = losses.STYLE_LAYERS,
    shown: str | None = None,
    retrieved: Sequence[str] | None = None,
    size: int = 96,
    steps: int = 100,
    seed: int = 0,
    tell: Callable[[], object] = lambda: None,
) -> Explanation:
    """What each layer sees of a style, as textures; and whether these are of that style.

    Args:
        styles: {name: image [H, W, 3] in [0, 1]}; a texture must be told from all others.
        extractor: gives `layers`.
        judge: another network, [B, H, W, 3] -> {layer: features}, whose means and deviations of
            channels say which style a texture is nearest to: what made a texture must not judge it.
        layers: to synthesise from.
        shown: the style of the textures shown; the first where None.
        retrieved: styles whose textures are sought among all; `shown` where None.
        size, steps, seed: as of `texture`.
        tell: called after each step of each texture.

    Returns:
        Figures "rank/LAYER" (1: nearest to its own style, mean over `retrieved`), "retrieved"
        (share with rank 1, of the best layer), and "unlike" (see the check). Arrays "LAYER"
        [size, size, 3], textures of `shown`; "random_weights" likewise, by the best layer.
    """
    names = list(styles)
    shown = shown or names[0]
    retrieved = list(retrieved or [shown])
    if shown not in retrieved:
        retrieved = [shown, *retrieved]
    described = np.stack([_described(judge, images.resize(styles[n], (size, size))) for n in names])
    spread = described.std(axis=0) if len(names) > 1 else np.ones(described.shape[1])
    # A channel that none of the styles moves must not decide alone where a texture does.
    spread = np.maximum(spread, 0.1 * spread.mean() + 1e-6)
    ranks: dict[str, list[int]] = {layer: [] for layer in layers}
    pictures = {}
    for layer in layers:
        for name in retrieved:
            made = texture(
                styles[name],
                extractor=extractor,
                layer=layer,
                size=size,
                steps=steps,
                seed=seed,
                tell=tell,
            )
            distances = (((described - _described(judge, made)) / spread) ** 2).sum(axis=1)
            ranks[layer].append(1 + int((distances < distances[names.index(name)]).sum()))
            if name == shown:
                pictures[layer] = made
    shares = {layer: float(np.mean(np.array(rank) == 1)) for layer, rank in ranks.items()}
    best = max(layers, key=lambda layer: (shares[layer], -np.mean(ranks[layer])))
    options: dict[str, Any] = {"layer": best, "size": size, "steps": steps}
    again = texture(styles[shown], extractor=extractor, seed=seed + 1, tell=tell, **options)
    other = texture(
        styles[shown], extractor=_redrawn(extractor, seed), seed=seed, tell=tell, **options
    )
    own, twin, random = (_described(judge, p) / spread for p in (pictures[best], again, other))
    unlike = float(((own - random) ** 2).sum() / max(((own - twin) ** 2).sum(), 1e-12))
    # A right answer by chance is one in len(names): the bound is half way to none wrong, and above.
    enough = len(names) > 2
    return Explanation(
        name="layers",
        question="What does each layer see of the style?",
        summary=(
            f"Textures were painted from what one layer alone keeps of a style. Of those from "
            f"{best} another network knows {shares[best] * len(retrieved):.0f} of "
            f"{len(retrieved)} for their own style among {len(names)}."
        ),
        figures={
            **{f"rank/{layer}": float(np.mean(rank)) for layer, rank in ranks.items()},
            "retrieved": shares[best],
            "unlike": unlike,
        },
        arrays={**pictures, "random_weights": other},
        units={
            **dict.fromkeys(layers, f"texture from this layer alone, of {shown}"),
            "random_weights": f"the same from {best}, the network's weights drawn at random",
            "unlike": "squared distance, of that between two textures from different noise",
        },
        checks=[
            Check(
                "the best layer's textures are nearest to their own style, to another network",
                shares[best] if enough else math.nan,
                0.5,
                "above",
                null=1 / len(names),
                n=len(retrieved),
                seed=seed,
                why="" if enough else "fewer than three styles",
            ),
            Check(
                "random weights give unlike textures (distance, of that between two with these)",
                unlike,
                1.5,
                "above",
                null=1.0,
                seed=seed,
            ),
        ],
        limits="What a layer sees of a style is not all that a network uses of it.",
    )


def _described(judge: keras.Model, picture: np.ndarray) -> np.ndarray:
    features = judge(picture[None].astype("float32"))
    moments = [
        getattr(np.asarray(x, "float64"), moment)(axis=(0, 1, 2))
        for x in features.values()
        for moment in ("mean", "std")
    ]
    return np.concatenate(moments)


@machine.own_random_state()
def _redrawn(extractor: keras.Model, seed: int) -> keras.Model:
    """The extractor with each kernel drawn anew: normal, of its own mean and deviation."""
    other = keras.models.clone_model(extractor)
    rng = np.random.default_rng(seed)
    other.set_weights(
        [
            rng.normal(w.mean(), w.std(), w.shape) if w.ndim > 1 else w
            for w in extractor.get_weights()
        ]
    )
    return other
