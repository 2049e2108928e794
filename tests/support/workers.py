"""Workers of one training on this machine, as a user starts them on several."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from support.paths import ROOT

from keras_vit.training.run_checkpoints import Checkpoints


def workers(photos, out: Path, settings: dict, count: int = 2) -> list[subprocess.Popen]:
    """Workers of a training, once its first checkpoint is there or the chief has ended."""
    arguments = ["--data", photos, "--out", out, "--save-every", "1"]
    for name, value in settings.items():
        arguments += [f"--{name.replace('_', '-')}", value]
    ports = []
    for _ in range(count):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    processes = [
        subprocess.Popen(
            [sys.executable, ROOT / "tools" / "train.py", *map(str, arguments)],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TF_CONFIG": json.dumps(
                    {"cluster": cluster, "task": {"type": "worker", "index": index}}
                ),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    checkpoints = Checkpoints(out.with_name(f"{out.name}.training"))
    while not checkpoints.paths() and processes[0].poll() is None:
        time.sleep(0.1)
    return processes


def ends_of(processes: list[subprocess.Popen]) -> tuple[list[int], list[tuple[str, str]]]:
    try:
        outputs = [process.communicate(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs
