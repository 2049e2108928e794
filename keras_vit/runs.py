"""A training run from data to a folder with everything one wants to keep of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_vit import data as data_sources
from keras_vit import hardware, loop, models, plots, recipe_rows, recipes, resume, train
from keras_vit.data import ImageData
from keras_vit.devices import scope
from keras_vit.hardware import Hardware
from keras_vit.position import as_pair
from keras_vit.progress import EventFiles
from keras_vit.recipe import Recipe
from keras_vit.records import INFO_FILE
from keras_vit.run_folder import check_writable, new_folder, summarise, write
from keras_vit.variants import VARIANTS
from keras_vit.vit import ViT

SMALL = "small"
TENSORBOARD = "tensorboard"
_SMALL = {"patch_size": 8, "width": 64, "depth": 4, "num_heads": 4, "mlp_dim": 128}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to train on what, and how.

    Attributes:
        data: `"digits"`, a folder of images (see `keras_vit.data.from_folder`) or of TFRecord
            files (`keras_vit.data.write_records`), or the name of a TensorFlow data set.
        model: A constructor of `keras_vit`, `"ViT_Ti16"` for example, or `"small"`, a ViT of
            150,000 parameters with patches of 8 pixels.
        weights: What its constructor takes as `weights`; `None` trains from scratch.
        image_size: Pixels, one number or (rows, columns).
        steps: Number of training steps. Default: four passes over the training images, and
            100 steps at least.
        batch_size: Images per step.
        learning_rate: The highest. Default: the recipe's.
        warmup_steps: Steps until the learning rate is reached. Default: the recipe's.
        validation_share: Share of every class of a folder to validate on, in (0, 1), where it has
            no folder for that.
        least_crop: Share of a training image's area that the random crop has at least, in (0, 1].
            Default: the papers' .05; digits .8.
        resize: How validation images get their size: `"squash"` or `"crop"`.
        on_error: `"raise"` or `"skip"` images that cannot be read.
        dtype: Dtype policy of the model. Default: `keras_vit.distribution.default_precision`,
            which is `"mixed_bfloat16"` where the hardware has it; float32 for the small model,
            which gains nothing by it.
        seed: Of everything that happens at random.
        recipe: A name of `keras_vit.recipes`, `"vit-finetune"` for example, adapted to the data
            and the batch size. Default: a short one, of the paper for fine-tuning and of AugReg
            from scratch.
        augmentation: A name of `keras_vit.augmentation.AUGMENTATIONS`.
        accumulate: In how many batches the images of a step are taken; saves memory. It must
            divide `batch_size`.
        xla: `"on"` or `"off"`: whether to compile with XLA. Default:
            `keras_vit.distribution.default_jit`.
        strategy: What to train on: one of `keras_vit.distribution.STRATEGIES`. The default takes
            what there is.
        devices: As for `keras_vit.distribution.strategy`.
        save_every: Batches between checkpoints.
        tensorboard: Whether to write logs for TensorBoard.
    """

    data: str
    model: str = "ViT_Ti16"
    weights: str | None = "imagenet"
    image_size: int | tuple[int, int] = 224
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    warmup_steps: int | None = None
    validation_share: float = 0.2
    least_crop: float | None = None
    resize: str = "squash"
    on_error: str = "raise"
    dtype: str = "auto"
    seed: int = 0
    recipe: str | None = None
    augmentation: str = "none"
    accumulate: int = 1
    xla: str = "auto"
    strategy: str = "auto"
    devices: int | tuple[str, ...] | None = None
    save_every: int = 500
    tensorboard: bool = False


# Digits from scratch: a minute on two cores, no download.
DIGITS = Settings("digits", SMALL, None, image_size=40, steps=900, batch_size=64, dtype="float32")
# Table 3 of the ViT paper, at a batch that a machine of one to eight devices can hold.
PRETRAIN = Settings("", "ViT_S16", None, batch_size=256, recipe="vit-pretrain")


def settings_for(data: str = "digits", pretrain: bool = False, **given: Any) -> Settings:
    """The settings for a data set: defaults that suit it, but for what is given.

    Args:
        data: As in `Settings`. The digits are learnt by the small model from scratch, all else
            by fine-tuning a pretrained one.
        pretrain: Whether all else is learnt from scratch as well, by a recipe for that.
        **given: Any other fields of `Settings`.
    """
    model = given.get("model", SMALL if data == "digits" else None)
    defaults = DIGITS if model == SMALL else PRETRAIN if pretrain else Settings(data)
    return dataclasses.replace(defaults, data=data, **given)


def run(
    settings: Settings, out: str | Path, *, overwrite: bool = False, verbose: str | int = "auto"
) -> dict[str, Any]:
    """Trains as `settings` say and writes a run folder.

    In the folder: `model.keras` (takes pixels in [0, 255], gives probabilities; read it with
    `keras.models.load_model` after `import keras_vit`), `labels.txt` (a class name per line),
    `curves.png`, `predictions.png`, `log.csv` and `summary.json`. It appears when all of this is
    in it. Until then checkpoints are beside it, in `OUT.training`: when the process ends before
    its time, at whatever moment, the same call goes on from the newest of them, and the result
    is that of a run that was not interrupted. If the run is complete already, nothing is done.

    Args:
        settings: What to do.
        out: The folder to write.
        overwrite: Whether there may be another run already, complete or not; it is kept under
            another name.
        verbose: As in `keras_vit.train.fine_tune`.

    Returns:
        What `summary.json` holds.

    Raises:
        ValueError: If `out` holds a run with other settings and `overwrite` is not given, or as
            the parts say.
        ImportError: If something is not installed that `settings` ask for.
        OSError: If the disk is full, or a data file vanishes or is damaged; the checkpoints are
            kept.
        keras_vit.training_state.PreemptedError: After a SIGTERM; the checkpoints are kept.
    """
    out = Path(out)
    machine = hardware_for(settings)
    settings = dataclasses.replace(settings, dtype=machine.dtype)
    recorded = _as_recorded(settings) | machine.facts
    begun = _look(out, recorded, overwrite, machine)
    if begun.summary is not None:
        return begun.summary
    plots.require_matplotlib()  # now, not after the training
    check_writable(out.parent)
    keras.utils.set_random_seed(settings.seed)
    data = load_data(settings, progress=False if verbose == 0 else None)
    recipe = recipe_for(settings, data)
    with scope(machine.strategy):
        model = build(settings, len(data.class_names), recipe)
        if settings.weights is None and isinstance(recipe, Recipe):
            recipe.set_head_bias(model)
    result = train.fine_tune(
        model,
        data,
        steps=steps_for(settings, data, recipe),
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        recipe=recipe,
        verbose=verbose,
        checkpoints=begun.folder,
        save_every=settings.save_every,
        accumulate=settings.accumulate,
        jit_compile=machine.xla,
        facts={"settings": begun.compared},
        note={"run": begun.run, "replaces": begun.replaces},
        callbacks=_tensorboard(settings, begun.folder) if machine.is_chief else (),
        strategy=machine.strategy,
    )
    recorded |= {"run": begun.run}
    if not machine.is_chief:
        return summarise(model, data, result, recorded)
    with new_folder(out, begun.replaces, begun.folder / "results") as folder:
        for name in (loop.LOG_FILE, TENSORBOARD):
            resume.copy(begun.folder / name, folder / name)
        summary = write(folder, model, data, result, recorded)
    resume.remove(begun.folder)
    return summary


def hardware_for(settings: Settings) -> Hardware:
    """What a run with these settings would run on, here.

    Raises:
        ValueError: If there is no such thing, or the images of a step cannot be divided.
    """
    found = hardware.choose(settings.strategy, settings.devices, settings.dtype, settings.xla)
    if settings.batch_size // max(settings.accumulate, 1) % found.devices:
        raise ValueError(
            "The images of a step are divided among the devices: `batch_size` must be a multiple "
            f"of devices times `accumulate`. Received: batch_size={settings.batch_size}, "
            f"{found.devices} devices, accumulate={settings.accumulate}"
        )
    return found


def _look(out: Path, recorded: dict[str, Any], overwrite: bool, machine: Hardware) -> resume.Begun:
    """What is there of a run; the first process looks first, as it may set something aside."""
    begun = resume.look(out, recorded, overwrite) if machine.is_chief else None
    machine.wait()
    return begun or resume.look(out, recorded, overwrite)


def _tensorboard(settings: Settings, folder: Path) -> list[keras.callbacks.Callback]:
    if not settings.tensorboard:
        return []
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            "TensorBoard is not installed: pip install keras-vit-applications[tensorboard]"
        )
    return [EventFiles(str(folder / TENSORBOARD), write_graph=False)]


def _as_recorded(settings: Settings) -> dict[str, Any]:
    """The settings for the summary, without where on this machine things are."""
    weights = settings.weights and Path(settings.weights).name
    here = Path(settings.data)
    name = here.resolve().name if here.exists() else settings.data
    return dataclasses.asdict(settings) | {"data": name, "weights": weights}


def steps_for(settings: Settings, data: ImageData, recipe: Any) -> int | None:
    """The number of steps: what is asked for, else the recipe's own, else four passes."""
    if settings.steps is not None or isinstance(recipe, Recipe):
        return settings.steps
    return max(100, math.ceil(4 * data.num_train / (data.batch_size * settings.accumulate)))


def recipe_for(settings: Settings, data: ImageData) -> Recipe | Callable[..., dict[str, Any]]:
    """The recipe that `settings` name, for these data, or the short one that suits the weights.

    Of a table with a row per data set the one whose number of images is nearest is taken, and
    the learning rate goes with the batch size (`Recipe.scaled_to`), unless it is given.
    """
    if settings.recipe is None:
        return train.from_scratch_recipe if settings.weights is None else train.fine_tune_recipe
    rows, columns = data.image_size
    count = data.num_train
    options: dict[str, Any] = {"num_examples": count}
    if settings.recipe == "bit-hyperrule":
        options["resolution"] = (rows, columns)
    elif settings.recipe == "vit-finetune":
        options["dataset"] = _nearest(recipe_rows.FINETUNE, count)
    else:
        # By epochs, which are few steps here: the warmup of a million images comes below.
        table = {name: recipe_rows.PRETRAIN[name] for name in recipe_rows.AUGREG}
        options |= {"dataset": _nearest(table, count), "warmup_steps": 0}
    recipe = recipes.get(settings.recipe, **options).replace(
        image_size=rows,
        augmentation=settings.augmentation,
        labels="one_hot" if data.one_hot else "integer",
    )
    if recipe.head_bias:
        # -6.9 and -10 are the logarithms of a share among 1,000 and among 21,843 classes.
        recipe = recipe.replace(head_bias=-math.log(len(data.class_names)))
    recipe = recipe.scaled_to(settings.batch_size)
    if recipe.epochs is None:
        return recipe
    warmup = round(10_000 * 4096 / settings.batch_size)
    return recipe.replace(warmup_steps=min(warmup, recipe.total_steps // 10))


def _nearest(table: dict[str, dict[str, Any]], count: int) -> str:
    """The data set of a table whose number of images is nearest, in proportion."""
    return min(table, key=lambda name: abs(math.log(table[name]["num_examples"] / count)))


def load_data(settings: Settings, progress: bool | None = None) -> ImageData:
    """The data that `settings.data` names."""
    name = settings.data
    batch_size = settings.batch_size
    if settings.accumulate != 1:
        if settings.accumulate < 1 or batch_size % settings.accumulate:
            raise ValueError(
                "The batches of a step must be of one size: `accumulate` must divide "
                f"`batch_size`. Received: accumulate={settings.accumulate}, "
                f"batch_size={batch_size}"
            )
        batch_size //= settings.accumulate
    common: dict[str, Any] = {
        "image_size": settings.image_size,
        "batch_size": batch_size,
        "seed": settings.seed,
        "augmentation": settings.augmentation,
    }
    if settings.least_crop is not None:
        common["crop_area"] = (settings.least_crop, 1.0)
    if name == "digits":
        return data_sources.digits(**common)
    if (Path(name) / INFO_FILE).is_file():
        return data_sources.from_records(name, **common, resize=settings.resize)
    if Path(name).exists():
        return data_sources.from_folder(
            name,
            **common,
            validation_share=settings.validation_share,
            resize=settings.resize,
            on_error=settings.on_error,
            progress=progress,
        )
    try:
        return data_sources.from_tfds(name, **common, resize=settings.resize)
    except ImportError as error:
        raise ValueError(
            f"There is no folder {name!r}. If it is the name of a TensorFlow data set: {error}"
        ) from error


def build(settings: Settings, classes: int, recipe: Any = None) -> keras.Model:
    """The model that `settings` name, with a new head, for pixels in [0, 255]; with the dropout
    and the activation of the head that a `Recipe` asks for."""
    common: dict[str, Any] = {
        "classes": classes,
        "classifier_activation": "softmax",
        "include_preprocessing": True,
        "dtype": settings.dtype,
    }
    if isinstance(recipe, Recipe):
        args = recipe.model_args()
        has_dropout = not settings.model.startswith(("BiT", "Mixer"))
        common |= args if has_dropout else {"classifier_activation": recipe.loss}
    if settings.model == SMALL:
        if settings.weights is not None:
            raise ValueError(
                "There are no weights for the model 'small'; choose another model, "
                "'ViT_Ti16' for example (--model ViT_Ti16). "
                f"Received: weights={settings.weights!r}"
            )
        return ViT(settings.image_size, **_SMALL, **common, name="vit_small")
    if settings.model not in VARIANTS:
        raise ValueError(
            f"`model` must be 'small' or one of {', '.join(VARIANTS)}. "
            f"Received: model={settings.model!r}"
        )
    constructor = getattr(models, settings.model)
    rows, columns = as_pair(settings.image_size, "image_size")
    return constructor(
        weights=settings.weights,
        input_shape=(rows, columns, 3),
        new_head=settings.weights is not None,
        **common,
    )
