"""VTAB-1k: fine-tunes a model on 1,000 images of each of 19 tasks, and tests it on all.

    from keras_vit.experiments import vtab

    vtab.available(data_dir)  # which of the data sets are there
    summary = vtab.run(vtab.Settings(), "runs/vtab", data_dir=data_dir)
    print(vtab.report_page(summary))

`TASKS` has a row for each of the 19 tasks of arXiv 1910.04867; the defaults of `Settings` are those
of the ViT paper.
"""

from keras_vit.experiments.vtab.data import Availability, available, load, splits
from keras_vit.experiments.vtab.labels import Label
from keras_vit.experiments.vtab.report import list_page, picture, report_page, scores
from keras_vit.experiments.vtab.runner import Settings, run
from keras_vit.experiments.vtab.tasks import GROUPS, TASKS, Task

__all__ = [
    "GROUPS",
    "TASKS",
    "Availability",
    "Label",
    "Settings",
    "Task",
    "available",
    "list_page",
    "load",
    "picture",
    "report_page",
    "run",
    "scores",
    "splits",
]
