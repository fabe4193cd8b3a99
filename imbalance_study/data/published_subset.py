"""The long-tailed subset of CIFAR that published code trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imbalance_study.data.image_set import ImageSet


def shuffle(of_each: Sequence[np.ndarray], image_set: ImageSet, class_order: str) -> None:
    """Shuffle the images of each class in turn, as `longtail.published` says.

    Args:
        of_each: Rows of the training images of each class, in the order of the archive; shuffled in
            place.
        image_set: The images.
        class_order: Must be label, as there.

    Raises:
        ValueError: The images are not those of the archive, all of them and in its order.
    """
    if not image_set.in_archive_order:
        raise ValueError(
            "imbalance published needs the order of the CIFAR archive (cifar-10-batches-py or its "
            f"tar.gz in data_dir), which a folder of image files has lost; {image_set.name} was "
            "read from others, so take imbalance=exponential"
        )
    if sum(map(len, of_each)) != len(image_set.train):
        raise ValueError(
            "imbalance published draws from all training images: take validation=none or "
            "stratified, which is cut afterwards"
        )
    if class_order != "label":
        raise ValueError(f"imbalance published needs class_order=label, got {class_order}")
    generator = np.random.RandomState(0)
    for rows in of_each:
        generator.shuffle(rows)
