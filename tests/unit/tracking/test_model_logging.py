import json

import mlflow
import numpy as np
import pytest
import torch

from imbalance_study import __version__
from imbalance_study.tracking import model_logging


@pytest.mark.slow
def test_the_model_saved_with_one_image_takes_any_number_and_holds_its_class_names(
    tiny_run, tmp_path
):
    result = tiny_run.result
    images = np.ascontiguousarray(result.data.image_set.images[result.data.split.test[:5]])
    model_logging.save_model(result, images[:1], tmp_path / "model")
    saved = mlflow.models.Model.load(str(tmp_path / "model"))
    assert saved.metadata["class_names"] == [str(number) for number in range(10)]
    assert saved.metadata["imbalance_study"] == __version__
    requirements = (tmp_path / "model" / "requirements.txt").read_text()
    assert f"torch=={torch.__version__.partition('+')[0]}" in requirements
    probs = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(images)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    outputs = result.procedure.probabilities(torch.from_numpy(result.test.logits[:5]))
    np.testing.assert_allclose(probs, outputs, atol=1e-5)
    example = json.loads((tmp_path / "model" / "input_example.json").read_text())
    assert np.asarray(example).shape == (2, *images.shape[1:])
