"""What the processes of one training agree on: who is chief, and who has stopped."""

from __future__ import annotations

import functools
from typing import Any


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

    return float(_sum_over_replicas(strategy)(tf.constant(float(flag)))) > 0


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
