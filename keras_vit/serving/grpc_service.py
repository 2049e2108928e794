"""TF Serving's gRPC interface: `PredictionService` and `ModelService` of one model."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vit.serving.json_format import DEFAULT_SIGNATURE
from keras_vit.serving.model import Limits, RequestError, ServedModel


def _packages() -> Any:
    """`grpc` and the modules of `tensorflow_serving.apis`.

    Raises:
        ImportError: If they are not installed.
    """
    try:
        import grpc
        from tensorflow_serving import apis
        from tensorflow_serving.apis import (  # noqa: F401
            get_model_metadata_pb2,
            get_model_status_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
    except ImportError as error:
        raise ImportError(
            "The gRPC interface needs grpcio and tensorflow-serving-api: "
            'pip install "keras-vit-applications[serving]"'
        ) from error
    return grpc, apis


def start_grpc(model: ServedModel, host: str, port: int, limits: Limits) -> tuple[Any, int]:
    """Starts a gRPC server.

    Args:
        model: What to serve; it is not closed with the server.
        host: Address to listen at.
        port: 0 takes a free one.
        limits: Of a request.

    Returns:
        The `grpc.Server` and its port.

    Raises:
        ImportError: If grpcio or tensorflow-serving-api is not installed.
        OSError: If the port is taken.
    """
    grpc, apis = _packages()
    server = grpc.server(
        ThreadPoolExecutor(limits.running, thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            # Without this two servers can share a port, each with half of the requests.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=limits.held,
    )
    services = _services(grpc, apis, model, limits)
    apis.prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services[0], server)
    apis.model_service_pb2_grpc.add_ModelServiceServicer_to_server(services[1], server)
    try:
        found = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"Cannot listen at {host}:{port}: {error}") from error
    server.start()
    return server, found


def _services(grpc: Any, apis: Any, model: ServedModel, limits: Limits) -> tuple[Any, Any]:
    def answer(context: Any, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except RequestError as error:
            context.abort(grpc.StatusCode[error.code], str(error))

    class Prediction(apis.prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:
            return answer(context, _predict, apis, model, limits, request)

        def GetModelMetadata(self, request: Any, context: Any) -> Any:
            return answer(context, _metadata, apis, model, request)

    class Model(apis.model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request: Any, context: Any) -> Any:
            return answer(context, _status, apis, model, request)

    return Prediction(), Model()


def _check(model: ServedModel, spec: Any) -> None:
    model.check(spec.name, spec.version.value if spec.HasField("version") else None)


def _predict(apis: Any, model: ServedModel, limits: Limits, request: Any) -> Any:
    _check(model, request.model_spec)
    signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
    model.signature(signature)
    inputs = {
        name: _array(name, tensor, limits.body_bytes) for name, tensor in request.inputs.items()
    }
    outputs = model.predict(signature, inputs, tuple(request.output_filter))
    response = apis.predict_pb2.PredictResponse()
    for name, value in outputs.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    _write_spec(response.model_spec, model, signature)
    return response


def _array(name: str, tensor: Any, most: int) -> np.ndarray:
    try:
        # A single value stands for all of a tensor, however large its shape.
        sides = [side.size for side in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or min(sides, default=0) < 0:
            raise ValueError("the shape is not known")
        if math.prod(sides) * max(tf.dtypes.as_dtype(tensor.dtype).size or 1, 1) > most:
            raise ValueError(f"the shape {sides} is larger than a request may be")
        return tf.make_ndarray(tensor)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise RequestError(
            "INVALID_ARGUMENT", f"The input {name!r} is not valid: {error}"
        ) from error


def _metadata(apis: Any, model: ServedModel, request: Any) -> Any:
    _check(model, request.model_spec)
    if list(request.metadata_field) != ["signature_def"]:
        raise RequestError("INVALID_ARGUMENT", 'There is one `metadata_field`, "signature_def".')
    signatures = apis.get_model_metadata_pb2.SignatureDefMap()
    for name, definition in model.signatures.items():
        signatures.signature_def[name].CopyFrom(definition)
    response = apis.get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)
    _write_spec(response.model_spec, model)
    return response


def _status(apis: Any, model: ServedModel, request: Any) -> Any:
    _check(model, request.model_spec)
    statuses = apis.get_model_status_pb2
    response = statuses.GetModelStatusResponse()
    available = statuses.ModelVersionStatus.AVAILABLE
    response.model_version_status.add(version=model.version, state=available)
    return response


def _write_spec(spec: Any, model: ServedModel, signature: str = "") -> None:
    spec.name, spec.signature_name, spec.version.value = model.name, signature, model.version
