"""The light VGG16: how near its features are and how fast, and how its weights are made.

    python benchmarks/light_features.py --content=PHOTOS
    python benchmarks/light_features.py --content=PHOTOS,PAINTINGS --fit=vgg16_light.npz

The first compares `features.vgg16_light` with `features.vgg16` on crops: the squared difference of
features and of Gram matrices, as a share of the square of the true ones, and the processor time of
a loss and its gradient, in turns. The second makes the weights anew: no training, but a principal
component analysis and a regression a layer; see `features.vgg16_light`.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfstyle import data, features, losses

LAYERS = (*losses.STYLE_LAYERS, losses.CONTENT_LAYER)
# Of the channels of a layer's input and of its responses, which share is kept; at least so many.
INPUTS, RESPONSES, LEAST = 0.34, 0.38, 16
# Positions that a regression sees.
POSITIONS = 60_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--content", required=True, help="images: folders, with commas")
    parser.add_argument("--crops", type=int, default=64)
    parser.add_argument("--crop_size", type=int, default=160, help="in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", type=Path, metavar="NPZ", help="write weights there")
    options = parser.parse_args()
    dataset, _ = data.image_batches(
        options.content, batch_size=8, crop_size=options.crop_size, seed=options.seed
    )
    crops = [batch.numpy() for batch in dataset.take(-(-options.crops // 8))]
    if options.fit:
        np.savez(options.fit, **fit(crops))
        print(f"{options.fit}: {options.fit.stat().st_size / 1e6:.1f} MB")
    else:
        compare(crops)


def fit(crops) -> dict[str, np.ndarray]:
    """{"LAYER/PART": numbers} as `features.vgg16_light` reads them.

    For a layer with the true responses y, and with inputs x out of the light layers before it:
    V the first principal components of x (not centred: zero padding must stay zero); h = W * VV'x
    the responses that this leaves; M the regression of y on h; U the first principal components of
    M h. Then the layer is U (U'M W V) * V'x, and a bias that keeps the mean.
    """
    layers = features.VGG16_LAYERS
    network = features.vgg16(layers)
    true = [{name: value.numpy() for name, value in network(batch).items()} for batch in crops]
    first, *rest = layers
    kernel, bias = network.get_layer(first).get_weights()
    # It is kept as it is; the files have it for BGR.
    found = {f"{first}/kernel": kernel[:, :, ::-1].astype("float16"), f"{first}/bias": bias}
    inputs = [of[first] for of in true]
    for before, layer in zip(layers, rest, strict=False):
        kernel, bias = network.get_layer(layer).get_weights()
        channels, filters = kernel.shape[2:]
        targets = [of[before] for of in true]
        if layer.endswith("conv1"):
            inputs, targets = ([_pooled(x) for x in each] for each in (inputs, targets))
        targets = [_conv(x, kernel) + bias for x in targets]

        square = sum(np.tensordot(x, x, ([0, 1, 2], [0, 1, 2])).astype("float64") for x in inputs)
        reduce = np.linalg.eigh(square)[1][:, ::-1][:, : max(int(channels * INPUTS), LEAST)]
        reduced = np.einsum("hwio,ir->hwro", kernel, reduce)
        inputs = [(x @ reduce).astype("float32") for x in inputs]
        left, wanted = (_sample(of) for of in ([_conv(x, reduced) for x in inputs], targets))
        left_mean, wanted_mean = left.mean(axis=0), wanted.mean(axis=0)
        square = (left - left_mean).T @ (left - left_mean)
        ridge = 1e-4 * np.trace(square) / filters * np.eye(filters)
        cross = (left - left_mean).T @ (wanted - wanted_mean)
        regression = np.linalg.solve(square + ridge, cross).T
        responses = regression @ square @ regression.T
        expand = np.linalg.eigh(responses)[1][:, ::-1][:, : max(int(filters * RESPONSES), LEAST)]

        parts = {
            "reduce": reduce[None, None],
            "kernel": np.einsum("hwro,qo->hwrq", reduced, expand.T @ regression),
            "expand": expand.T[None, None],
        }
        parts = {name: value.astype("float16") for name, value in parts.items()}
        parts["bias"] = (wanted_mean - expand @ (expand.T @ (regression @ left_mean))).astype(
            "float32"
        )
        found |= {f"{layer}/{name}": value for name, value in parts.items()}
        inputs = [
            np.maximum(
                _conv(x, parts["kernel"]) @ parts["expand"][0, 0].astype("float32") + parts["bias"],
                0,
            )
            for x in inputs
        ]
        error = sum(((x - of[layer]) ** 2).sum() for x, of in zip(inputs, true, strict=True))
        error /= sum((of[layer] ** 2).sum() for of in true)
        kept = f"{parts['kernel'].shape[2]} of {channels}, {parts['kernel'].shape[3]} of {filters}"
        print(f"{layer:14}{kept:24}error {error:.4f}", flush=True)
    return found


def compare(crops):
    extractors = {
        "vgg16": features.vgg16(LAYERS),
        "vgg16_light": features.vgg16_light(LAYERS),
    }
    errors = {layer: [] for layer in LAYERS}
    for batch in crops:
        true, light = (extractor(batch) for extractor in extractors.values())
        for layer in LAYERS:
            grams = losses.gram(true[layer]), losses.gram(light[layer])
            errors[layer].append([_error(true[layer], light[layer]), _error(*grams)])
    print(f"{'':16}{'features':>10}{'Gram':>10}")
    for layer, each in errors.items():
        print(f"{layer:16}" + "".join(f"{value:10.3f}" for value in np.mean(each, axis=0)))

    image = tf.constant(crops[0][:2])
    gradients = {name: tf.function(_gradient) for name in extractors}
    seconds = {name: [] for name in extractors}
    for turn in range(11):
        for name, extractor in extractors.items():
            start = time.process_time()
            gradients[name](extractor, image)
            if turn:
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians["vgg16"] / medians["vgg16_light"]
    told = ", ".join(f"{name} {1e3 * value:.0f} ms" for name, value in medians.items())
    print(f"style loss and gradient, float32, processor time: {told}: {ratio:.1f} times")


def _gradient(extractor, image):
    with tf.GradientTape() as tape:
        tape.watch(image)
        found = extractor(image)
        loss = sum(tf.reduce_mean(losses.gram(found[layer]) ** 2) for layer in losses.STYLE_LAYERS)
    return tape.gradient(loss, image)


def _error(true, other) -> float:
    return float(tf.reduce_sum((true - other) ** 2) / tf.reduce_sum(true**2))


def _conv(x, kernel):
    return tf.nn.conv2d(x, kernel.astype("float32"), 1, "SAME").numpy()


def _pooled(x):
    return tf.nn.max_pool2d(x, 2, 2, "VALID").numpy()


def _sample(values):
    """[positions, C], float64, of a list of [B, H, W, C]: the same positions for the same sizes."""
    values = np.concatenate([value.reshape(-1, value.shape[-1]) for value in values])
    if len(values) > POSITIONS:
        values = values[np.random.default_rng(0).choice(len(values), POSITIONS, replace=False)]
    return values.astype("float64")


if __name__ == "__main__":
    main()
