"""How long the Gatys optimiser takes to a picture of a given quality, beside the plain method.

    python benchmarks/gatys.py
    python benchmarks/gatys.py --content=PHOTOS/ --style=PAINTINGS/ --pairs=astronaut:swirls,...

For each pair three runs follow each other in one process, classic, plain and classic again:
`gatys.optimize` with its preset "classic", and the method as first published on TensorFlow (one
scale, Adam with a rate of 8/255, from the content, float32, the same features and weights). Every
few steps the picture so far is judged as `tfstyle evaluate` does, in 8 bits and float32; the time
for that is not counted, everything else since the call is (building the extractor, tracing,
choosing the precision). A run ends when the quality is reached and --more steps are done, or after
--limit steps. Both curves are printed.

    python benchmarks/gatys.py --preview

times `tfstyle optimize --preset preview` from start to end of the process.

    python benchmarks/gatys.py --hand --presets=default,classic

paints each pair with each preset and prints what `tfstyle evaluate` does: distances, and the
measures of the painter's hand. With

    --peer='python PATH/style_transfer.py {content} {style} -o {output} -s {size}'

another program paints the same pairs in turn, a command in which the names in braces are filled in:
PNG files in, and one out. Its time is that of the whole process, ours that of the call.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

STYLE_BAR, CONTENT_BAR, RATIO_BAR = 0.03, 0.65, 4.0
PAIRS = "astronaut:swirls,chelsea:mosaic,coffee:woodcut,rocket:swirls,seeding:mosaic"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--content", type=Path, help="folder of photos; the bundled ones if omitted"
    )
    parser.add_argument("--style", type=Path, help="folder of style images; drawn ones if omitted")
    parser.add_argument("--pairs", default=PAIRS, help=f"CONTENT:STYLE,... (default {PAIRS})")
    parser.add_argument("--size", type=int, default=512, help="longest side in pixels")
    parser.add_argument("--limit", type=int, default=250, help="steps of the plain method at most")
    parser.add_argument("--more", type=int, default=0, help="steps after the quality is reached")
    parser.add_argument("--every", type=int, default=3, help="steps between judgements")
    parser.add_argument("--plain_style_weight", type=float, help="other than the classic's")
    parser.add_argument("--precision", default="auto", help="of the classic method")
    parser.add_argument("--out", type=Path, help="folder for the pictures")
    parser.add_argument("--preview", action="store_true", help="time the preview preset instead")
    parser.add_argument("--hand", action="store_true", help="measure the painter's hand instead")
    parser.add_argument("--presets", default="default,classic", help="with --hand")
    parser.add_argument("--peer", default="", help="with --hand: a command, see above")
    options = parser.parse_args()
    from tfstyle import machine

    machine.keep_freed_memory()  # as `tfstyle optimize` does
    if options.preview:
        preview(options)
    elif options.hand:
        hand(options)
    else:
        time_to_quality(options)


def time_to_quality(options):
    from tfstyle import gatys, images

    classic = gatys.PRESETS["classic"]
    plain = classic | {"optimizer": "adam", "learning_rate": 8 / 255, "min_size": options.size}
    plain |= {"precision": "float32", "steps": options.limit}
    if options.plain_style_weight:
        plain["style_weight"] = options.plain_style_weight
    ours = classic | {"precision": options.precision}
    # Before and after the plain method, so that what else the machine does falls on both.
    runs = (("classic", ours), ("plain", plain), ("classic", ours))
    ratios = []
    for content_name, style_name, content, style in pairs(options):
        reached = {"classic": [], "plain": []}
        for method, keywords in runs:
            run = Run(content, style, options, keywords)
            reached[method].append(run.reached)
            if method == "plain":
                spent = run.curve[-1][0]
            print(f"{content_name} in {style_name}, {method}: {run}", flush=True)
            if options.out:
                options.out.mkdir(parents=True, exist_ok=True)
                name = f"{content_name}_{style_name}_{method}.png"
                images.write(options.out / name, run.picture)
        if None in reached["classic"]:
            ratios.append(float("nan"))
        else:
            # A plain run that ended short of the quality would have taken longer still.
            plain_seconds = reached["plain"][0] or spent
            ratios.append(plain_seconds / statistics.mean(reached["classic"]))
            at_least = "" if reached["plain"][0] else "at least "
            print(f"  plain / classic: {at_least}{ratios[-1]:.1f}", flush=True)
    good = all(ratio >= RATIO_BAR for ratio in ratios)
    print(
        f"Times as soon at style {STYLE_BAR} and content {CONTENT_BAR}: "
        + ", ".join(f"{ratio:.1f}" for ratio in ratios)
        + f"; median {statistics.median(ratios):.1f}; at least {RATIO_BAR:.0f} in all: "
        + ("yes" if good else "NO")
    )


def pairs(options):
    from tfstyle import images
    from tfstyle.data import drawn, samples

    for pair in options.pairs.split(","):
        names = content_name, style_name = pair.split(":")
        if options.content:
            content = images.read(next(options.content.glob(f"{content_name}.*")))
        else:
            content = samples.photo(content_name)
        if options.style:
            style = images.read(next(options.style.glob(f"{style_name}.*")))
        else:
            style = drawn.style(style_name, options.size)
        yield *names, images.fit(content, options.size), images.fit(style, options.size)


class Run:
    """One method on one pair: its curve of (seconds, style distance, content distance)."""

    def __init__(self, content, style, options, keywords):
        from tfstyle import features, gatys, metrics

        self.options, self.content, self.style = options, content, style
        self.judge = (metrics, features.vgg16(metrics.LAYERS))
        self.curve, self.reached, self.left, self.picture = [], None, options.more, None
        self.judging = 0.0
        self.begin = time.perf_counter()
        result = gatys.optimize(
            content,
            [gatys.Style(style)],
            size=max(content.shape[:2]),
            callback=self.look,
            **keywords,
        )
        self.precision = result.precision

    def look(self, progress):
        from tfstyle import images

        if progress.scale < progress.scales - 1:
            return False
        if self.reached is not None:
            self.left -= 1
            return self.left < 0
        if progress.step % self.options.every:
            return False
        start = time.perf_counter()
        seconds = start - self.begin - self.judging
        metrics, extractor = self.judge
        picture = images.from_uint8(images.to_uint8(progress.image))
        scores = metrics.evaluate(
            picture, self.content, self.style, extractor=extractor, size=self.options.size
        )
        self.picture = picture
        style, content = scores.relative_style_distance, scores.content_distance
        self.curve.append((seconds, style, content))
        if style <= STYLE_BAR and content <= CONTENT_BAR:
            self.reached = seconds
        self.judging += time.perf_counter() - start
        return self.reached is not None and self.left == 0

    def __str__(self):
        points = " ".join(f"{t:.0f}s:{s:.3f}/{c:.2f}" for t, s, c in self.curve)
        end = "not reached" if self.reached is None else f"reached in {self.reached:.1f} s"
        return f"{self.precision}, {end}; seconds:style/content {points}"


def preview(options):
    from tfstyle import features, images, metrics

    extractor = features.vgg16(metrics.LAYERS)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for content_name, style_name, content, style in pairs(options):
            images.write(folder / "content.png", content)
            images.write(folder / "style.png", style)
            output = (options.out or folder) / f"preview_{content_name}_{style_name}.png"
            output.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "tfstyle", "optimize", folder / "content.png"]
            command += ["--style", folder / "style.png", "--preset", "preview", "-o", output]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds = time.perf_counter() - start
            scores = metrics.evaluate(
                images.read(output), content, style, extractor=extractor, size=384
            )
            print(
                f"{content_name} in {style_name}: {seconds:.1f} s, style "
                f"{scores.relative_style_distance:.3f}, content {scores.content_distance:.2f}",
                flush=True,
            )


def hand(options):
    import dataclasses

    from tfstyle import features, images, metrics

    extractor = features.vgg16(metrics.LAYERS)
    for content_name, style_name, content, style in pairs(options):
        judge = metrics.BrushworkJudge(style, extractor=extractor, size=options.size)
        methods = [preset for preset in options.presets.split(",") if preset]
        for method in [*methods, *(["peer"] if options.peer else [])]:
            if method == "peer":
                picture, how = painted_by_peer(options, content, style)
            else:
                picture, how = painted_by_preset(options, method, content, style)
            scores = metrics.evaluate(
                picture, content, style, extractor=extractor, size=options.size
            )
            found = dataclasses.asdict(scores) | dataclasses.asdict(judge(picture, content))
            told = ", ".join(
                f"{key} {value:.3f}" for key, value in found.items() if value is not None
            )
            print(f"{content_name} in {style_name}, {method}: {how}, {told}", flush=True)
            if options.out:
                options.out.mkdir(parents=True, exist_ok=True)
                images.write(options.out / f"{content_name}_{style_name}_{method}.png", picture)


def painted_by_preset(options, preset, content, style):
    """The picture, and how it came about in words."""
    from tfstyle import gatys, images

    keywords = {"size": options.size}
    keywords |= gatys.PRESETS[preset] if preset != "default" else {}
    made = gatys.optimize(content, [gatys.Style(style)], **keywords)
    how = f"{made.seconds:.0f} s, weight {made.style_weight:.1f}"
    how += f", own content loss {made.losses['content']:.3f}"
    return images.from_uint8(images.to_uint8(made.image)), how


def painted_by_peer(options, content, style):
    """As `painted_by_preset`, by the command of --peer."""
    from tfstyle import images

    with tempfile.TemporaryDirectory() as folder:
        names = {name: Path(folder) / f"{name}.png" for name in ("content", "style", "output")}
        images.write(names["content"], content)
        images.write(names["style"], style)
        filled = names | {"size": options.size}
        command = [part.format(**filled) for part in shlex.split(options.peer)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode or not names["output"].exists():
            sys.exit(
                f"--peer {shlex.join(command)}: status {done.returncode}; {done.stderr[-500:]}"
            )
        picture = images.read(names["output"])
    if picture.shape != content.shape:
        picture = images.resize(picture, content.shape[:2])
    return picture, f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
