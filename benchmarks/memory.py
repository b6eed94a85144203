"""How much memory one step of the Gatys optimiser takes, beside what is forecast.

    python benchmarks/memory.py

Each line is a process of its own: growth of its peak resident size in one forward and backward pass
over an image of that size, per pixel, and `Objective.bytes_per_pixel()`, which decides when a
picture is computed in tiles and when it is refused. The ratio must stay below 1.
"""

import json
import subprocess
import sys

CASES = [
    (size, dtype, tile)
    for dtype in ("float32", "mixed_bfloat16")
    for size, tile in ((512, None), (1024, None), (2048, 1024))
]


def main():
    print(f"{'size':>6}{'tile':>6} {'precision':16}{'measured':>10}{'forecast':>10}{'ratio':>7}")
    for size, dtype, tile in CASES:
        case = json.dumps([size, dtype, tile])
        command = [sys.executable, __file__, "--worker", case]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        measured, forecast = json.loads(answer)
        print(
            f"{size:6}{tile or '':>6} {dtype:16}{measured:10.0f}{forecast:10.0f}"
            f"{measured / forecast:7.2f}",
            flush=True,
        )


def measure(size, dtype, tile):
    import resource

    import numpy as np

    from tfstyle import features, losses, machine
    from tfstyle.gatys.objective import Objective, Region

    machine.keep_freed_memory()

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    layers = [*losses.STYLE_LAYERS, losses.CONTENT_LAYER]
    judge = Objective(
        features.vgg16(layers, dtype=dtype),
        content_layers={losses.CONTENT_LAYER: 1.0},
        style_layers=dict.fromkeys(losses.STYLE_LAYERS, 0.2),
    )
    rng = np.random.default_rng(0)
    small = rng.uniform(0, 1, (64, 64, 3)).astype(np.float32)
    region = [Region(small)]
    judge(small, judge.targets(small, region))
    image = rng.uniform(0, 1, (size, size, 3)).astype(np.float32)
    before = peak()
    judge(image, judge.targets(image, region, tile=tile), tile=tile)
    pixels = size**2
    if tile:
        halo, _ = features.receptive_field(judge.extractor)
        forecast = judge.kept_bytes_per_pixel() + judge.bytes_per_pixel() * (
            (tile + 2 * halo) ** 2 / pixels
        )
    else:
        forecast = judge.bytes_per_pixel()
    print(json.dumps([(peak() - before) / pixels, forecast]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        measure(*json.loads(sys.argv[2]))
    else:
        main()
