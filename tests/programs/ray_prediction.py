"""Predictions by two workers of Ray Data, one of which is killed; for `test_ray.py`.

    python ray_prediction.py PHOTOS MODEL OUT

The rows are in OUT/calm and OUT/killed, as Parquet. Ray pickles what stands in a program and not
in a test.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ray
import ray.data

from keras_vit.data.image_files import walk_images
from keras_vit.predict import Predictor


class Mortal(Predictor):
    """One of the workers is killed in its second batch; `mark` is there afterwards."""

    def __init__(self, model: str, mark: str):
        super().__init__(model)
        self.mark, self.batches = Path(mark), 0

    def __call__(self, batch):
        self.batches += 1
        if self.batches == 2:
            try:
                self.mark.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)


def main(folder: Path, model: Path, out: Path) -> None:
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**27)
    mark = out / "mark"
    names = [os.fsencode(file.path) for file in walk_images(folder)]
    for name, worker, arguments in (
        ("calm", Predictor, (str(model),)),
        ("killed", Mortal, (str(model), str(mark))),
    ):
        photos = ray.data.from_items([{"photo": photo} for photo in names])
        answers = photos.map_batches(
            worker, fn_constructor_args=arguments, batch_size=3, concurrency=2
        )
        answers.write_parquet(str(out / name))
    assert mark.exists()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
