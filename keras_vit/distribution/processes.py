"""What the processes of one training agree on: who is chief, who has stopped, and who is gone."""

from __future__ import annotations

import contextlib
import functools
import re
import traceback
from collections.abc import Iterator
from typing import Any

from keras_vit.utils.preemption import WorkerLostError

_TASK = re.compile(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)")


def several_processes(strategy: Any) -> bool:
    """Whether a strategy spans processes, on one machine or several."""
    resolver = strategy.cluster_resolver
    return resolver is not None and len(resolver.cluster_spec().as_dict().get("worker", ())) > 1


def is_chief(strategy: Any) -> bool:
    """Whether this process is the one that reports and saves: worker 0, or the only one."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    chiefs = resolver.cluster_spec().as_dict().get("chief")
    if resolver.task_type == "chief":
        return True
    return not chiefs and resolver.task_type == "worker" and resolver.task_id == 0


def any_process(strategy: Any, flag: bool) -> bool:
    """Whether `flag` is true in any process. All must call this; all get the same answer."""
    if strategy is None or not several_processes(strategy):
        return flag
    import tensorflow as tf

    with losses_are_told(strategy):
        return float(_sum_over_replicas(strategy)(tf.constant(float(flag)))) > 0


@contextlib.contextmanager
def losses_are_told(strategy: Any) -> Iterator[None]:
    """What the processes compute together; when one is gone, the others say which and end.

    Raises:
        WorkerLostError: In place of TensorFlow's error, which comes some seconds after the end of
            the other process.
    """
    if strategy is None or not several_processes(strategy):
        yield
        return
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        if "Collective ops is aborted" not in error.message:
            raise
        # One of them has a pool of threads that complains if it lives until Python ends.
        traceback.clear_frames(error.__traceback__)
        raise WorkerLostError(
            f"{_lost(error.message, strategy.cluster_resolver)} is gone, so this process ends too. "
            "Start all of them again: a training with checkpoints goes on from the newest"
        ) from error


def _lost(message: str, resolver: Any) -> str:
    """`worker 1 (host1:12345)`: whom TensorFlow's message names, but for this process."""
    mine, cluster = (resolver.task_type, resolver.task_id), resolver.cluster_spec().as_dict()
    found = [(kind, int(index)) for kind, index in _TASK.findall(message)]
    # The last named: those before it may have passed the message on.
    for kind, index in reversed([task for task in found if task != mine]):
        if index < len(cluster.get(kind, ())):
            return f"{kind} {index} ({cluster[kind][index]})"
    return "another worker"


@functools.cache  # traced once
def _sum_over_replicas(strategy: Any) -> Any:
    import tensorflow as tf

    def total(value: Any) -> Any:
        context: Any = tf.distribute.get_replica_context()
        # A copy, because the argument has no device on which the sum could be put.
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

    def of_all(value: Any) -> Any:
        return strategy.experimental_local_results(strategy.run(total, args=(value,)))[0]

    return tf.function(of_all, autograph=False)
