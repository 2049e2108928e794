"""Reads and writes TFLite files, and gives them their uint8 input, metadata and labels."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from typing import Any

import numpy as np

from keras_vit.exports.classifier import PixelClassifier
from keras_vit.exports.comparison import facts
from keras_vit.exports.tflite.metadata import LABELS, metadata
from keras_vit.exports.tflite.runtime import FACTS, litert
from keras_vit.models.input_range import PIXELS

# A flatbuffer's offsets are signed and of 32 bits.
LARGEST = 2**31 - 1
# TFLite reads weights in place, as vectors of floats.
_ALIGNMENT = 16


def read(flatbuffer: bytes) -> Any:
    """The objects of a file, `ModelT` of TFLite's schema, with all buffers in them."""
    model = litert("schema_py_generated").ModelT.InitFromPackedBuf(flatbuffer, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # the quantizer writes the larger ones behind the flatbuffer
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(flatbuffer[buffer.offset : end], "uint8")
            buffer.offset = buffer.size = 0
    return model


def write(model: Any) -> bytes:
    """The file of such objects.

    Raises:
        ValueError: If it would be too large.
    """
    import flatbuffers

    schema = litert("schema_py_generated")
    size = sum(0 if buffer.data is None else len(buffer.data) for buffer in model.buffers)
    if size > LARGEST:
        raise ValueError(
            f"A TFLite file holds up to 2 GiB, and the weights are {size / 2**30:.1f} GiB. Take a "
            "smaller model, or ONNX or a SavedModel."
        )
    for buffer in model.buffers:
        buffer.__class__ = _aligned_buffer(schema)
    shared = _shared_steps(schema)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None and tensor.quantization.details is None:
                tensor.quantization.__class__ = shared
    builder: Any = flatbuffers.Builder(size + 2**20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def finish(flatbuffer: bytes, classifier: PixelClassifier, uint8_input: bool) -> bytes:
    """Gives a converted file its uint8 input and its metadata.

    Args:
        flatbuffer: From the converter or a quantizer.
        classifier: The model that it was made of.
        uint8_input: Whether the input is cast from uint8.
    """
    schema = litert("schema_py_generated")
    model = read(flatbuffer)
    if uint8_input:
        for graph in model.subgraphs:
            _dequantize_input(schema, model, graph)
    model.metadata = [m for m in model.metadata or [] if m.name != b"CONVERSION_METADATA"]
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers)
    model.metadata.append(entry)
    buffer = schema.BufferT()
    taken = PIXELS if uint8_input else classifier.input_range
    buffer.data = np.frombuffer(metadata(classifier, taken, _output_names(model)), "uint8")
    model.buffers.append(buffer)
    model.description = b"keras_vit"
    files = {FACTS: json.dumps({**facts(classifier), "input_range": list(taken)}) + "\n"}
    if classifier.class_names:
        files[LABELS] = "\n".join(classifier.class_names) + "\n"
    return write(model) + _zip(files)


def _output_names(model: Any) -> list[str]:
    """The names of the outputs in the order of the tensors, which need not be the signature's."""
    (first, *_), (graph, *_) = model.signatureDefs, model.subgraphs
    names = {output.tensorIndex: output.name.decode() for output in first.outputs}
    return [names[index] for index in graph.outputs]


def _dequantize_input(schema: Any, model: Any, graph: Any) -> None:
    """Reads the uint8 input as quantised with a step of 1, in place of casting it.

    The same numbers; but XNNPACK has DEQUANTIZE and no CAST.
    """
    (index,) = graph.inputs
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    for operator in graph.operators:
        if list(operator.inputs) == [index] and (
            codes[operator.opcodeIndex] == schema.BuiltinOperator.CAST
        ):
            break
    else:
        raise ValueError("The converter made no CAST of the uint8 input.")
    if schema.BuiltinOperator.DEQUANTIZE not in codes:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = 1
        model.operatorCodes.append(code)
        codes.append(schema.BuiltinOperator.DEQUANTIZE)
    operator.opcodeIndex = codes.index(schema.BuiltinOperator.DEQUANTIZE)
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    step = schema.QuantizationParametersT()
    step.scale, step.zeroPoint = [1.0], [0]
    graph.tensors[index].quantization = step


@functools.cache
def _aligned_buffer(schema: Any) -> type:
    """The schema's buffers, but written where TFLite can read floats in place."""

    class AlignedBuffer(schema.BufferT):
        def Pack(self, builder: Any) -> Any:
            data = None if self.data is None else np.asarray(self.data, "uint8")
            if data is not None and data.size:
                builder.StartVector(1, data.size, _ALIGNMENT)
                builder.head = builder.head - data.size
                builder.Bytes[builder.head : builder.head + data.size] = data.tobytes()
                vector = builder.EndVector()
            schema.BufferStart(builder)
            if data is not None and data.size:
                schema.BufferAddData(builder, vector)
            return schema.BufferEnd(builder)

    return AlignedBuffer


def _shared_steps(schema: Any) -> type:
    """The schema's steps of quantisation, but written once where they are the same.

    The signatures have the same weights, and their scales would be there for each of them; and
    beside every scale is a zero point of 8 bytes, which is 0.
    """
    written: dict[Any, Any] = {}

    class SharedSteps(schema.QuantizationParametersT):
        def Pack(self, builder: Any) -> Any:
            def vector(values: Any, dtype: str) -> Any:
                values = None if values is None else np.asarray(values, dtype)
                if values is None or not values.size:
                    return None
                key = (dtype, values.tobytes())
                if key not in written:
                    written[key] = builder.CreateNumpyVector(values)
                return written[key]

            fields = (
                ("Min", vector(self.min, "float32")),
                ("Max", vector(self.max, "float32")),
                ("Scale", vector(self.scale, "float32")),
                ("ZeroPoint", vector(self.zeroPoint, "int64")),
            )
            key = (*(offset for _, offset in fields), self.quantizedDimension)
            if key not in written:
                schema.QuantizationParametersStart(builder)
                for name, offset in fields:
                    if offset is not None:
                        getattr(schema, f"QuantizationParametersAdd{name}")(builder, offset)
                schema.QuantizationParametersAddQuantizedDimension(builder, self.quantizedDimension)
                written[key] = schema.QuantizationParametersEnd(builder)
            return written[key]

    return SharedSteps


def _zip(files: dict[str, str]) -> bytes:
    """An archive that may follow a flatbuffer: readers look for it from the end."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            # A fixed date, so that the same model makes the same file.
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()
