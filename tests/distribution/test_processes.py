"""What becomes of a training when one of its processes is gone."""

from __future__ import annotations

import re
import signal
import threading
import types
import weakref

import keras
import pytest
from support.workers import ends_of, workers

from keras_vit.distribution.processes import losses_are_told
from keras_vit.utils.preemption import WorkerLostError


@pytest.mark.slow
@pytest.mark.parametrize(("count", "lost"), [(2, 0), (2, 1), (3, 2)])
def test_a_worker_that_is_killed_ends_the_others(count, lost, colour_photos, tmp_path):
    settings = {"model": "small", "image_size": 16, "steps": 10_000, "batch_size": 6}
    processes = workers(colour_photos, tmp_path / "run", settings, count)
    processes[lost].kill()
    codes, outputs = ends_of(processes)
    expected = [-signal.SIGKILL if index == lost else 75 for index in range(count)]
    assert codes == expected, outputs
    survivors = [index for index in range(count) if index != lost]
    for index in survivors:
        _, said = outputs[index]
        # The third may hear of the second only, which has ended because of the first.
        gone = lost if index == survivors[0] else rf"[{lost}{survivors[0]}]"
        # TensorFlow's threads may go on logging after the sentence.
        told = (
            rf"(?m)^worker {gone} \(127.0.0.1:\d+\) is gone, .* a training with checkpoints goes on"
        )
        assert re.search(told, said), said
        assert "Traceback" not in said
        assert "Exception ignored" not in said


# What TensorFlow 2.21 says in worker 0 and in worker 1 when the other is killed.
SAID = (
    "{{function_node x_device_/job:worker/replica:0/task:0/device:CPU:0}} Collective ops is "
    "aborted by: Error reported from /job:worker/task:1: The following tasks are unhealthy "
    "(stopped sending heartbeats):\n/job:worker/replica:0/task:1\nThe tasks have crashed.",
    "{{function_node x_device_/job:worker/replica:0/task:1/device:CPU:0}} Collective ops is "
    "aborted by: Socket closed\nAdditional GRPC error information from remote target "
    "/job:worker/replica:0/task:0 while calling /tensorflow.WorkerService/RecvBuf:",
)


def strategy_of(index, workers=("a:1", "b:2")):
    spec = types.SimpleNamespace(as_dict=lambda: {"worker": workers})
    resolver = types.SimpleNamespace(task_type="worker", task_id=index, cluster_spec=lambda: spec)
    return types.SimpleNamespace(cluster_resolver=resolver)


def test_what_the_failed_call_held_is_let_go():
    """TensorFlow's threads, which would complain when Python ends."""
    import tensorflow as tf

    held = []

    def reduce():
        pool = threading.Event()
        held.append(weakref.ref(pool))
        raise tf.errors.UnavailableError(None, None, SAID[0])

    with pytest.raises(WorkerLostError) as found, losses_are_told(strategy_of(0)):
        reduce()
    assert found.value.__cause__ is not None
    assert held[0]() is None


def test_who_is_gone_is_told():
    import tensorflow as tf

    def told(index, message, **others):
        with losses_are_told(strategy_of(index, **others)):
            raise tf.errors.UnavailableError(None, None, message)

    for index, gone in ((0, r"worker 1 \(b:2\)"), (1, r"worker 0 \(a:1\)")):
        with pytest.raises(WorkerLostError, match=f"^{gone} is gone, so this process ends too"):
            told(index, SAID[index])
    with pytest.raises(WorkerLostError, match=r"^another worker is gone"):
        told(0, "Collective ops is aborted by: no one knows")
    with pytest.raises(tf.errors.UnavailableError):
        told(0, "the disk is away")
    with pytest.raises(tf.errors.UnavailableError):  # of one process
        told(0, SAID[0], workers=("a:1",))


def test_fit_tells_of_a_lost_worker(monkeypatch):
    import tensorflow as tf

    from keras_vit.distribution import fit, fit_loop

    class Step:
        strategy = strategy_of(0)

        def __init__(self, *_, **__):
            pass

        def distribute(self, dataset):
            return dataset

        def __call__(self, batch):
            raise tf.errors.UnavailableError(None, None, SAID[0])

    monkeypatch.setattr(fit_loop, "TrainStep", Step)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(WorkerLostError, match=r"^worker 1 \(b:2\) is gone"):
        fit(model, [0], 1, verbose=0)
