"""TF Serving's gRPC interface: `PredictionService` and `ModelService` of one model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vit.serving.inputs import check_shape
from keras_vit.serving.json_format import DEFAULT_SIGNATURE
from keras_vit.serving.limits import Limits, RequestError
from keras_vit.serving.model import ServedModel
from keras_vit.serving.wire import check_fields

_logger = logging.getLogger(__name__)
# Most bytes of a request without images, which names a model and little more.
_SMALL = 2**16


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
            predict_pb2,
        )
    except ImportError as error:
        raise ImportError(
            "The gRPC interface needs grpcio and tensorflow-serving-api: "
            'pip install "keras-vit-applications[serving]"'
        ) from error
    return grpc, apis


def start_grpc(model: ServedModel, host: str, port: int) -> tuple[Any, int]:
    """Starts a gRPC server.

    Args:
        model: The model to serve. Closing the server does not close it.
        host: Address to listen at.
        port: 0 takes a free one.

    Returns:
        The `grpc.Server` and its port.

    Raises:
        ImportError: If grpcio or tensorflow-serving-api is not installed.
        OSError: If the port is taken.
    """
    grpc, apis = _packages()
    limits = model.limits
    milliseconds = max(round(limits.timeout * 1000), 1)
    server = grpc.server(
        ThreadPoolExecutor(limits.held, thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            # No compression: the limit above counts bytes as sent, which could expand.
            ("grpc.compression_enabled_algorithms_bitset", 1),
            ("grpc.max_allowed_incoming_connections", limits.connections),
            ("grpc.server_handshake_timeout_ms", milliseconds),
            ("grpc.max_connection_idle_ms", milliseconds),
            # Otherwise two servers can share a port, and each gets half of the requests.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=limits.held,
    )
    server.add_generic_rpc_handlers(_handlers(grpc, apis, model))
    try:
        found = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"Cannot listen at {host}:{port}: {error}") from error
    server.start()
    return server, found


def _handlers(grpc: Any, apis: Any, model: ServedModel) -> list[Any]:
    """The methods, each from the bytes of a request to those of the answer."""
    limits = model.limits
    readers = ThreadPoolExecutor(limits.held, thread_name_prefix="grpc-read")

    def handler(function: Callable[[Any, ServedModel, bytes, Any], Any]) -> Any:
        def answer(messages: Any, context: Any) -> Any:
            try:
                data = readers.submit(next, messages, None).result(limits.timeout)
                if data is None:
                    raise RequestError("INVALID_ARGUMENT", "The request has no message.")
                return function(apis, model, data, context)
            except RequestError as error:
                code, message = error.code, str(error)
            except TimeoutError:
                code, message = "DEADLINE_EXCEEDED", "The request did not arrive in time."
            except grpc.RpcError:  # the client has gone
                raise
            except Exception:
                _logger.exception("a request failed")
                code, message = "INTERNAL", "The server failed; its log says why."
            return context.abort(grpc.StatusCode[code], message)

        # A stream of one message, because for a plain message grpc has no time limit.
        return grpc.stream_unary_rpc_method_handler(answer)

    services = {
        "PredictionService": {"Predict": _predict, "GetModelMetadata": _metadata},
        "ModelService": {"GetModelStatus": _status},
    }
    return [
        grpc.method_handlers_generic_handler(
            f"tensorflow.serving.{service}",
            {name: handler(function) for name, function in methods.items()},
        )
        for service, methods in services.items()
    ]


def _read(message: Any, data: bytes, model: ServedModel, most: int = _SMALL) -> Any:
    """Parses a request, and checks that it is for this model."""
    if len(data) > most:
        raise RequestError(
            "RESOURCE_EXHAUSTED",
            f"A request of this kind has at most {most} bytes. Received: {len(data)}",
        )
    check_fields(data, message.DESCRIPTOR)
    try:
        message.ParseFromString(data)
    except Exception as error:  # protobuf has several kinds
        raise RequestError(
            "INVALID_ARGUMENT", f"The request is no valid {message.DESCRIPTOR.name}: {error}"
        ) from error
    spec = message.model_spec
    model.check(spec.name, spec.version.value if spec.HasField("version") else None)
    return message


def _predict(apis: Any, model: ServedModel, data: bytes, context: Any) -> bytes:
    limits = model.limits
    with model.places.take(limits.timeout, context.is_active):
        request = _read(apis.predict_pb2.PredictRequest(), data, model, limits.body_bytes)
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        wanted = model.signature(signature).inputs
        if set(request.inputs) != set(wanted):
            raise RequestError(
                "INVALID_ARGUMENT",
                f"The signature takes {sorted(wanted)}. Received: {sorted(request.inputs)}",
            )
        inputs = {
            name: _array(name, request.inputs[name], info, limits) for name, info in wanted.items()
        }
        outputs = model.predict(signature, inputs, tuple(request.output_filter))
        response = apis.predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        _write_spec(response.model_spec, model, signature)
        return response.SerializeToString()


def _array(name: str, tensor: Any, info: Any, limits: Limits) -> np.ndarray:
    wanted = tf.dtypes.as_dtype(info.dtype)
    if tensor.dtype != info.dtype:
        kinds = tensor.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_number
        received = kinds[tensor.dtype].name if tensor.dtype in kinds else tensor.dtype
        raise RequestError(
            "INVALID_ARGUMENT", f"The input {name!r} must be {wanted.name}. Received: {received}"
        )
    if tensor.tensor_shape.unknown_rank:
        raise RequestError("INVALID_ARGUMENT", f"The shape of the input {name!r} must be known.")
    # A single value may stand for a whole tensor, however large its shape.
    check_shape(name, [side.size for side in tensor.tensor_shape.dim], info, limits)
    try:
        return tf.make_ndarray(tensor)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise RequestError(
            "INVALID_ARGUMENT", f"The input {name!r} is not valid: {error}"
        ) from error


def _metadata(apis: Any, model: ServedModel, data: bytes, context: Any) -> bytes:
    request = _read(apis.get_model_metadata_pb2.GetModelMetadataRequest(), data, model)
    if list(request.metadata_field) != ["signature_def"]:
        raise RequestError("INVALID_ARGUMENT", 'There is one `metadata_field`, "signature_def".')
    signatures = apis.get_model_metadata_pb2.SignatureDefMap()
    for name, definition in model.signatures.items():
        signatures.signature_def[name].CopyFrom(definition)
    response = apis.get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)
    _write_spec(response.model_spec, model)
    return response.SerializeToString()


def _status(apis: Any, model: ServedModel, data: bytes, context: Any) -> bytes:
    statuses = apis.get_model_status_pb2
    _read(statuses.GetModelStatusRequest(), data, model)
    response = statuses.GetModelStatusResponse()
    available = statuses.ModelVersionStatus.AVAILABLE
    response.model_version_status.add(version=model.version, state=available)
    return response.SerializeToString()


def _write_spec(spec: Any, model: ServedModel, signature: str = "") -> None:
    spec.name, spec.signature_name, spec.version.value = model.name, signature, model.version
