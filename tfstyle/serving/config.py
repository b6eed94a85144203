"""The files that TensorFlow Serving is started with, and the command that starts it.

    DIR/models.config        which models, and where their versions lie
    DIR/monitoring.config    metrics for Prometheus, at METRICS_PATH
    DIR/batching.config      how requests are computed together, where that is wanted

All three are text protos, as tensorflow_serving/config/ describes them.
"""

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfstyle import files, machine
from tfstyle.errors import ArgumentError

IMAGE = "tensorflow/serving:latest"
METRICS_PATH = "/monitoring/prometheus/metrics"
PORTS = {"grpc": 8500, "rest": 8501}
SERVERS = ("tensorflow_model_server", "docker", "podman")
BINARY, *ENGINES = SERVERS


@dataclasses.dataclass(frozen=True)
class Files:
    """What `write` wrote; `batching` is None where none was wanted."""

    models: Path
    monitoring: Path
    batching: Path | None


def find_models(names: Sequence[str], shelves: Sequence[Path] = ()) -> dict[str, Path]:
    """{name: folder of its numbered versions} of models given by name or path.

    Args:
        names: a folder that holds numbered versions, one of these versions, or a name. A model's
            name is that of its folder.
        shelves: folders in which names are sought, in order.

    Raises:
        ValueError: where there is no such model, it is no SavedModel, or two have one name.
    """
    found: dict[str, Path] = {}
    for given in names:
        path = Path(given)
        if path.name == given and not has_versions(path):
            path = next((shelf / given for shelf in shelves if has_versions(shelf / given)), path)
        if path.name.isdecimal() and os.path.isfile(path / "saved_model.pb"):
            path = path.parent
        if not has_versions(path):
            looked = ", ".join(str(shelf) for shelf in shelves)
            raise ArgumentError(
                f"{given}: no SavedModel to serve. Give a folder with numbered versions "
                "(NAME/1/saved_model.pb), as the export writes it, or the name of one"
                + (f" in {looked}" if looked else "")
            )
        path = path.resolve()
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", path.name):
            raise ArgumentError(
                f"{given}: the name {path.name!r} cannot stand in a URL. Name the folder in "
                "letters, digits, '_', '.' and '-'"
            )
        if found.get(path.name, path) != path:
            raise ArgumentError(
                f"{given}: {found[path.name]} has the name {path.name} too. Rename one of them"
            )
        found[path.name] = path
    return found


def has_versions(folder: Path) -> bool:
    """Whether TensorFlow Serving would find a version of a model in a folder."""
    return os.path.isdir(folder) and any(
        path.parent.name.isdecimal() and path.is_file()
        for path in Path(folder).glob("*/saved_model.pb")
    )


def models_config(models: Mapping[str, str | os.PathLike]) -> str:
    """The text of models.config: {name: folder as the server sees it}.

    Raises:
        ValueError: for a folder whose name is not UTF-8.
    """
    # Here, for `tfstyle serve --help` and --dev do without; it brings no TensorFlow.
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    written = model_server_config_pb2.ModelServerConfig()
    for name, folder in models.items():
        try:
            written.model_config_list.config.add(
                name=name, base_path=str(folder), model_platform="tensorflow"
            )
        except UnicodeEncodeError:
            raise ArgumentError(
                f"{str(folder)!r}: TensorFlow Serving reads names in UTF-8 alone. Rename the folder"
            ) from None
    # ASCII alone, whatever encoding the file is written and read in.
    return text_format.MessageToString(written, as_utf8=False)


# tensorflow-serving-api has no messages for these two files (MonitoringConfig, BatchingParameters):
# they are written by hand. No value in them is a user's text.


def monitoring_config() -> str:
    """The text of monitoring.config."""
    return f"""\
prometheus_config {{
  enable: true
  path: "{METRICS_PATH}"
}}
"""


def batching_config(*, max_batch: int = 8, timeout_ms: float = 2.0, threads: int = 0) -> str:
    """The text of batching.config.

    TensorFlow Serving puts tensors of one shape together and refuses a batch of several, so that
    this is for clients that all send images of one size, or files to the signature `encoded`. One
    file that cannot be decoded then fails all the others of its batch.

    Args:
        max_batch: images computed together.
        timeout_ms: that the first of them waits for others.
        threads: batches computed at the same time; one for each core by default.
    """
    return f"""\
max_batch_size {{ value: {max_batch} }}
batch_timeout_micros {{ value: {round(timeout_ms * 1000)} }}
num_batch_threads {{ value: {threads or machine.cores()} }}
max_enqueued_batches {{ value: 64 }}
"""


def write(
    directory: str | os.PathLike,
    models: Mapping[str, str | os.PathLike],
    *,
    batching: str | None = None,
) -> Files:
    """Writes the files, all of them or none.

    Args:
        directory: made where it is missing.
        models: {name: folder as the server sees it}.
        batching: text of batching.config; None removes one that an earlier call wrote.
    """
    directory = Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    batched = directory / "batching.config"
    written = Files(
        directory / "models.config", directory / "monitoring.config", batched if batching else None
    )
    told = {written.models: models_config(models), written.monitoring: monitoring_config()}
    if batching:
        told[batched] = batching
    with files.staging(directory) as staged:
        for path, text in told.items():
            (staged / path.name).write_text(text, "utf-8")
        files.move_all([(staged / path.name, path) for path in told])
    if not batching:
        batched.unlink(missing_ok=True)
    return written


def server_command(
    files: Files, *, port: int = PORTS["grpc"], rest_port: int = PORTS["rest"]
) -> list[str]:
    """How a tensorflow_model_server on PATH is started. It listens on all addresses."""
    command = [
        BINARY,
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={files.models}",
        f"--monitoring_config_file={files.monitoring}",
    ]
    if files.batching:
        command += ["--enable_batching=true", f"--batching_parameters_file={files.batching}"]
    return command


def container_command(
    engine: str,
    files: Files,
    models: Mapping[str, Path],
    *,
    host: str = "127.0.0.1",
    port: int = PORTS["grpc"],
    rest_port: int = PORTS["rest"],
    image: str = IMAGE,
) -> list[str]:
    """How the container is started: models and files are mounted for reading only.

    Args:
        engine: docker or podman.
        files: written with the folders of `container_paths`.
        models: {name: folder on this machine}.
        host: address of this machine that the ports are published on.
        port: of gRPC, on this machine.
        rest_port: of REST, on this machine.
        image: with its tag.
    """
    command = [engine, "run", "--rm", "--init"]
    for number, kind in ((port, "grpc"), (rest_port, "rest")):
        command += ["-p", f"{host}:{number}:{PORTS[kind]}"]
    inside = container_paths(models)
    for name, folder in models.items():
        command += ["--mount", _mount(folder, inside[name])]
    command += ["--mount", _mount(files.models.parent, "/config"), image]
    arguments = [
        "--model_config_file=/config/models.config",
        "--monitoring_config_file=/config/monitoring.config",
    ]
    if files.batching:
        arguments += [
            "--enable_batching=true",
            "--batching_parameters_file=/config/batching.config",
        ]
    return command + arguments


def container_paths(models: Mapping[str, Path]) -> dict[str, str]:
    """{name: folder inside the container}"""
    return {name: f"/models/{name}" for name in models}


def _mount(source: Path, target: str) -> str:
    if "," in str(source):
        raise ArgumentError(
            f"{source}: a folder with a comma in its name cannot be mounted. Move it"
        )
    return f"type=bind,source={source},target={target},readonly"


def find_server() -> str | None:
    """What TensorFlow Serving can be started with here: BINARY, an engine that answers, or None."""
    if shutil.which(BINARY):
        return BINARY
    return next((engine for engine in ENGINES if shutil.which(engine) and _answers(engine)), None)


def _answers(engine: str) -> bool:
    """Whether a container engine can run anything: the command may be there without its daemon."""
    try:
        asked = subprocess.run([engine, "info"], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0
