"""Which outputs of a model's head are the classes of the data."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_vit.data.preprocessing import LABELLED_CLASSES, labels

# `n01440764`, `n01440764_tench`, or `000_n01440764_tench` with the index of the class before it.
_WORDNET = re.compile(r"(?:(\d+)_)?(n\d{8})(?:_.*)?")
SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Head:
    """The outputs of a model.

    Attributes:
        names: Names of the classes, for people to read; all are different.
        wordnet_ids: WordNet ids of the classes; `None` if they are unknown.
        named: Whether the names are real; otherwise they are only numbers.
    """

    names: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    named: bool = True

    @classmethod
    def of(cls, class_names: Sequence[str] | None, classes: int) -> Head:
        """The head of a model whose classes have these names.

        Args:
            class_names: One for each class. For classes without names: `None`, or `class 0` and so
                on, as from `keras_vit.predict.load_classifier`.
            classes: How many classes the model has.

        Raises:
            ValueError: If the two numbers differ.
        """
        released = labels(classes) if classes in LABELLED_CLASSES else ()
        placeholders = tuple(f"class {i}" for i in range(classes))
        if tuple(class_names or placeholders) == placeholders and not released:
            return cls(placeholders, None, named=False)
        names = tuple(name for _, name in released) if class_names is None else tuple(class_names)
        if len(names) != classes:
            raise ValueError(
                f"`class_names` must have a name for each of the {classes} outputs of the model. "
                f"Received: {len(names)} names"
            )
        if released and names in (
            tuple(name for _, name in released),
            tuple(wordnet_id for wordnet_id, _ in released),
        ):
            return cls(_unambiguous(released), tuple(wordnet_id for wordnet_id, _ in released))
        if all(re.fullmatch(r"n\d{8}", name) for name in names):
            return cls(names, names)
        return cls(names, None)

    def imagenet_indices(self) -> np.ndarray | None:
        """The index of each class in ImageNet's 1,000, or -1; `None` if the ids are unknown."""
        if self.wordnet_ids is None:
            return None
        index = {wordnet_id: i for i, (wordnet_id, _) in enumerate(labels(1000))}
        return np.array([index.get(wordnet_id, -1) for wordnet_id in self.wordnet_ids], "int32")

    def find(self, classes: Sequence[str]) -> np.ndarray:
        """Which outputs the classes of some data are.

        The first rule of `RULES` that finds all of them decides.

        Args:
            classes: Names of the classes of the data, all different.

        Returns:
            int32 `[len(classes)]`, indices of outputs, all different.

        Raises:
            ValueError: If no rule finds all classes, or two are the same output.
        """
        found = {rule: make(self, classes) for rule, make in RULES.items()}
        rule = max(found, key=lambda rule: sum(i is not None for i in found[rule]))
        missing = [name for name, i in zip(classes, found[rule], strict=True) if i is None]
        if missing:
            by = f", by their {rule}" if len(missing) < len(classes) else ""
            raise ValueError(
                f"The classes of the data must be among the {len(self.names)} of the model"
                f"{by}. Not found: {_some(missing)}, {len(missing)} of {len(classes)}. The model "
                f"has {_some(self.names)}. Data name their classes by the model's names, WordNet "
                "ids (n01440764) or the indices of its outputs; pass `class_names` (--class-names) "
                "if the model's are others."
            )
        indices = np.array(found[rule], "int32")
        values, counts = np.unique(indices, return_counts=True)
        if (counts > 1).any():
            twice = np.flatnonzero(indices == values[counts > 1][0]).tolist()
            raise ValueError(
                "Every class of the data must be another class of the model. Rename or remove one "
                f"of these: {' and '.join(repr(classes[i]) for i in twice)}. Received: by their "
                f"{rule}, both are {self.names[indices[twice[0]]]!r}"
            )
        return indices


def _unambiguous(released: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Lemmas, with the WordNet id where two classes have the same: `crane (n02012849)`."""
    count = Counter(name for _, name in released)
    return tuple(f"{name} ({wnid})" if count[name] > 1 else name for wnid, name in released)


def _some(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def _simple(name: str) -> str:
    return name.replace("_", " ").casefold()


def _by_name(head: Head, classes: Sequence[str]) -> list[int | None]:
    count = Counter(map(_simple, head.names))
    index = {_simple(name): i for i, name in enumerate(head.names) if count[_simple(name)] == 1}
    return [index.get(_simple(name)) if head.named else None for name in classes]


def _by_wordnet_id(head: Head, classes: Sequence[str]) -> list[int | None]:
    index = {wordnet_id: i for i, wordnet_id in enumerate(head.wordnet_ids or ())}
    thousand = [wordnet_id for wordnet_id, _ in labels(1000)] if index else []
    found: list[int | None] = []
    for name in classes:
        parts = _WORDNET.fullmatch(name)
        # If an index of ImageNet's classes precedes the id, the two must agree.
        wrong = parts and parts[1] and thousand[int(parts[1]) :][:1] != [parts[2]]
        found.append(index.get(parts[2]) if parts and not wrong else None)
    return found


def _by_position(head: Head, classes: Sequence[str]) -> list[int | None]:
    fits = not head.named and len(classes) == len(head.names)
    return [i if fits else None for i in range(len(classes))]


def _by_index(head: Head, classes: Sequence[str]) -> list[int | None]:
    numbers = [int(name) if re.fullmatch(r"\d{1,6}", name) else -1 for name in classes]
    return [number if 0 <= number < len(head.names) else None for number in numbers]


# The rule that finds the most classes counts, of equals the first. The outputs of a model without
# names are the sorted names of folders, as after Keras's and our own training.
RULES: dict[str, Callable[[Any, Sequence[str]], list[int | None]]] = {
    "name": _by_name,
    "WordNet id": _by_wordnet_id,
    "position": _by_position,
    "index": _by_index,
}
