"""ONNX Runtime on all cores: a model of one node, LeakyRelu."""

from collections.abc import Iterator

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from benchmarks.cells import Arrays
from benchmarks.contenders import Offer
from benchmarks.machine import usable_cores

_TYPES = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def offers(arrays: Arrays, slope: float) -> Iterator[Offer]:
    if arrays.cell.type not in _TYPES or arrays.cell.operation not in {"out", "new"}:
        return
    x, out = arrays.x, arrays.out
    session = _session(_TYPES[arrays.cell.type], x.shape, slope)
    binding = session.io_binding()
    dtype = np.dtype(arrays.cell.type)
    binding.bind_input("x", "cpu", 0, dtype, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, dtype, x.shape, out.ctypes.data)
    feed = {"x": x}
    yield Offer(
        "onnxruntime",
        "peer",
        {
            "out": lambda: session.run_with_iobinding(binding),
            "new": lambda: session.run(None, feed)[0],
        },
    )


def _session(element: int, shape: tuple[int, ...], slope: float) -> onnxruntime.InferenceSession:
    graph = helper.make_graph(
        [helper.make_node("LeakyRelu", ["x"], ["y"], alpha=slope)],
        "leaky_relu",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, shape)],
    )
    # The versions are those that brought LeakyRelu in its present form: versions that are newer than the installed
    # runtime are refused.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
