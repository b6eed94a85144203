"""Judges of a result that are trained networks: of digits, of styles."""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfstyle import files
from tfstyle.data.digits import scrambled
from tfstyle.errors import ArgumentError
from tfstyle.networks.digits import digit_classifier


def train_judge(
    digits: np.ndarray, labels: np.ndarray, *, width: int = 32, epochs: int = 4, seed: int = 0
) -> keras.Model:
    """A classifier to judge generated digits by, trained on real ones and on what is no digit.

    Trained on digits alone, a classifier is sure of much that is none. So it is also given the
    `scrambled` ones of a fifth of the digits, of which it is to find all classes as likely (outlier
    exposure, Hendrycks et al. 2019, https://arxiv.org/abs/1812.04606).

    Four epochs of MNIST (140 s of processor time) took it to 99.4 % of the test digits, mean
    probability 99.4 %, and to be sure (`recognised`) of 98.2 %, of which 99.9 % were right. It was
    sure of 0 % of scrambled digits, white noise and an untrained generator's pictures, 0.1 % of
    `blobs`, and 9 % of digits blurred by a Gaussian of 2 pixels; but of 61 % of pictures with the
    upper half of one digit and the lower of another, many of which could be a digit.

    Args:
        digits: [N, 28, 28, 1] in [0, 1].
        labels: [N], 0 to 9.
        width: as `digit_classifier`.
        epochs: over the digits.
        seed: of weights and order; Keras' random state is set to it.
    """
    keras.utils.set_random_seed(seed)
    classifier = digit_classifier(width=width)
    none = scrambled(digits[np.random.default_rng(seed).permutation(len(digits))[::5]], seed=seed)
    pictures = np.concatenate([digits, none])
    classes = np.concatenate([np.eye(10)[labels], np.full((len(none), 10), 0.1)])
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * math.ceil(len(pictures) / 128))
    classifier.compile(keras.optimizers.Adam(rate), "categorical_crossentropy")
    classifier.fit(pictures, classes, batch_size=128, epochs=epochs, verbose=0)
    return classifier


def judge_of(
    file: Path, pictures: np.ndarray, labels: np.ndarray, *, seed: int, keep: bool, write: bool
) -> keras.Model | None:
    """The judge of a run: the one that it was begun with, or a new one.

    Args:
        file: where it lies.
        pictures, labels, seed: see `train_judge`.
        keep: whether to take the one in the file, where there is one.
        write: whether to train and to write one, where there is none to take; None else.
    """
    if keep and file.exists():
        return keras.models.load_model(file)
    if not write:
        return None
    print("training the judge, for a minute or two", file=sys.stderr)
    judge = train_judge(pictures, labels, seed=seed)
    files.write_whole(file, judge.save)
    return judge


def figures_of_judge(
    probabilities: Callable, pictures: np.ndarray, labels: np.ndarray, unlike: Mapping
) -> dict[str, float]:
    """How far a judge can be relied on.

    Args:
        probabilities: pictures -> [M, classes].
        pictures, labels: that it was not trained on.
        unlike: {name: pictures that are none}.
    """
    found = probabilities(pictures)
    return {
        "accuracy": float(np.mean(found.argmax(axis=1) == labels)),
        "mean_probability": float(np.mean(found.max(axis=1))),
        "share_of_real_digits": recognised(found).share,
        **{
            f"share_of_{name}": recognised(probabilities(others)).share
            for name, others in unlike.items()
        },
    }


class Recognised(NamedTuple):
    """How many digits a classifier is sure of: `recognised`."""

    share: float  # of all digits, in [0, 1]
    of_class: list[float]  # the same for each class; their sum is `share`
    classes: int  # those that make up at least `least` of all digits


def recognised(
    probabilities: np.ndarray, *, confidence: float = 0.9, least: float = 0.01
) -> Recognised:
    """What share of digits is surely one of the classes, and how many classes occur.

    Args:
        probabilities: [N, K], N at least 1, from a classifier; rows sum to 1.
        confidence: a digit counts where its largest probability is at least this.
        least: a class occurs where at least this share of the N digits is surely of it.
    """
    probabilities = np.asarray(probabilities)
    sure = probabilities.max(axis=1) >= confidence
    found = np.bincount(probabilities.argmax(axis=1)[sure], minlength=probabilities.shape[1])
    # Counts, not shares: 10 of 1000 must not fall short of 0.01 by a rounding.
    classes = int((found >= round(least * len(probabilities), 6)).sum())
    return Recognised(
        float(sure.mean()), [float(count / len(probabilities)) for count in found], classes
    )


def nearest_mean_classifier(
    extractor: keras.Model,
    pictures: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int = 32,
    name: str = "nearest_mean",
) -> keras.Model:
    """Classifier in closed form, as a judge that no training has touched.

    A picture's numbers are the mean and the standard deviation over positions of each channel of
    the extractor's layers, as styles are told apart in Huang and Belongie 2017
    (https://arxiv.org/abs/1703.06868), eq. 15. Its class is the one whose mean is nearest, each
    number in units of its deviation within the classes: discriminant analysis with one diagonal
    covariance (Hastie et al. 2009, "The Elements of Statistical Learning", eq. 18.2).

    Args:
        extractor: [B, H, W, 3] in [0, 1] -> {layer: features [B, h, w, C]}.
        pictures: float32 [M, H, W, 3] in [0, 1], at least one of each class.
        labels: int [M], 0 to the number of classes less 1.
        batch_size: pictures that the extractor sees at once.

    Returns:
        Functional model, [B, H, W, 3] in [0, 1] -> logits [B, classes], float32. Their order
        counts; as channels depend on each other, the softmax is too sure.

    Raises:
        ValueError: where a class has no picture, or there are fewer than 2 classes.
    """
    labels = np.asarray(labels)
    counts = np.bincount(labels)
    if len(counts) < 2 or not counts.all():
        raise ArgumentError(
            f"nearest_mean_classifier: classes of {counts.tolist()} pictures. Give 2 or more "
            "classes, each at least one picture."
        )
    images = keras.Input((None, None, 3), name="images")
    features = [keras.ops.cast(x, "float32") for x in extractor(images).values()]
    numbers = keras.ops.concatenate(
        [moment(x, axis=(1, 2)) for x in features for moment in (keras.ops.mean, keras.ops.std)],
        axis=-1,
    )
    measure = keras.Model(images, numbers)
    rows = np.concatenate(
        [
            np.asarray(measure(pictures[i : i + batch_size]), "float64")
            for i in range(0, len(pictures), batch_size)
        ]
    )
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(len(counts))])
    variance = ((rows - means[labels]) ** 2).mean(axis=0)
    # A number that never changes within a class must not decide alone.
    variance = np.maximum(variance, 1e-2 * variance.mean() + 1e-12)
    classify = keras.layers.Dense(len(counts), dtype="float32", name="classes")
    model = keras.Model(images, classify(numbers), name=name)
    centre = means.mean(axis=0)
    kernel = ((means - centre) / variance).T
    bias = -(((means**2 - centre**2) / variance).sum(axis=1)) / 2
    classify.set_weights([kernel, bias])
    model.trainable = False
    return model


def odds_of_any_style(logits: tf.Tensor) -> tf.Tensor:
    """Log odds that a picture is of any of N styles and not generated: [B, N + 1] -> [B].

    Args:
        logits: "generated" the last.
    """
    return tf.reduce_logsumexp(logits[:, :-1], axis=1) - logits[:, -1]


class Classed(NamedTuple):
    """What classes pictures of known styles were given: `classed`."""

    accuracy: float  # share given their own style
    accuracy_among_styles: float  # the same, had "generated" been no answer
    confusion: list[list[int]]  # pictures of each style (row) given each class (column)


def classed(logits: np.ndarray, styles: np.ndarray, *, count: int) -> Classed:
    """How often pictures are given their style.

    Args:
        logits: [M, K], M at least 1; the first `count` classes are styles.
        styles: int [M], 0 to count - 1, what each picture is or was to become.
        count: number of styles, at most K.
    """
    logits, styles = np.asarray(logits), np.asarray(styles)
    given = logits.argmax(axis=1)
    confusion = np.zeros((count, logits.shape[1]), int)
    np.add.at(confusion, (styles, given), 1)
    return Classed(
        float(np.mean(given == styles)),
        float(np.mean(logits[:, :count].argmax(axis=1) == styles)),
        confusion.tolist(),
    )


def classed_by(
    networks: Mapping[str, keras.Model], what: str, pictures: np.ndarray, *, styles: int
) -> dict[str, dict]:
    """`classed` by several networks, of as many pictures of each style, the first style's first.

    Args:
        networks: {name: classifier}, [B, H, W, 3] in [0, 1] -> logits [B, styles or more].
        what: what the pictures are, for the names of the figures.
        pictures: [styles * M, H, W, 3] in [0, 1].
        styles: how many.

    Returns:
        {"WHAT_by_NAME": figures}.
    """
    labels = np.repeat(np.arange(styles), len(pictures) // styles)
    return {
        f"{what}_by_{name}": classed(
            network.predict(pictures, verbose=0), labels, count=styles
        )._asdict()
        for name, network in networks.items()
    }


def told(found: Mapping[str, Mapping], *, chance: float) -> str:
    """What `classed_by` found of "paintings" and "stylized" photos, by "discriminator" and "judge".

    Args:
        found: {"paintings_by_discriminator": figures, ...}.
        chance: to be right, of one who knows nothing.
    """
    right = {name: figures["accuracy"] for name, figures in found.items()}
    among = found["stylized_by_discriminator"]["accuracy_among_styles"]
    return (
        f"Paintings kept out: {right['paintings_by_discriminator']:.1%} classed right by the "
        f"discriminator, {right['paintings_by_judge']:.1%} by the judge (chance: {chance:.1%})\n"
        f"Stylized photos: {right['stylized_by_discriminator']:.1%} classed as wanted by the "
        f"discriminator ({among:.1%} where it must name a style), "
        f"{right['stylized_by_judge']:.1%} by the judge"
    )
