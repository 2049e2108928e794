"""A small model behind the development server."""

from __future__ import annotations

import pytest
from support.model_server import LIMITS, RED, GrpcClient, b64, post
from support.small_exports import randomised

import keras_vit
from keras_vit.exports.saved_model.export import export_saved_model
from keras_vit.exports.saved_model.session import SessionModel
from keras_vit.serving import ModelServer


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    model = randomised(keras_vit.ViT((32, 48), 16, 24, 1, 2, 40, classes=4))
    folder = tmp_path_factory.mktemp("models") / "flowers"
    folder.mkdir()
    export_saved_model(model, folder / "7", top_k=2, class_names=("a", "b", "ç", "d"))
    return folder


@pytest.fixture(scope="session")
def session(folder):
    with SessionModel(folder / "7") as session:
        yield session


@pytest.fixture(scope="session")
def server(folder):
    pytest.importorskip("grpc")
    pytest.importorskip("tensorflow_serving.apis")
    with ModelServer(folder, rest_port=0, grpc_port=0, limits=LIMITS) as server:
        post(server, {"instances": [b64(RED)]})  # the first one takes longer
        yield server


@pytest.fixture(scope="session")
def grpc(server):
    client = GrpcClient(server.grpc_port)
    with client.channel:
        yield client


@pytest.fixture(autouse=True)
def still_there(request):
    """After every test that uses the server: it answers as before."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        assert post(server, {"instances": [b64(RED)]})[0] == 200
