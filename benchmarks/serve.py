"""Load on the development server, beside the bare model: `make bench BENCH=serve`.

    python benchmarks/serve.py [--seconds=120] [--clients=16] [--size=512] [--workers=2]

`tfstyle serve --dev` serves a generator of the default size (random weights: they take the same
time). Half of the clients send pixels over gRPC (`serving_default`), half JPEG files over REST
(`encoded`), each the next request when it has its reply. One client a second is killed in the midst
of a request and replaced; half way, a second version appears. Every reply is compared with what the
versions should answer: it is wrong beyond 1/255 of either, or from version 1 where it was asked for
after version 2 was said to be AVAILABLE. It is lost where a client that lives gets no reply.

Every five seconds the clients pause and the bare model (the same SavedModel and session, in a
process of its own, with as many threads as the server has workers) computes the same two requests,
so that whatever else the machine does falls on both. The throughput of a round is the time that the
bare model would have taken for its images, by what it took before and after, over the time that the
server had; the median of the rounds is reported. Processor time is given too: it shows what serving
costs where other processes take most of the machine.
"""

import argparse
import base64
import http.client
import json
import math
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import psutil

from tfstyle.serving import config

ROOT = Path(__file__).parent.parent
KINDS = ("grpc", "rest")
KEYS = ("wall", "cpu")
SIGNATURES = {"grpc": "serving_default", "rest": "encoded"}
ROUND = 5.0  # seconds of load between two looks at the bare model
BARE_SECONDS = 1.0  # of each signature
PREDICT = "/tensorflow.serving.PredictionService/Predict"
BAR = 0.85


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        return prepare(options.prepare, options.size)
    if options.bare:
        return bare(options.bare, options.workers)
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), options)


def measure(folder: Path, options) -> int:
    def own(*arguments, **more):
        command = [sys.executable, __file__, *map(str, arguments)]
        command += [f"--size={options.size}", f"--workers={options.workers}"]
        return subprocess.Popen(command, **more)

    print("Making two versions and what they should answer", flush=True)
    if own("--prepare", folder).wait():
        sys.exit("serve: the models could not be made")
    (folder / "load").mkdir()
    (folder / "1").rename(folder / "load" / "1")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    model = own("--bare", folder, **pipes)
    model.stdout.readline()
    command = [sys.executable, "-m", "tfstyle", "serve", str(folder / "load"), "--dev"]
    command += ["--port=0", "--rest_port=0", f"--workers={options.workers}"]
    log = open(folder / "server.log", "w+")
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    load = None
    try:
        lines = [server.stdout.readline() for _ in range(3)]
        if not lines[2]:
            log.seek(0)
            sys.exit(f"serve: the server did not start\n{log.read()}")
        rest, rpc = (line.split()[1].split("//")[1].split("/")[0] for line in lines[1:])
        load = Load(folder, {"grpc": rpc, "rest": rest}, options.clients)
        figures = drive(folder, load, model, server, rest, options.seconds)
        server.send_signal(signal.SIGTERM)
        if server.wait(60):
            sys.exit(f"serve: the server ended with {server.returncode}")
    finally:
        if load:
            load.end()
        for process in (server, model):
            process.kill()
            process.wait()
        log.seek(0)
        noise = [line for line in log.read().splitlines() if "Traceback" in line]
    return report(figures, len(noise), options)


def drive(folder, load, model, server, rest, seconds) -> dict:
    """Load and bare model in turns; the second version half way."""
    process = psutil.Process(server.pid)
    rounds, swapped, served_seconds = [], None, 0.0
    second = folder / "2"
    ask_bare(model)  # warm
    bare, waiting = [ask_bare(model)], []
    while served_seconds < seconds:
        before, start = process.cpu_times(), time.monotonic()
        load.go.value = 1
        end = start + min(ROUND, seconds - served_seconds)
        while time.monotonic() < end:
            time.sleep(max(0, min(1.0, end - time.monotonic())))
            load.kill_one()
            waiting.append(waiting_requests(rest))
            if second.exists() and served_seconds + time.monotonic() - start > seconds / 2:
                second.rename(folder / "load" / "2")
            if swapped is None and "2" in served_versions(rest):
                swapped = time.monotonic()
        load.go.value = 0
        load.drain()
        after, stop = process.cpu_times(), time.monotonic()
        served_seconds += stop - start
        cpu = after.user + after.system - before.user - before.system
        rounds.append({"start": start, "stop": stop, "cpu": cpu})
        print(f"{served_seconds:6.0f} s, {load.killed} clients killed", flush=True)
        bare.append(ask_bare(model))
    load.end()
    for number, each in enumerate(rounds):
        each["bare"] = {
            kind: {key: (bare[number][kind][key] + bare[number + 1][kind][key]) / 2 for key in KEYS}
            for kind in KINDS
        }
    return {
        "rounds": rounds,
        "seconds": served_seconds,
        "swapped": swapped,
        "waiting": waiting,
        "killed": load.killed,
        "replies": load.replies(),
    }


def served_versions(rest: str) -> list[str]:
    connection = http.client.HTTPConnection(rest, timeout=30)
    connection.request("GET", "/v1/models/load")
    told = json.load(connection.getresponse())["model_version_status"]
    connection.close()
    return [entry["version"] for entry in told if entry["state"] == "AVAILABLE"]


def waiting_requests(rest: str) -> float:
    connection = http.client.HTTPConnection(rest, timeout=30)
    connection.request("GET", config.METRICS_PATH)
    page = connection.getresponse().read().decode()
    connection.close()
    return float(page.partition("\ntfstyle_serving_waiting_requests ")[2].split()[0])


def ask_bare(model) -> dict:
    model.stdin.write("go\n")
    model.stdin.flush()
    return json.loads(model.stdout.readline())


class Load:
    """Clients, one process each, forked: a killed one is replaced at no cost in imports."""

    def __init__(self, folder: Path, addresses: dict[str, str], count: int):
        self.folder, self.addresses = folder, addresses
        self.killed = 0
        self.go = multiprocessing.Value("b", 0, lock=False)
        self._busy = multiprocessing.Array("b", 10_000, lock=False)
        self._random = random.Random(0)
        self._started = 0
        (folder / "replies").mkdir()
        self._requests = {kind: (folder / f"{kind}.request").read_bytes() for kind in KINDS}
        self._answers = {
            kind: [(folder / f"{kind}.answer.{version}").read_bytes() for version in (1, 2)]
            for kind in KINDS
        }
        self._living = [self._start(KINDS[i % 2]) for i in range(count)]

    def _start(self, kind: str):
        number = self._started
        self._started += 1
        process = multiprocessing.get_context("fork").Process(
            target=self._ask, args=[kind, number], daemon=True
        )
        process.start()
        return process, kind, number

    def kill_one(self):
        """Kills a client that waits for a reply, and starts another."""
        for _ in range(100):
            place = self._random.randrange(len(self._living))
            process, kind, number = self._living[place]
            if self._busy[number]:
                break
            time.sleep(0.005)
        process.kill()
        process.join()
        self._busy[number] = 0
        self.killed += 1
        self._living[place] = self._start(kind)

    def drain(self):
        """Waits until all clients have their replies."""
        while any(self._busy[number] for _, _, number in self._living):
            time.sleep(0.002)

    def end(self):
        for process, _, _ in self._living:
            process.kill()
            process.join()

    def replies(self) -> list[dict]:
        found = []
        for path in (self.folder / "replies").iterdir():
            *lines, torn = path.read_text().split("\n")
            found += map(json.loads, lines)
        return found

    def _ask(self, kind: str, number: int):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ask = {"grpc": self._over_grpc, "rest": self._over_rest}[kind]()
        with open(self.folder / "replies" / str(number), "a", buffering=1) as file:
            while True:
                if not self.go.value:
                    time.sleep(0.005)
                    continue
                self._busy[number] = 1
                start = time.monotonic()
                try:
                    reply = ask(self._requests[kind])
                    seconds = time.monotonic() - start
                    answer = self._version(kind, reply)
                except Exception as error:
                    seconds, answer = time.monotonic() - start, f"{type(error).__name__}: {error}"
                told = {"kind": kind, "start": start, "seconds": seconds, "answer": answer}
                file.write(json.dumps(told) + "\n")
                self._busy[number] = 0

    def _over_grpc(self):
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        channel = grpc.insecure_channel(self.addresses["grpc"], options=options)
        call = channel.unary_unary(PREDICT)
        return lambda request: call(request, timeout=120)

    def _over_rest(self):
        connection = http.client.HTTPConnection(self.addresses["rest"], timeout=120)

        def ask(request):
            connection.request("POST", "/v1/models/load:predict", request)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise RuntimeError(f"{response.status} {body[:200]}")
            return body

        return ask

    def _version(self, kind: str, reply: bytes) -> int | str:
        """Which version's answer it is; 0 where it is none's."""
        for version, answer in enumerate(self._answers[kind], 1):
            if reply == answer:
                return version
        import numpy as np

        told = pixels(kind, reply)
        for version, answer in enumerate(self._answers[kind], 1):
            if np.abs(told.astype(int) - pixels(kind, answer)).max() <= 1:
                return version
        return 0


def pixels(kind: str, reply: bytes):
    """uint8 [H, W, 3] of a reply."""
    import numpy as np

    if kind == "rest":
        from tfstyle import images

        (told,) = json.loads(reply)["outputs"]
        return images.to_uint8(images.decode_bytes(base64.b64decode(told["b64"])))
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    return np.array(
        tf.make_ndarray(predict_pb2.PredictResponse.FromString(reply).outputs["stylized"])[0]
    )


def prepare(folder: Path, size: int):
    """Two versions, the two requests, and the replies of the server to them."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from tfstyle import images
    from tfstyle.data import samples
    from tfstyle.export import signatures
    from tfstyle.networks import generators
    from tfstyle.serving import models, protocol, server

    photo = images.resize(images.read(samples.photo_paths()[0]), (size, size))
    file = images.encode(photo, "jpeg")
    batch = images.to_uint8(photo)[np.newaxis]
    request = predict_pb2.PredictRequest(model_spec={"name": "load"})
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(batch))
    (folder / "grpc.request").write_bytes(request.SerializeToString())
    inputs = [{"b64": base64.b64encode(file).decode()}]
    body = json.dumps({"signature_name": "encoded", "inputs": inputs})
    (folder / "rest.request").write_text(body)
    np.savez(folder / "inputs.npz", grpc=batch, rest=np.frombuffer(file, np.uint8))
    for number in (1, 2):
        keras.utils.set_random_seed(number)
        generator = generators.fast_generator()
        # Far enough from their start that what the versions answer differs.
        rng = np.random.default_rng(number)
        generator.set_weights([w + rng.normal(0, 0.05, w.shape) for w in generator.get_weights()])
        module, served = signatures.servable(generator)
        saved = folder / str(number)
        tf.saved_model.save(module, str(saved), signatures=served)
        signatures.write_warm_up(saved, "load", photo, 0)
        version = models.Version(saved)
        (stylized,) = version.run("serving_default", {"images": batch}, ["stylized"])
        names = "load", "serving_default"
        answer = server._predict_response(version, {"stylized": stylized}, names)
        (folder / f"grpc.answer.{number}").write_bytes(answer)
        given = np.array([file], object)
        (stylized,) = version.run("encoded", {"image_bytes": given}, ["stylized_bytes"])
        answer = protocol.write_reply({"stylized_bytes": stylized}, rows=False)
        (folder / f"rest.answer.{number}").write_bytes(answer)
        version.end()


def bare(folder: Path, threads: int):
    """Answers each line on standard input with {kind: {"wall", "cpu"}}: seconds of one image."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from tfstyle.serving import models

    version = models.Version(folder / "load" / "1")
    given = np.load(folder / "inputs.npz")
    inputs = {
        "grpc": ({"images": given["grpc"]}, ["stylized"]),
        "rest": ({"image_bytes": np.array([given["rest"].tobytes()], object)}, ["stylized_bytes"]),
    }
    print("ready", flush=True)
    with ThreadPoolExecutor(threads) as pool:
        for _ in sys.stdin:
            told = {}
            for kind, (values, outputs) in inputs.items():
                start, cpu = time.monotonic(), time.process_time()

                def work(start=start, kind=kind, values=values, outputs=outputs):
                    count = 0
                    while time.monotonic() - start < BARE_SECONDS:
                        version.run(SIGNATURES[kind], values, outputs)
                        count += 1
                    return count

                count = sum(
                    future.result() for future in [pool.submit(work) for _ in range(threads)]
                )
                told[kind] = {
                    "wall": (time.monotonic() - start) / count,
                    "cpu": (time.process_time() - cpu) / count,
                }
            print(json.dumps(told), flush=True)


def ratio(each: dict, replies: list[dict], key: str) -> float:
    """What the bare model would have taken for the images of a round, by what the server took."""
    of_round = [r for r in replies if each["start"] <= r["start"] < each["stop"]]
    would = sum(each["bare"][reply["kind"]][key] for reply in of_round)
    return would / (each["cpu"] if key == "cpu" else each["stop"] - each["start"])


def report(figures: dict, tracebacks: int, options) -> int:
    replies = figures["replies"]
    lost = [r["answer"] for r in replies if isinstance(r["answer"], str)]
    wrong = [r for r in replies if r["answer"] == 0]
    swapped = figures["swapped"] or math.inf
    late = [r for r in replies if r["answer"] == 1 and r["start"] > swapped]
    right = [r for r in replies if r["answer"] in (1, 2)]
    counts = {kind: sum(r["kind"] == kind for r in right) for kind in KINDS}
    rounds = figures["rounds"]
    bare = {
        kind: {key: statistics.median(r["bare"][kind][key] for r in rounds) for key in KEYS}
        for kind in KINDS
    }
    throughput, cost = (
        statistics.median(ratio(each, right, key) for each in rounds) for key in KEYS
    )
    print(
        f"\n{options.clients} clients, {options.size}x{options.size}, {figures['seconds']:.0f} s, "
        f"{figures['killed']} clients killed, version 2 half way"
    )
    versions = [sum(r["answer"] == version for r in right) for version in (1, 2)]
    print(
        f"replies            {len(right)} right ({versions[0]} and {versions[1]} of the versions)"
    )
    print(f"wrong              {len(wrong)}, of the old version after the new {len(late)}")
    print(f"lost               {len(lost)} {sorted(set(lost))[:3] or ''}")
    for kind in KINDS:
        times = sorted(r["seconds"] for r in right if r["kind"] == kind)
        p50, p99 = (times[min(len(times) - 1, int(q * len(times)))] for q in (0.5, 0.99))
        print(
            f"{kind} {SIGNATURES[kind]:16} {counts[kind] / figures['seconds']:5.1f} images/s, "
            f"p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms; bare {bare[kind]['wall'] * 1e3:.1f} "
            f"ms an image, processor {bare[kind]['cpu'] * 1e3:.1f} ms"
        )
    fine = throughput >= BAR
    verdict = "ok" if fine else "NO"
    print(f"waiting            {statistics.median(figures['waiting']):.0f} requests in the queue")
    told = " ".join(f"{ratio(each, right, 'wall'):.2f}" for each in rounds)
    print(f"of each round      {told}")
    print(f"throughput         {throughput:.2f} of the bare model (bar {BAR}: {verdict})")
    print(f"processor time     {1 / cost:.2f} of the bare model's, in the server's process")
    if swapped == math.inf:
        print("version 2 was never served")
    return int(bool(wrong or late or lost or tracebacks or not fine or swapped == math.inf))


if __name__ == "__main__":
    sys.exit(main())
