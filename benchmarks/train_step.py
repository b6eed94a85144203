"""How many images a second the train steps take in each precision, and compiled by XLA.

    python benchmarks/train_step.py [--size=256] [--batch_size=4] [--steps=3] [--rounds=5]

Each system trains on random images of that size, data and logging left out. Its variants take turns
within one run, so that whatever else the machine does falls on all; the first round, which traces
and compiles, is dropped. A figure is the median over the rounds, a ratio the median of that round's
time of float32 by the variant's. float16 is for GPUs and measured only there.
"""

import argparse
import os
import statistics
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from tfstyle import features, losses, machine, training
from tfstyle.networks import discriminators, generators
from tfstyle.training import steps

CONTENT = {"content_layers": [losses.CONTENT_LAYER], "content_weight": 1.0, "tv_weight": 0.0}
STYLES = 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3, help="steps in a turn")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name, value in vars(options).items():
        if value < (32 if name == "size" else 1):
            sys.exit(f"--{name}={value}: give {32 if name == 'size' else 1} or more")
    machine.keep_freed_memory()
    gpus = tf.config.list_physical_devices("GPU")
    variants = {
        "float32": ("float32", False),
        "float32 jit": ("float32", True),
        "mixed_bfloat16": ("mixed_bfloat16", False),
        "mixed_bfloat16 jit": ("mixed_bfloat16", True),
    }
    if gpus:
        variants["mixed_float16"] = ("mixed_float16", False)
        variants["mixed_float16 jit"] = ("mixed_float16", True)
    print(f"device: {device(gpus)}; {options.batch_size} images of {options.size} px a step")
    print(f"{'system':8}{'variant':20}{'images/s':>10}{'ratio':>8}")
    for system in (fast, fusion, gan):
        made = {
            name: compiled(system, options.size, options.batch_size, precision, jit)
            for name, (precision, jit) in variants.items()
        }
        times = {name: [] for name in made}
        for turn in range(options.rounds + 1):
            for name, run in made.items():
                began = time.perf_counter()
                for _ in range(options.steps):
                    values = run()
                values["total"].numpy()  # waits for the GPU
                if turn:
                    times[name].append(time.perf_counter() - began)
        for name, of_variant in times.items():
            speed = options.steps * options.batch_size / statistics.median(of_variant)
            ratio = statistics.median(
                base / own for base, own in zip(times["float32"], of_variant, strict=True)
            )
            print(f"{system.__name__:8}{name:20}{speed:10.2f}{ratio:8.2f}", flush=True)


def device(gpus) -> str:
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    fast_bfloat16 = "with" if machine.has_fast_bfloat16() else "without"
    return f"CPU, {os.cpu_count()} cores, {fast_bfloat16} bfloat16 in hardware"


def compiled(system, size, batch_size, precision, jit):
    """A function that takes one step of a system."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    layers = [*losses.STYLE_LAYERS, losses.CONTENT_LAYER]
    extractors = {
        "extractor": features.vgg16(layers, dtype=precision),
        "content_extractor": features.vgg16([losses.CONTENT_LAYER], dtype=precision),
    }
    rng = np.random.default_rng(0)
    photos, paintings = (
        tf.constant(rng.uniform(0, 1, (batch_size, size, size, 3)), "float32") for _ in range(2)
    )
    step, batch = system(extractors, photos, paintings)
    update = tf.function(step.update, jit_compile=jit or None)
    return lambda: update(*batch)


def adam(network):
    return training.adam(1e-3, network.trainable_variables, clip_norm=5.0)


def fast(extractors, photos, paintings):
    generator = generators.fast_generator(width=16, depth=4)
    return perceptual(generator, extractors, paintings[:1]), (photos,)


def fusion(extractors, photos, paintings):
    generator = generators.fusion_generator(styles=STYLES, width=16, depth=4)
    draws = tf.one_hot(tf.range(len(photos)) % STYLES, STYLES)
    step = perceptual(generator, extractors, tf.repeat(paintings[:1], STYLES, axis=0))
    return step, (photos, draws)


def perceptual(generator, extractors, paintings):
    of_paintings = extractors["extractor"](paintings)
    return steps.PerceptualStep(
        generator=generator,
        style_grams={layer: losses.gram(of_paintings[layer]) for layer in losses.STYLE_LAYERS},
        optimizer=adam(generator),
        style_weight=10.0,
        **extractors,
        **CONTENT,
    )


def gan(extractors, photos, paintings):
    generator = generators.unet_generator()
    discriminator = discriminators.patch_discriminator()
    step = steps.GanStep(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=adam(generator),
        discriminator_optimizer=adam(discriminator),
        adversarial="lsgan",
        layer_weights=dict.fromkeys(losses.STYLE_LAYERS, 0.2),
        style_weight=10.0,
        adversarial_weight=1.0,
        **extractors,
        **CONTENT,
    )
    return step, (photos, paintings)


if __name__ == "__main__":
    main()
