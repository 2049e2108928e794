"""Finds the released file that a name means, and fetches it.

`released_files.py` has the table of the files; `download.py` downloads them.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from keras_vit.applications.augreg_names import AUGREG_MODELS, parse
from keras_vit.applications.download import DownloadError, download
from keras_vit.applications.found_weights import FoundWeights
from keras_vit.applications.released_files import AUGREG, RELEASED, ROOT, ReleasedFile, url_of
from keras_vit.models import VARIANTS, ViTConfig
from keras_vit.utils.checks import as_pair, check_choice, did_you_mean

# Values of `weights=` for every variant -> how their files were trained.
MEANINGS = {
    "imagenet21k": "pre-trained on ImageNet-21k",
    "imagenet": "trained on ImageNet-2012 alone",
    "imagenet21k+imagenet": "fine-tuned on ImageNet-2012",
}


def available(variant: str) -> list[str]:
    """Names of the released files of a variant, the preferred ones first.

    `find` also takes `"imagenet21k"`, `"imagenet"`, `"imagenet21k+imagenet"` and the name of any
    AugReg file.

    Args:
        variant: Name of a constructor, `"ViT_B16"` for example.

    Returns:
        A list such as `["augreg-imagenet21k", "augreg-imagenet-224", ...]`.

    Raises:
        ValueError: If there is no such variant.
    """
    return [file.name for file in _files_of(variant)]


def find(
    variant: str,
    weights: str | FoundWeights,
    image_size: int | tuple[int, int] | None = None,
) -> ReleasedFile:
    """The released file that `weights` means for a variant.

    Args:
        variant: Name of a constructor, `"ViT_B16"` for example.
        weights: One of

            - `"imagenet21k"`: pre-trained on ImageNet-21k (AugReg; if AugReg has no such file,
              that of the ViT paper, whose head is zero);
            - `"imagenet21k+imagenet"`: pre-trained on ImageNet-21k and fine-tuned on
              ImageNet-2012, at the size nearest to `image_size`;
            - `"imagenet"`: for a ViT the same; for a BiT or a Mixer, trained on ImageNet-2012
              alone;
            - a name from `available(variant)`;
            - the name of any AugReg file, with or without `augreg/` and `.npz`. Only `fetch` finds
              out whether the file exists;
            - a row of `find_weights`, which knows all AugReg files.
        image_size: Pixels, one number or (rows, columns). Default: 224.

    Returns:
        The row of the table, or a row made from the name of an AugReg file.

    Raises:
        ValueError: If there is no such file, or it belongs to another variant.
        TypeError: If `weights` is not a string.
    """
    files = _files_of(variant)
    if isinstance(weights, FoundWeights):
        weights = weights.name
    if not isinstance(weights, str):
        raise TypeError(
            "`weights` must be the name of released weights, a string. "
            f"Received: weights={weights!r}"
        )
    if re.fullmatch(r"jft([-_]?300m)?", weights, re.IGNORECASE):
        raise ValueError(
            "Google never released the weights that were trained on JFT-300M. Use "
            f"weights='imagenet21k', or one of {available(variant)}. "
            f"Received: weights={weights!r}"
        )
    if weights in MEANINGS:
        return _find_meaning(variant, files, weights, 224 if image_size is None else image_size)
    for file in files:
        if file.name == weights:
            return file
    found = _find_by_file_name(variant, weights)
    if found is None:
        names = available(variant)
        raise ValueError(
            f"There are no released weights of that name for {variant}."
            f"{did_you_mean(weights, [*MEANINGS, *names])} There are {names}, and AugReg files by "
            f"their name. Received: weights={weights!r}"
        )
    return found


def _files_of(variant: str) -> list[ReleasedFile]:
    check_choice("variant", variant, VARIANTS)
    return [file for file in RELEASED if file.variant == variant]


def _find_meaning(
    variant: str,
    files: list[ReleasedFile],
    weights: str,
    image_size: int | tuple[int, int],
) -> ReleasedFile:
    if not files:
        raise ValueError(
            f"Google released no weights for {variant}. Use weights=None, or another variant. "
            f"Received: weights={weights!r}"
        )
    # ViTs for ImageNet are fine-tuned ones. SAM's are not, so they are found only by their name.
    is_vit = isinstance(VARIANTS[variant], ViTConfig)
    trained_on = "imagenet21k+imagenet" if is_vit and weights == "imagenet" else weights
    fitting = [file for file in files if file.trained_on == trained_on]
    if not fitting:
        raise ValueError(
            f"Google released no {variant} that is {MEANINGS[trained_on]}, only "
            f"{available(variant)}. Use one of these and fine-tune it, or another variant. "
            f"Received: weights={weights!r}"
        )
    rows, columns = as_pair(image_size, "image_size")
    return min(fitting, key=lambda file: abs(file.image_size - (rows * columns) ** 0.5))


def _find_by_file_name(variant: str, weights: str) -> ReleasedFile | None:
    """A file of the table by its path, or any AugReg file by its name."""
    path = weights.removesuffix(".npz") + ".npz"
    found = parse(path.removeprefix("augreg/").removesuffix(".npz"))
    if found is not None:
        path = f"augreg/{found.name}.npz"
    elif re.search(r"-(i1k|i21k)-", path):
        raise ValueError(
            "The names of AugReg files look like 'B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-"
            "do_0.0-sd_0.0', with or without '--imagenet2012-steps_20k-lr_0.03-res_384' behind; "
            "augreg/index.csv in Google's bucket lists all. For a file on this computer, pass its "
            f"path. Received: weights={weights!r}"
        )
    for file in RELEASED:
        if path in file.paths:
            _check_variant(variant, file.variant, weights)
            return file
    if found is None:
        return None

    _check_variant(variant, found.variant, weights)
    return ReleasedFile(
        variant,
        name=found.name,
        path=path,
        classes=found.classes,
        image_size=found.image_size,
        source=AUGREG,
        verified=found.pretraining != "imagenet2012",
    )


def _check_variant(variant: str, owner: str | None, weights: str) -> None:
    if owner is None:
        raise ValueError(
            "This AugReg file holds a model that keras_vit has no constructor for. It has one for "
            f"{sorted(AUGREG_MODELS)}. Received: variant={variant!r}, weights={weights!r}"
        )
    if owner != variant:
        raise ValueError(
            f"This file holds a {owner}, not a {variant}. Use "
            f"`keras_vit.{owner}(weights={weights!r})`. Received: variant={variant!r}, "
            f"weights={weights!r}"
        )


def cache_folder() -> Path:
    """The folder of downloaded files.

    The environment variable `KERAS_VIT_CACHE` if it is set; else `models/keras_vit` in the
    folder of Keras, which is `KERAS_HOME` or `~/.keras`. Every call reads the variables again.
    """
    if folder := os.environ.get("KERAS_VIT_CACHE"):
        return Path(folder).expanduser()
    keras_home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(keras_home).expanduser() / "models" / "keras_vit"


def fetch(released: ReleasedFile, sha256: str | None = None) -> Path:
    """The path of a released file in the cache; downloads the file first if it is not there.

    The environment variable `KERAS_VIT_WEIGHTS_URL` replaces Google's address with that of a mirror
    (`https://` or `http://`, or `file:///folder/`). In the mirror, as in the cache, files of ViT
    have their path in the bucket `vit_models` (`augreg/...`). Files of other buckets have the name
    of the bucket before it (`bit_models/BiT-M-R50x1.npz`). A download must have the announced
    length and the arrays of the released architecture.

    Args:
        released: The result of `find`.
        sha256: SHA-256 of the file, 64 hexadecimal digits. A cached file is checked too.

    Returns:
        The path of the file.

    Raises:
        DownloadError: If it cannot be downloaded (an `OSError`).
        ValueError: If the file is not what it should be.
    """
    # Imported here, because the reader of checkpoints imports this module.
    from keras_vit.applications.manifest import check_released_file

    root = os.environ.get("KERAS_VIT_WEIGHTS_URL") or released.root
    target = cache_folder() / released.path
    # An AugReg file may also lie directly in the folder, because its name says everything about it.
    # Other names occur in several of Google's folders.
    if parse(target.stem) and (cache_folder() / target.name).is_file():
        target = cache_folder() / target.name
    try:
        path = download(
            url_of(root, released.path),
            target,
            sha256=sha256 or released.sha256,
            check=lambda path: check_released_file(path, released),
        )
    except DownloadError as error:
        raise DownloadError(
            f"{error}\nThere are three ways out:\n"
            "  a path: bring the file by other means and say where it is, weights='FILE.npz' "
            "(--weights FILE.npz)\n"
            f"  the cache folder: name it {str(target)!r}; KERAS_VIT_CACHE is another folder\n"
            "  a mirror: set KERAS_VIT_WEIGHTS_URL to https://HOST/ or file:///FOLDER/\n"
            f"All AugReg files are listed in {url_of(ROOT, 'augreg/index.csv')}"
        ) from None
    if not released.verified:
        warnings.warn(
            f"The file {released.path!r} is not verified: no such file could be opened when "
            "keras_vit was written, so only the names and shapes of its arrays are checked. "
            "Evaluate the model before you rely on it.",
            stacklevel=2,
        )
    return path


def download_weights(
    variant: str,
    weights: str | FoundWeights,
    sha256: str | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Path:
    """Downloads released weights into the cache, unless they are there already.

    Args:
        variant: Name of a constructor, `"ViT_B16"` for example.
        weights: As in `find`.
        sha256: As in `fetch`.
        image_size: As in `find`.

    Returns:
        The path of the `.npz` file.

    Raises:
        DownloadError: If it cannot be downloaded (an `OSError`).
        ValueError: If there are no such weights, or the file is not what it should be.
    """
    return fetch(find(variant, weights, image_size), sha256)
