"""Converts a checkpoint for another library, and checks it.

keras-vit convert B_16.npz B_16.safetensors --format timm
keras-vit convert model.safetensors vit.npz
keras-vit convert vit.npz for_transformers --format huggingface
keras-vit convert vit.npz vit384.keras --image-size 384

Both models run on a photo. The result is only kept if their outputs agree.
"""

from __future__ import annotations

from typing import Any

from keras_vit.checkpoints.convert import convert, moves_page
from keras_vit.checkpoints.names.formats import FORMAT_NAMES
from keras_vit.cli.arguments import Parser
from keras_vit.cli.output import show
from keras_vit.layers.pixels import NORMALISATIONS
from keras_vit.layers.position_embedding import INTERPOLATIONS
from keras_vit.models.vit import CLASSIFIERS
from keras_vit.utils.text import say


def add_arguments(parser: Parser) -> None:
    parser.positional("SRC", "an .npz, .safetensors, .weights.h5 or .keras file")
    parser.positional("DST", "what to write; its ending says which kind of file")
    parser.shared("--model", help="stop if the file holds another model than ViT_B16, for example")
    parser.add("--num-heads", "model", "where the file does not say it", "N", int)
    parser.add("--classifier", "model", f"what a ViT's head reads: {', '.join(CLASSIFIERS)}",
               "NAME", default="(the file's)")  # fmt: skip
    parser.add("--gelu", "model", "tanh, exact or quick", "NAME", default="(that of its library)")
    parser.add("--normalisation", "model", f"of the pixels: {', '.join(NORMALISATIONS)}", "NAME",
               default="(what the file or its library says)")  # fmt: skip
    parser.add("--patch-size", "model", "pixels, where an error asks for it", "N", int)
    parser.add("--position-interpolation", "model", f"at another size: {', '.join(INTERPOLATIONS)}",
               "NAME", dest="interpolation", default="(that of its library)")  # fmt: skip
    parser.shared("--image-size", help="pixels, one number or two", nargs="+",
                  image_size="(the file's)")  # fmt: skip
    parser.add("--photo", "data", "to check with", "FILE",
               default="(one that comes with scikit-learn)")  # fmt: skip
    parser.add("--format", "output", ", ".join(FORMAT_NAMES), "FORMAT",
               default="(google for .npz, keras for Keras's files)")  # fmt: skip
    parser.add("--all", "output", "list the arrays of every block, not of the first")
    parser.shared("--overwrite", help="DST may be replaced")


def run(given: dict[str, Any]) -> int:
    source, target, every_block = given.pop("src"), given.pop("dst"), given.pop("all", False)
    if "image_size" in given:
        size = given["image_size"]
        given["image_size"] = tuple(size) if size[1:] else size[0]
    done = convert(source, target, **given)
    rows, columns = done.image_size
    say(f"{source}: {done.model} ({done.source_format})")
    say(f"{target}: {done.target_format}, {done.num_parameters:,} parameters, "
          f"{rows}x{columns} pixels")  # fmt: skip
    show(moves_page(done.moves, every_block))
    say(
        f"Both models on {done.photo.name}: outputs differ by {done.difference:.1e} of the largest."
    )
    return 0
