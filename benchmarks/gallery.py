"""Paints the gallery of docs/gatys.md: what each option of `tfstyle optimize` does.

    python benchmarks/gallery.py [--only=color,masks] [--out=docs/gatys]

Each cell of a sheet differs from the defaults in what its caption says, and in having 40 steps at
384 px. Photos and styles are those of the package. A sheet takes two minutes or so on two cores.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfstyle import gatys, images
from tfstyle.data import drawn, samples

SIZE, STEPS, CAPTION = 384, 40, 26


def left_half(shape):
    """1 on the left, 0 on the right, and a soft edge of a tenth of the width between them."""
    ramp = np.clip(0.5 - (np.linspace(0, 1, shape[1]) - 0.5) * 10, 0, 1)
    return np.broadcast_to(ramp.astype(np.float32), shape[:2])


def sheets():
    """{name: [(caption, photo, [Style], keywords)]}."""
    swirls, mosaic, woodcut = (
        gatys.Style(drawn.style(name, SIZE)) for name in ("swirls", "mosaic", "woodcut")
    )
    cat, astronaut, coffee = (samples.photo(n) for n in ("chelsea", "astronaut", "coffee"))

    sky = left_half(cat.shape)
    halves = [gatys.Style(swirls.image, mask=sky), gatys.Style(woodcut.image, mask=1 - sky)]
    both = [gatys.Style(swirls.image, 0.5), gatys.Style(woodcut.image, 0.5)]
    rocket = samples.photo("rocket")
    return {
        "presets": [
            ("--preset classic", coffee, [swirls], gatys.PRESETS["classic"]),
            ("default", coffee, [swirls], {}),
            ("--preset preview", coffee, [swirls], gatys.PRESETS["preview"]),
        ],
        "styles": [
            ("swirls", cat, [swirls], {}),
            ("mosaic", cat, [mosaic], {}),
            ("woodcut", cat, [woodcut], {}),
        ],
        "target": [
            (f"--target content={content}", cat, [mosaic], {"target": {"content": content}})
            for content in (0.3, 0.5, 0.8)
        ],
        "saliency": [
            ("--saliency 0", rocket, [swirls], {"saliency": 0.0}),
            ("--style_depth 5", rocket, [swirls], {"style_depth": 5}),
            ("default", rocket, [swirls], {}),
        ],
        "style_scale": [
            (f"--style_scale {scale}", cat, [swirls], {"style_scale": scale})
            for scale in (0.5, 1, 2)
        ],
        "color": [
            (f"--color {color}", coffee, [swirls], {"color": color})
            for color in ("style", "content", "match")
        ],
        "several": [
            ("swirls 1 : woodcut 1", cat, both, {}),
            ("left swirls, right woodcut", cat, halves, {}),
            ("photo", cat, None, {}),
        ],
        "init": [
            (f"--init {init}", cat, [swirls], {"init": init})
            for init in ("content", "uniform", "style")
        ],
        "losses": [
            ("--style_loss gram", coffee, [mosaic], {"style_loss": "gram"}),
            ("--style_loss wasserstein", coffee, [mosaic], {}),
            ("--pooling average", coffee, [mosaic], {"pooling": "average"}),
        ],
        "optimizer": [
            (f"--optimizer {name}", coffee, [woodcut], {"optimizer": name})
            for name in gatys.OPTIMIZERS
        ],
        "tv_weight": [
            (f"--tv_weight {weight}", coffee, [swirls], {"tv_weight": weight})
            for weight in (0, 30, 300)
        ],
        "portrait": [
            ("photo", astronaut, None, {}),
            ("--keep off", astronaut, [swirls], {"keep": "off"}),
            ("default: faces kept", astronaut, [swirls], {}),
            ("photo", cat, None, {}),
            ("default", cat, [swirls], {}),
            ("--preset portrait", cat, [swirls], gatys.PRESETS["portrait"]),
        ],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="names of sheets, with commas between them")
    parser.add_argument("--out", type=Path, default=Path("docs/gatys"))
    options = parser.parse_args()
    from tfstyle import machine

    machine.keep_freed_memory()  # as `tfstyle optimize` does
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = sheets()
    for name in options.only.split(",") if options.only else chosen:
        start = time.perf_counter()
        cells = [
            captioned(caption, paint(photo, styles, keywords))
            for caption, photo, styles, keywords in chosen[name]
        ]
        images.write(options.out / f"{name}.jpg", table(cells, columns=3), quality=88)
        print(f"{name}.jpg: {time.perf_counter() - start:.0f} s", flush=True)


def paint(photo, styles, keywords):
    if styles is None:
        return images.fit(photo, SIZE)
    return gatys.optimize(photo, styles, **({"size": SIZE, "steps": STEPS} | keywords)).image


def captioned(text, picture):
    label = Image.new("RGB", (picture.shape[1], CAPTION), "white")
    font = ImageFont.load_default(size=16)
    ImageDraw.Draw(label).text((4, 3), text, fill="black", font=font)
    return np.concatenate([images.from_uint8(np.asarray(label)), picture])


def table(cells, columns):
    rows = []
    for i in range(0, len(cells), columns):
        row = cells[i : i + columns]
        height = max(cell.shape[0] for cell in row)
        row = [np.pad(c, ((0, height - len(c)), (0, 6), (0, 0)), constant_values=1) for c in row]
        rows.append(np.concatenate(row, 1))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(r, ((0, 6), (0, width - r.shape[1]), (0, 0)), constant_values=1) for r in rows]
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
