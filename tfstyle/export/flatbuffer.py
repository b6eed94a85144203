"""TFLite files: running them, what they say of themselves, what they consist of. No TensorFlow."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import tfstyle
from tfstyle.errors import ArgumentError
from tfstyle.export.errors import DeviceError
from tfstyle.stylize import runners


def metadata(
    name: str,
    variant: str,
    card: Mapping,
    styles: Sequence[str] = (),
    size: tuple[int, int] | None = None,
) -> dict:
    """What a file of a generator shall say of itself.

    Args:
        name: of the model.
        variant: how its numbers are stored.
        card: of the model; style, licence and version are taken from it, where it has them.
        styles: names, in order, of a model of several.
        size: (height, width) that alone it takes; None for any.
    """
    image = {
        "dtype": "float32",
        "shape": [1, *(size or (None, None)), 3],
        "layout": "NHWC",
        "colors": "sRGB as stored in files",
        "range": [0, 1],
    }
    inputs = {"images": image}
    if styles:
        shape = [1, len(styles)]
        inputs["style_weights"] = {"dtype": "float32", "shape": shape, "range": [0, 1], "sum": 1}
    return {
        "name": name,
        "variant": variant,
        **{key: card[key] for key in ("style", "licence", "version") if key in card},
        "styles": list(styles),
        "inputs": inputs,
        "outputs": {"stylized": image},
        "tfstyle": tfstyle.__version__,
    }


def with_metadata(content: bytes, told: Mapping) -> bytes:
    """A TFLite model with a further metadata entry "tfstyle" (JSON); an earlier one is replaced."""
    schema, flatbuffer_utils = runners.load_schema()

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    data = np.frombuffer(json.dumps(told, ensure_ascii=False).encode(), np.uint8)
    for entry in model.metadata or []:
        if entry.name == runners.ENTRY.encode():
            model.buffers[entry.buffer].data = data
            break
    else:
        model.buffers.append(schema.BufferT(data=data))
        entry = schema.MetadataT(name=runners.ENTRY, buffer=len(model.buffers) - 1)
        model.metadata = [*(model.metadata or []), entry]
    model.description = f"{told['name']} ({told['variant']}), tfstyle {tfstyle.__version__}"
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def with_exact_kernels(dynamic: bytes, exact: bytes) -> bytes:
    """A model of 8-bit weights that has those of its float32 twin where 8 bits cost most.

    These are small convolutions: the first, those with strides, and the last where it doubles the
    image. Before the image is at its smallest, a dark and flat photo has few of the 256 steps; the
    first is slower in 8 bits besides, having three channels to sum over. A doubling one has a
    kernel for each of four output pixels, each off by something else: a checkerboard.

    Args:
        dynamic: as converted with 8-bit weights for float32 activations.
        exact: the same model as converted without.

    Raises:
        DeviceError: where one of these kernels is none of the twin's; it names the operator.
    """
    schema, flatbuffer_utils = runners.load_schema()
    model, twin = (
        flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
        for content in (dynamic, exact)
    )

    def convolutions(model):
        """[(operator, tensor of its kernel)] of the first subgraph, in its order."""
        graph = model.subgraphs[0]
        found = [one for one in graph.operators if is_a(model, one, "CONV_2D")]
        return [(one, graph.tensors[one.inputs[1]]) for one in found]

    def is_a(model, operator, name) -> bool:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        return code == getattr(schema.BuiltinOperator, name)

    def values(model, tensor, dtype):
        data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
        return np.frombuffer(data.tobytes(), dtype).reshape(tensor.shape)

    def rounds(tensor, to) -> bool:
        """Whether `to`, of the model, is `tensor`, of the twin, in 8 bits."""
        if list(tensor.shape) != list(to.shape):
            return False
        scale = np.reshape(to.quantization.scale, (-1, 1, 1, 1))
        difference = values(twin, tensor, np.float32) - scale * values(model, to, np.int8)
        return bool((np.abs(difference) <= scale).all())

    found = convolutions(model)
    kernels = [kernel for _, kernel in convolutions(twin)]
    doubled = {
        one.inputs[0] for one in model.subgraphs[0].operators if is_a(model, one, "DEPTH_TO_SPACE")
    }
    for index, (operator, kernel) in enumerate(found):
        strides = operator.builtinOptions.strideH, operator.builtinOptions.strideW
        doubles_last = index == len(found) - 1 and operator.outputs[0] in doubled
        if index > 0 and max(strides) == 1 and not doubles_last:
            continue
        if kernel.type != schema.TensorType.INT8:
            continue  # too small to be stored in 8 bits
        fitting = [values(twin, one, np.float32) for one in kernels if rounds(one, kernel)]
        if not fitting:
            name = (kernel.name or b"").decode(errors="replace")
            raise DeviceError(
                f"CONV_2D {index} (kernel {name!r}, {list(kernel.shape)}): its 8-bit kernel rounds "
                "none of the float32 file's, so that it cannot be made exact. Take float32 or "
                "float16"
            )
        weights = fitting[0]
        # Subgraphs of other signatures have tensors of their own for the same kernel.
        for graph in model.subgraphs:
            for tensor in graph.tensors:
                if tensor.buffer == kernel.buffer:
                    tensor.type = schema.TensorType.FLOAT32
                    tensor.quantization = None
        model.buffers[kernel.buffer].data = np.frombuffer(weights.tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def operators(path: str | os.PathLike) -> list[str]:
    """Names of the operations in a TFLite file, as in its schema's BuiltinOperator, sorted.

    Raises:
        ValueError: for operations that are not built in (Flex, custom), or unknown to the
            ai-edge-litert that is installed.
    """
    schema, _ = runners.load_schema()
    model = schema.Model.GetRootAs(Path(path).read_bytes(), 0)
    names = {value: key for key, value in vars(schema.BuiltinOperator).items() if key.isupper()}
    found = set()
    for index in range(model.OperatorCodesLength()):
        entry = model.OperatorCodes(index)
        # Codes from 127 on stand in the newer field alone.
        code = max(entry.BuiltinCode(), entry.DeprecatedBuiltinCode())
        if code not in names or names[code] == "CUSTOM":
            custom = (entry.CustomCode() or b"").decode(errors="replace")
            raise ArgumentError(f"{path}: operation {custom or code} is not built in")
        found.add(names[code])
    return sorted(found)
