"""Reads a model that Hugging Face's tools have split: `model.safetensors.index.json`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_vit.checkpoints.files.array_file import ArrayFile
from keras_vit.checkpoints.files.safetensors_reader import SafetensorsReader
from keras_vit.utils.files import read_json

INDEX = "model.safetensors.index.json"


class ShardsReader(ArrayFile):
    """Arrays of all the `.safetensors` files that an index names; see `open_arrays`."""

    def __init__(self, path: Path):
        self.path = path
        self.shapes, self.dtypes, self.metadata = {}, {}, {}
        places = read_json(path, {}).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ValueError(f"{str(path)!r} is no index of shards: it has no `weight_map`.")
        self._shards: dict[str, SafetensorsReader] = {}
        for shard in dict.fromkeys(places.values()):
            self._shards[shard] = self._open(shard)
        self._places: dict[str, SafetensorsReader] = {}
        for name, shard in places.items():
            reader = self._shards[shard]
            if name not in reader:
                raise ValueError(f"{str(path)!r} says that {name!r} is in {shard!r}; it is not.")
            self.shapes[name], self.dtypes[name] = reader.shapes[name], reader.dtypes[name]
            self.metadata |= reader.metadata
            self._places[name] = reader

    def _open(self, shard: object) -> SafetensorsReader:
        # The index is untrusted: only files beside it are opened.
        if not isinstance(shard, str) or Path(shard).name != shard or "\\" in shard:
            raise ValueError(f"{str(self.path)!r} names a file that is not beside it: {shard!r}")
        if not self.path.with_name(shard).is_file():
            raise ValueError(
                f"{str(self.path)!r} names the file {shard!r}, which is not there: download it "
                "into the same folder."
            )
        return SafetensorsReader(self.path.with_name(shard))

    def read(self, name: str) -> np.ndarray:
        return self._places[name].read(name)
