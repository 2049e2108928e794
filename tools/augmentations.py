"""A picture of what each row of AugReg does to photos.

.venv/bin/python tools/augmentations.py FOLDER_OF_CLASS_FOLDERS --out docs/augmentations.png
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_vit.data import from_folder
from keras_vit.data.augment.augmentation import AUGMENTATIONS
from keras_vit.plots import photo_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--out", default="docs/augmentations.png")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=224)
    args = parser.parse_args()
    rows = {}
    for name in AUGMENTATIONS:
        # The same crops in every row.
        data = from_folder(
            args.folder, args.image_size, args.photos, crop_area=(0.5, 1), augmentation=name
        )
        rows[name] = next(iter(data.training()))[0].numpy()
    photo_rows(rows).save(args.out, optimize=True)
    print(f"Written: {args.out}")


if __name__ == "__main__":
    main()
