"""How fast training images come, beside decoding them alone and beside what a training step eats.

    python benchmarks/input_pipeline.py [--content=PHOTOS/] [--rounds=7] [--step]

Timed in turns within one process, so that whatever else the machine does falls on all:

- decoding alone: tf.io.decode_jpeg of the same files whole, from memory to uint8, each in a call of
  its own on all cores (`map`, AUTOTUNE), and nothing else: no reading, no crop, no batch;
- folder, records: `data.image_batches` as a pipeline uses it, under op determinism: order, reading,
  a random crop resized to 256 pixels, flip, float32, batches of 8. Before the first round each has
  seen all images once: a folder's are checked then, which takes several times as long, records
  never. Encoded images are kept in memory (`data.CACHE_BYTES`); for "from disk" nothing is kept.

A ratio is the median over the rounds of a pipeline's images/s by those of decoding alone in the
same round. --step times the training step of pipelines.fast too, at the same size.

On two cores, 40 photos of 0.37 megapixels: 0.68 of decoding alone from a folder and from records.
What is missing is the resizing: of 1.9 ms of processor time an image, decoding the part that the
crop needs takes 1.1, the box filter 0.5, all else 0.3; decoding the whole photo takes 1.3.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZE, BATCH = 256, 8
BAR, STEP_BAR = 0.9, 2.0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--content", help="folder of JPEGs; the bundled photos if omitted")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=400, help="of a turn")
    parser.add_argument("--step", action="store_true", help="time the training step too")
    options = parser.parse_args()

    import tensorflow as tf

    from tfstyle import data, images, machine
    from tfstyle.data import samples

    # As training.prepare does.
    machine.keep_freed_memory()
    tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(0)
    source = options.content or samples.photo_paths()
    paths = data.list_files(source)
    encoded = [images.read_bytes(path) for path in paths]
    if not all(photo.startswith(b"\xff\xd8") for photo in encoded):
        sys.exit(f"{source}: not only JPEGs. Give a folder of these.")
    pixels = statistics.mean(
        int(shape[0]) * int(shape[1]) for shape in map(tf.image.extract_jpeg_shape, encoded)
    )
    with tempfile.TemporaryDirectory() as folder:
        sources = {"folder": source, "records": f"records:{write_records(source, folder)}"}
        feeds = {"decoding alone": decoding(encoded)}
        for name, of in sources.items():
            feeds[name] = batches(of, len(encoded))
        cache, data.CACHE_BYTES = data.CACHE_BYTES, 0
        for name, of in sources.items():
            feeds[f"{name}, from disk"] = batches(of, len(encoded))
        data.CACHE_BYTES = cache
        rates = {name: [] for name in feeds}
        costs = {name: [] for name in feeds}
        for turn in range(options.rounds + 1):
            for name, dataset in feeds.items():
                # Anew in each turn: what waits for its turn would fill its buffers meanwhile.
                feed = iter(dataset)
                pull(feed, options.images // 2)
                start, used = time.perf_counter(), time.process_time()
                count = pull(feed, options.images)
                if turn:  # the first warms up
                    rates[name].append(count / (time.perf_counter() - start))
                    costs[name].append((time.process_time() - used) / count)
                del feed
    load = os.getloadavg()[0]
    print(
        f"{len(encoded)} JPEGs of {pixels / 1e6:.2f} megapixels and "
        f"{statistics.mean(map(len, encoded)) / 1e3:.0f} kB; crops of {SIZE}; "
        f"{len(os.sched_getaffinity(0))} cores, load {load:.1f} at the end; {options.rounds} rounds"
    )
    for name, of_rounds in rates.items():
        ratio = statistics.median(
            a / b for a, b in zip(of_rounds, rates["decoding alone"], strict=True)
        )
        bar = "" if name == "decoding alone" or ratio >= BAR else f"   below the bar of {BAR}"
        cost = 1e3 * statistics.median(costs[name])
        print(
            f"{name:20}{statistics.median(of_rounds):8.0f} images/s{ratio:7.2f}"
            f"{cost:9.2f} ms of CPU an image{bar}"
        )
    if options.step:
        eaten = step_rate()
        worst = min(statistics.median(of_rounds) for of_rounds in rates.values())
        print(f"training step       {eaten:8.1f} images/s, the slowest feed {worst / eaten:.0f} x")
        print(f"At least {STEP_BAR:.0f} times what the step eats: {worst >= STEP_BAR * eaten}")


def pull(feed, images: int) -> int:
    """Images pulled, at least so many."""
    count = 0
    while count < images:
        pulled = next(feed)
        count += len(pulled) if pulled.shape.rank == 4 else 1
    return count


def write_records(source, folder) -> Path:
    from tfstyle import data
    from tfstyle.data import records

    encoded, _ = data.checked_images(source)
    records.write(Path(folder) / "records", encoded, shards=2)
    return Path(folder) / "records"


def decoding(encoded):
    import tensorflow as tf

    return (
        tf.data.Dataset.from_tensor_slices(encoded)
        .repeat()
        .map(
            lambda photo: tf.io.decode_jpeg(photo, channels=3, dct_method="INTEGER_ACCURATE"),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def batches(source, count):
    """As a pipeline feeds a step, when it has seen all images once."""
    from tfstyle import data

    dataset, _ = data.image_batches(source, batch_size=BATCH, crop_size=SIZE)
    for _ in itertools.islice(dataset, -(-count // BATCH)):
        pass
    return dataset


def step_rate() -> float:
    """Images/s of the step of pipelines.fast with its defaults, in float32."""
    import numpy as np

    from tfstyle import features, losses, training
    from tfstyle.data import drawn
    from tfstyle.networks import generators
    from tfstyle.training import steps

    generator = generators.fast_generator(width=16, depth=4)
    extractor = features.vgg16((*losses.STYLE_LAYERS, losses.CONTENT_LAYER))
    of_painting = extractor(drawn.style("swirls", 384)[None])
    step = steps.PerceptualStep(
        generator=generator,
        extractor=extractor,
        content_extractor=features.vgg16((losses.CONTENT_LAYER,)),
        style_grams={layer: losses.gram(of_painting[layer]) for layer in losses.STYLE_LAYERS},
        optimizer=training.adam(1e-3, generator.trainable_variables),
        content_layers=(losses.CONTENT_LAYER,),
        content_weight=1.0,
        style_weight=10.0,
        tv_weight=0.0,
    )
    photos = np.random.default_rng(0).random((BATCH, SIZE, SIZE, 3), np.float32)
    step(photos)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        float(step(photos)["total"])
        seconds.append(time.perf_counter() - start)
    return BATCH / min(seconds)


if __name__ == "__main__":
    main()
