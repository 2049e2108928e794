"""One model for every patch size (FlexiViT, arXiv 2212.08013), beside models of one size each.

    python examples/flexible_patches.py

They learn scikit-learn's digits, at 40 pixels, in the same number of steps. The table has the
share of the test images that each reads right at each patch size.
"""

import argparse
import time
from typing import Any

import keras

import keras_vit
from keras_vit import recipes

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=900)
parser.add_argument("--patch-sizes", type=int, nargs="+", default=[20, 10, 8, 5])
parser.add_argument("--fixed", type=int, nargs="*", default=[20, 10, 5])
arguments = parser.parse_args()

data = keras_vit.data.digits(image_size=40)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def trained(patch_size: int, patch_sizes: list[int] | None = None) -> tuple[keras.Model, float]:
    """A model that has learned the digits, and the seconds that it took."""
    keras.utils.set_random_seed(0)
    model = keras_vit.ViT(
        40, patch_size, 64, 4, 4, 128, patch_sizes=patch_sizes, classes=10,
        include_preprocessing=True,
    )  # fmt: skip
    result = keras_vit.training.fine_tune(
        model, data, recipes.from_scratch_recipe(arguments.steps), verbose=0
    )
    return model, result.seconds


def accuracy(model: keras.Model, patch_size: int) -> float:
    resized: Any = keras_vit.resize_model(model, 40, patch_size)
    resized.compile(loss=loss, metrics=["accuracy"])
    return resized.evaluate(data.validation, verbose=0, return_dict=True)["accuracy"]


def row(name: str, model: keras.Model, seconds: float) -> str:
    shares = (f"{accuracy(model, size):.1%}" for size in arguments.patch_sizes)
    return f"| {name} | {' | '.join(shares)} | {seconds:.0f} |"


start = time.perf_counter()
rows = [row(f"patches of {size}", *trained(size)) for size in arguments.fixed]
rows.append(row("drawn", *trained(10, arguments.patch_sizes)))
print(f"| trained with | {' | '.join(f'at {size}' for size in arguments.patch_sizes)} | seconds |")
print("|---|" + "---|" * (len(arguments.patch_sizes) + 1))
print("\n".join(rows))
print(f"{time.perf_counter() - start:.0f} s in all")
