"""What damaged and hostile files and requests do: `make bench BENCH=fuzz`.

    python benchmarks/fuzz.py [--images=60000] [--rest=20000] [--grpc=20000] [--heic=2000]
                              [--out=fuzz.json]
    python benchmarks/fuzz.py --only images:1234

Each input is a small file or request that is right (JPEG, PNG, GIF, WebP, TIFF, BMP and AVIF of
many kinds, made of bundled photos at 48 px, and HEIC, where pillow_heif is there; JSON bodies and
protobuf messages for all signatures), changed by flipped bits, cuts, splices of two, repeated and
removed spans, and fields set to their extremes. Files are read as the commands read them: pixels,
all frames, texts, profile, EXIF, and what is kept of them is written again. Requests go to `tfstyle
serve --dev` with two tiny models.

An input is read, refused (ImageError or TooLargeError; a status of 4xx, 429 and 503), or a fault:
any other exception, another status, a picture outside [0, 1], a call that twice takes more than 5 s
(once may be other load), memory that grows by more than 1 GB, a process that dies or hangs. Each
fault is printed with what repeats it. Exit code 1 where there is one.

Files above a million pixels are refused here, so that memory tells of faults alone: a picture of a
hundred million is owed its gigabytes.
"""

import argparse
import base64
import collections
import contextlib
import faulthandler
import http.client
import importlib.util
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path

from tfstyle import files

sys.path.insert(0, str(Path(__file__).parent.parent))

PARTS = {"images": 60_000, "rest": 20_000, "grpc": 20_000, "heic": 2_000}
OUTCOMES = ("read", "refused", "faults")
SIDE = 48  # pixels
MAX_PIXELS, MAX_FRAMES = 1_000_000, 50
SLOW, HANGS, GROWTH = 5.0, 120.0, 2**30  # seconds, seconds, bytes
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ODD_VALUES = (
    *(None, True, "", "x", "\ud800", -1, 0, 255, 256, 0.5, 1e300, 2**63, 10**30, float("nan")),
    *([], {}, [[]], [[[[]]]], {"b64": ""}, {"b64": "AA=A"}, {"b64": 1}, [[1], [1, 2]]),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for part, count in PARTS.items():
        parser.add_argument(f"--{part}", type=int, default=count, help=f"inputs of {part}")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=600, help="that a part takes at most")
    parser.add_argument("--only", metavar="PART:SEED", help="one input alone, with its traceback")
    parser.add_argument("--out", type=Path, default=Path("fuzz.json"), help="figures, as JSON")
    options = parser.parse_args()
    if options.only:
        part, _, seed = options.only.partition(":")
        if part not in PARTS or not seed.isdigit():
            sys.exit(f"--only {options.only}: give {', '.join(PARTS)}, a colon and a seed")
        wanted = {part: [int(seed)]}
    else:
        wanted = {
            part: range(options.seed, options.seed + getattr(options, part)) for part in PARTS
        }
    figures, faults = {}, 0
    print(f"{'':24}{'inputs':>8}{'read':>8}{'refused':>9}{'faults':>8}{'seconds':>9}")
    for part, seeds in wanted.items():
        if not seeds:
            continue
        if part == "heic" and not importlib.util.find_spec("pillow_heif"):
            print("heic: left out, pillow_heif is not installed")
            continue
        start = time.monotonic()
        found = tried(part, seeds, options.minutes)
        found["seconds"] = round(time.monotonic() - start)
        for kind, counts in sorted(found["kinds"].items()):
            print(row(f"{part} {kind}", counts))
        print(row(part, found, found["seconds"]), flush=True)
        figures[part] = found
        faults += found["faults"]
        if not options.only:
            files.write_json(options.out, {"first_seed": options.seed, **figures})
    return int(bool(faults))


def row(name: str, counts: dict, seconds: int | None = None) -> str:
    told = [sum(counts[each] for each in OUTCOMES), *(counts[each] for each in OUTCOMES)]
    widths = (8, 8, 9, 8)
    shown = "".join(f"{number:{width}}" for number, width in zip(told, widths, strict=True))
    return f"{name:24}{shown}" + ("" if seconds is None else f"{seconds:9}")


def tried(part: str, seeds, minutes: float = 600) -> dict:
    """What came of the inputs: counts, also of each kind of input, and the faults."""
    context = multiprocessing.get_context("spawn")
    seeds = list(seeds)
    kinds: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    told = []

    def count(kind, outcome, seed, text):
        kinds[kind][outcome] += 1
        if outcome == "faults":
            told.append({"seed": seed, "input": kind, "fault": text})
            print(f"--only {part}:{seed} ({kind}): {text}", flush=True)

    end = time.monotonic() + 60 * minutes
    while seeds and time.monotonic() < end:
        own, other = context.Pipe(duplex=False)
        process = context.Process(target=work, args=[part, seeds, other], daemon=True)
        process.start()
        other.close()
        at = None
        try:
            while own.poll(HANGS) or (at is None and own.poll(600)):
                outcome, kind, text = own.recv()
                if outcome == "starts":
                    at = kind
                    continue
                count(kind, outcome, seeds.pop(0), text)
                if time.monotonic() > end:
                    break
            process.kill()
            why = f"hangs: no end after {HANGS:.0f} s"
        except EOFError:
            process.join()
            why = f"the process died ({signal_name(process.exitcode)})"
        process.join()
        if seeds and time.monotonic() < end:
            if at is None:
                sys.exit(f"fuzz: what is to try {part} does not start ({why})")
            count(at, "faults", seeds.pop(0), why)
    totals = {each: sum(counts[each] for counts in kinds.values()) for each in OUTCOMES}
    return {**totals, "kinds": kinds, "told": told}


def signal_name(code: int | None) -> str:
    return signal.Signals(-code).name if code and code < 0 else f"exit code {code}"


def work(part: str, seeds: list[int], out):
    """Tries the inputs in this process, and sends of each that it starts and what came of it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    alone = len(seeds) == 1
    faulthandler.enable()
    warnings.simplefilter("ignore")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prepare = {"images": image_part, "rest": rest_part, "grpc": grpc_part, "heic": heic_part}
        samples, ask = prepare[part](folder, stack)
        for kind, (sample, _) in samples.items():  # warm, and a check of the samples
            outcome, text = judged(ask, kind, sample)
            if outcome != "read":
                sys.exit(f"{kind}: {text or outcome}")
        known, most = list(samples), peak_memory()
        # What asks for more than it can have becomes a MemoryError, and takes it from nobody.
        room = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (room + 4 * GROWTH, resource.RLIM_INFINITY))
        if not alone:  # what decoders write of damaged files
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for seed in seeds:
            rng = random.Random(f"{part} {seed}")
            kind, other = rng.choice(known), rng.choice(known)
            sample, change = samples[kind]
            data = change(rng, sample, samples[other][0])
            out.send(("starts", kind, ""))
            start = time.monotonic()
            outcome, text = judged(ask, kind, data, alone)
            if outcome != "faults" and time.monotonic() - start > SLOW:
                start = time.monotonic()
                judged(ask, kind, data)
                if (seconds := time.monotonic() - start) > SLOW:
                    outcome, text = "faults", f"took {seconds:.1f} s"
            if outcome != "faults" and (grown := peak_memory() - most) > GROWTH:
                outcome, text = "faults", f"memory grew by {grown / 1e9:.1f} GB"
            most = max(most, peak_memory() - GROWTH // 2) if outcome == "faults" else most
            out.send((outcome, kind, text))


def judged(ask, kind, data, shown=False) -> tuple[str, str]:
    """(outcome, what is wrong)"""
    try:
        return ("read" if ask(kind, data) else "refused"), ""
    except Exception as error:
        if shown:
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        told = str(error).partition("\n")[0][:200]
        return "faults", f"{type(error).__name__}: {told} ({Path(place.filename).name})"


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# Changes


def changed(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """The bytes with one to eight changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        data = rng.choice(CHANGES)(rng, data or b"\0", other)
    return data


def changed_file(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """As `changed`; half of the PNGs get checksums that are right, else all would be refused."""
    data = changed(rng, data, other)
    return checked_png(data) if data.startswith(b"\x89PNG") and rng.random() < 0.5 else data


def flip_bits(rng, data, other):
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        result[rng.randrange(len(result))] ^= 1 << rng.randrange(8)
    return bytes(result)


def cut(rng, data, other):
    return data[: rng.randrange(len(data))]


def splice(rng, data, other):
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other) or 1) :]


def span(rng, data):
    start = rng.randrange(len(data))
    return start, start + rng.choice((1, 2, 4, 16, 256))


def remove(rng, data, other):
    start, end = span(rng, data)
    return data[:start] + data[end:]


def repeat(rng, data, other):
    start, end = span(rng, data)
    return data[:start] + data[start:end] * rng.choice((2, 3, 100)) + data[end:]


def extreme(rng, data, other):
    """A field of 1, 2, 4 or 8 bytes, in the head as likely as in all of it."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("big", "little"))
    value = (rng.choice(EXTREMES) & (256**size - 1)).to_bytes(size, order)
    place = rng.randrange(min(len(data), rng.choice((64, len(data)))))
    return data[:place] + value + data[place + size :]


CHANGES = (flip_bits, cut, splice, remove, repeat, extreme, extreme)


def checked_png(data: bytes) -> bytes:
    """The PNG with checksums that fit what its chunks hold."""
    result, place = bytearray(data), 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        result[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(result[: len(data)])


def changed_json(rng: random.Random, body: bytes, other: bytes) -> bytes:
    """A body with other bytes, or with odd values where others were."""
    if rng.random() < 0.5:
        return changed(rng, body, other)
    document = json.loads(body)
    for _ in range(rng.choice((1, 1, 2, 4))):
        document = with_odd_value(rng, document)
    return json.dumps(document).encode()


def with_odd_value(rng, value):
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return rng.choice(ODD_VALUES)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = rng.choice(keys)
    if rng.random() < 0.1:
        return [v for k, v in enumerate(value) if k != key] if isinstance(value, list) else {}
    return (dict if isinstance(value, dict) else lambda pairs: [v for _, v in pairs])(
        [(k, with_odd_value(rng, value[k]) if k == key else value[k]) for k in keys]
    )


# Images


def pictures():
    """(three photos of one size, EXIF of most kinds)"""
    from PIL import Image

    from tfstyle import images
    from tfstyle.data import samples

    paths = samples.photo_paths()[:3]
    photos = [Image.fromarray(images.to_uint8(images.read(path, max_size=SIDE))) for path in paths]
    size = min(photo.width for photo in photos), min(photo.height for photo in photos)
    exif = Image.Exif()
    exif.update({0x010F: "maker", 0x0112: 6, 0x0132: "2020:01:02 03:04:05", 0x013B: "someone"})
    exif.get_ifd(0x8769).update({0x9003: "2020:01:02 03:04:05", 0x829A: 0.01})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return [photo.crop((0, 0, *size)) for photo in photos], exif


def heic_samples() -> dict[str, bytes]:
    """{kind: file}"""
    import pillow_heif

    from tests.profiles import ADOBE_PROFILE

    photos, exif = pictures()
    clear = photos[0].copy()
    clear.putalpha(photos[1].convert("L"))
    told = {"exif": exif.tobytes(), "xmp": b"<x/>", "icc_profile": ADOBE_PROFILE}

    def made(*pictures, **options):
        file = io.BytesIO()
        heif = pillow_heif.from_pillow(pictures[0])
        for each in pictures[1:]:
            heif.add_from_pillow(each)
        heif.save(file, **options)
        return file.getvalue()

    deep = io.BytesIO()
    size, data = photos[0].size, photos[0].tobytes()
    values = b"".join(bytes((value, value)) for value in data)
    pillow_heif.encode("RGB;16", size, values, deep)
    return {
        "HEIC": made(photos[0]),
        "HEIC with metadata": made(photos[0], **told),
        "HEIC alpha": made(clear),
        "HEIC grey": made(photos[0].convert("L")),
        "HEIC lossless": made(photos[0], quality=-1, chroma=444),
        "HEIC of several": made(*photos),
        "HEIC deep": deep.getvalue(),
    }


def image_samples() -> dict[str, bytes]:
    """{kind: file}"""
    import numpy as np
    from PIL import Image

    from tests.profiles import ADOBE_PROFILE
    from tfstyle import images

    photos, exif = pictures()
    photo = photos[0]
    clear = photo.copy()
    clear.putalpha(photos[1].convert("L"))
    deep = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    told = {"exif": exif, "icc_profile": ADOBE_PROFILE}
    several = {"save_all": True, "append_images": photos[1:], "duration": 40, "loop": 2}

    def made(picture, kind, **options):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        return file.getvalue()

    noted = images.encode(
        images.from_uint8(np.asarray(photo)),
        text={"Software": "x", "tfstyle:made": '{"model": "x"}', "Comment": "é"},
        xmp="<x:xmpmeta>DigitalSourceType>y<</x:xmpmeta>",
        icc=ADOBE_PROFILE,
        exif=exif.tobytes(),
        dpi=(72, 72),
    )
    return {
        "JPEG": made(photo, "JPEG", comment=b'{"a": "b"}', **told),
        "JPEG progressive": made(photo, "JPEG", progressive=True, xmp=b"<x/>"),
        "JPEG grey": made(photo.convert("L"), "JPEG"),
        "JPEG CMYK": made(photo.convert("CMYK"), "JPEG"),
        "PNG": made(photo, "PNG"),
        "PNG with metadata": noted,
        "PNG alpha": made(clear, "PNG"),
        "PNG palette": made(photo.quantize(16), "PNG", transparency=3),
        "PNG grey": made(photo.convert("L"), "PNG", transparency=9),
        "PNG grey alpha": made(clear.convert("LA"), "PNG"),
        "PNG 1 bit": made(photo.convert("1"), "PNG"),
        "PNG 16 bits": made(deep, "PNG"),
        "PNG colour 16 bits": images.encode(images.from_uint8(np.asarray(photo)), bits=16),
        "PNG animated": made(clear, "PNG", default_image=True, **several),
        "GIF": made(photo.quantize(32), "GIF", comment=b"x"),
        "GIF animated": made(photo, "GIF", disposal=2, **several),
        "WebP": made(photo, "WEBP", xmp=b"<x/>", **told),
        "WebP lossless": made(clear, "WEBP", lossless=True),
        "WebP animated": made(clear, "WEBP", **several),
        "TIFF": made(photo, "TIFF", **told),
        "TIFF LZW": made(photo, "TIFF", compression="tiff_lzw"),
        "TIFF deflate": made(clear, "TIFF", compression="tiff_deflate"),
        "TIFF JPEG": made(photo, "TIFF", compression="jpeg"),
        "TIFF fax": made(photo.convert("1"), "TIFF", compression="group4"),
        "TIFF 16 bits": made(deep, "TIFF"),
        "TIFF big": made(photo, "TIFF", big_tiff=True),
        "TIFF palette": made(photo.quantize(16), "TIFF", compression="packbits"),
        "TIFF pages": made(photo, "TIFF", save_all=True, append_images=photos[1:]),
        "BMP": made(photo, "BMP"),
        "BMP palette": made(photo.quantize(16), "BMP"),
        "AVIF": made(photo, "AVIF", speed=10, **told),
        "AVIF animated": made(photo, "AVIF", speed=10, **several),
    }


def image_part(folder: Path, stack: contextlib.ExitStack):
    return file_part(folder, image_samples())


def heic_part(folder: Path, stack: contextlib.ExitStack):
    return file_part(folder, heic_samples())


def file_part(folder: Path, samples: dict[str, bytes]):
    import numpy as np
    import tensorflow  # noqa: F401, whose memory is no growth

    from tfstyle import images, machine
    from tfstyle.images import provenance

    known = (images.ImageError, machine.TooLargeError)
    path = folder / "file"
    writes = {0: "png", 1: "jpeg", 2: "webp"}

    def check(picture):
        assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.float32
        assert picture.size and 0 <= picture.min() <= picture.max() <= 1, "values outside [0, 1]"

    def looked(work):
        try:
            return work()
        except known:
            return None

    def frames(data):
        animation = images.read_animation(data, max_pixels=MAX_PIXELS)
        if animation:
            for _, (picture, length) in zip(range(MAX_FRAMES), animation.frames, strict=False):
                check(picture)
                assert length == length

    def ask(kind, data):
        path.write_bytes(data)
        picture = looked(lambda: images.decode_bytes(data, max_pixels=MAX_PIXELS))
        looked(lambda: images.decode_bytes(data, max_pixels=MAX_PIXELS, max_size=16))
        looked(lambda: images.read_mask(path, max_pixels=MAX_PIXELS))
        looked(lambda: frames(data))
        looked(lambda: images.read_text(path, max_pixels=MAX_PIXELS))
        looked(lambda: images.read_xmp(path, max_pixels=MAX_PIXELS))
        looked(lambda: provenance.found(path))
        icc = looked(lambda: images.read_icc(path))
        kept = [looked(lambda k=keep: images.photo_metadata(data, k)) for keep in ("safe", "all")]
        if picture is None:
            return False
        check(picture)
        small = images.fit(picture, 8)
        for metadata in kept:
            # What was read of a file that is read can be written.
            images.encode(small, writes[len(data) % 3], icc=icc, **(metadata or {}))
        return True

    return {kind: (data, changed_file) for kind, data in samples.items()}, ask


# Requests


def served(folder: Path, stack: contextlib.ExitStack):
    """(a development server with two tiny models, an image, a file)"""
    import numpy as np

    from tests import small_models
    from tfstyle import images
    from tfstyle.data import samples
    from tfstyle.serving.server import DevServer

    photo = images.read(samples.photo_paths()[0], max_size=SIDE)
    for name, model in (("tiny", small_models.fast()), ("several", small_models.fusion())):
        (folder / name).mkdir()
        small_models.save(model, folder / name / "1", photo)
    server = DevServer({name: folder / name for name in ("tiny", "several")}, poll_seconds=3600)
    stack.enter_context(server.in_thread())
    tensor = images.to_uint8(photo[:12, :10])[np.newaxis]
    return server, tensor, [images.encode(photo), images.encode(photo, "jpeg")]


BLEND = [[0.5, 0.25, 0.25]]


def rest_part(folder: Path, stack: contextlib.ExitStack):
    server, tensor, pictures = served(folder, stack)
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=HANGS)

    def b64(data):
        return {"b64": base64.b64encode(data).decode()}

    def ask(kind, body):
        name = "several" if kind.startswith("several") else "tiny"
        for last in (False, True):
            try:
                connection.request("POST", f"/v1/models/{name}:predict", body)
                reply = connection.getresponse()
                told = json.loads(reply.read())
                break
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()  # as the server does after some errors
                if last:
                    raise
        if reply.status == 200:
            return True
        assert 400 <= reply.status < 500 or reply.status == 503, f"{reply.status} {told}"
        assert list(told) == ["error"] and "Traceback" not in told["error"], told
        return False

    def with_file(rng, body, other):
        document = json.loads(body)
        given = document["inputs"]
        key = "image_bytes"
        data = changed_file(rng, base64.b64decode(given[key][0]["b64"]), rng.choice(pictures))
        given[key][0] = b64(data)
        return json.dumps(document).encode()

    floats = (tensor / 255).round(3).tolist()
    bodies = {
        "rows": {"instances": tensor.tolist()},
        "columns": {"inputs": {"images": tensor.tolist()}},
        "float": {"signature_name": "float", "instances": [{"images": floats[0]}]},
        "encoded": {"signature_name": "encoded", "instances": [b64(pictures[0])]},
        "several": {"inputs": {"images": tensor.tolist(), "style_weights": BLEND}},
        "several float": {
            "signature_name": "float",
            "instances": [{"images": floats[0], "style_weights": BLEND[0]}],
        },
    }
    found = {kind: (json.dumps(body).encode(), changed_json) for kind, body in bodies.items()}
    for name, picture in zip(("PNG file", "JPEG file"), pictures, strict=True):
        body = {"signature_name": "encoded", "inputs": {"image_bytes": [b64(picture)]}}
        found[name] = json.dumps(body).encode(), with_file
        body["inputs"]["style_weights"] = BLEND
        found[f"several {name}"] = json.dumps(body).encode(), with_file
    return found, ask


def grpc_part(folder: Path, stack: contextlib.ExitStack):
    import grpc
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        predict_pb2,
    )

    server, tensor, pictures = served(folder, stack)
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    service, models = "/tensorflow.serving.PredictionService", "/tensorflow.serving.ModelService"
    predict = channel.unary_unary(f"{service}/Predict")
    others = {
        "metadata": channel.unary_unary(f"{service}/GetModelMetadata"),
        "status": channel.unary_unary(f"{models}/GetModelStatus"),
    }
    refusals = {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
    refusals |= {"FAILED_PRECONDITION", "OUT_OF_RANGE"}

    def ask(kind, message):
        try:
            others.get(kind, predict)(message, timeout=HANGS)
        except grpc.RpcError as error:
            code, told = error.code().name, error.details()
            assert code in refusals and "Traceback" not in told, f"{code} {told}"
            return False
        return True

    def request(name, signature, **inputs):
        made = predict_pb2.PredictRequest()
        made.model_spec.name, made.model_spec.signature_name = name, signature
        for key, value in inputs.items():
            made.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        return made.SerializeToString()

    def with_odd_fields(rng, message, other):
        """Other bytes, or a message that is one and claims what it does not hold."""
        if rng.random() < 0.4:
            return changed(rng, message, other)
        made = predict_pb2.PredictRequest.FromString(message)
        given = made.inputs[rng.choice(list(made.inputs))]
        for _ in range(rng.choice((1, 1, 2, 3))):
            change = rng.randrange(8)
            if change == 0:
                given.dtype = rng.randrange(130)
            elif change == 1 and given.tensor_shape.dim:
                value = rng.choice((*EXTREMES, 2**62, 2**63 - 1, -1))
                rng.choice(given.tensor_shape.dim).size = value
            elif change == 2:
                given.tensor_shape.dim.add().size = rng.choice(EXTREMES)
            elif change == 3:
                given.tensor_shape.unknown_rank = True
            elif change == 4:
                given.tensor_content = changed(rng, given.tensor_content, other)
            elif change == 5:
                given.int_val.extend([rng.choice((0, -1, 255, 256, 2**31 - 1))] * rng.randrange(9))
            elif change == 6:
                given.float_val.extend([rng.choice((0.5, 1e38, float("nan")))] * rng.randrange(9))
            else:
                made.output_filter.append(rng.choice(("stylized", "x", "")))
        return made.SerializeToString()

    def with_file(rng, message, other):
        made = predict_pb2.PredictRequest.FromString(message)
        given = made.inputs["image_bytes"].string_val
        given[0] = changed_file(rng, given[0], rng.choice(pictures))
        return made.SerializeToString()

    blend = np.array(BLEND, np.float32)
    floats = (tensor / 255).astype(np.float32)
    found = {
        "pixels": (request("tiny", "", images=tensor), with_odd_fields),
        "float": (request("tiny", "float", images=floats), with_odd_fields),
        "encoded": (request("tiny", "encoded", image_bytes=pictures[:1]), with_odd_fields),
        "several": (request("several", "", images=tensor, style_weights=blend), with_odd_fields),
    }
    for name, picture in zip(("PNG file", "JPEG file"), pictures, strict=True):
        found[name] = request("tiny", "encoded", image_bytes=[picture]), with_file
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "tiny"
    found["metadata"] = asked.SerializeToString(), changed
    looked = get_model_status_pb2.GetModelStatusRequest()
    looked.model_spec.name = "tiny"
    found["status"] = looked.SerializeToString(), changed
    return found, ask


if __name__ == "__main__":
    sys.exit(main())
