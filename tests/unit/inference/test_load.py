import numpy as np
import pytest
import torch

from imbalance_study.config import resolve
from imbalance_study.experiment import run as experiment
from imbalance_study.inference import load as trained
from imbalance_study.training import losses

TINY = {
    "dataset": "digits",
    "model": "resnet20",
    "epochs": 1,
    "steps_per_epoch": 2,
    "batch_size": 16,
    "analyses": "none",
    "device": "cpu",
    "precision": "fp32",
}
CASES = {name: {"loss": name} for name in losses.LOSSES} | {
    "ldam with another scale": {"loss": "ldam:s=10"},
    "crt": {"stage2": "crt:epochs=1"},
    "crt after cosines": {"loss": "ldam", "stage2": "crt:epochs=1"},
    "lws": {"stage2": "lws:epochs=1"},
    "las": {"stage2": "las:epochs=1"},
    "crt after sigmoids": {"loss": "sigmoid_focal", "stage2": "crt:epochs=1"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_model_from_a_checkpoint_takes_raw_images_and_gives_the_probabilities_of_the_run(
    case, tmp_path
):
    found = resolve.resolve(TINY | CASES[case]).config
    result = experiment.run(found, output_dir=tmp_path, show_progress=False)
    model = trained.from_checkpoint(tmp_path / "best.pt").raw()
    rows = result.data.split.test[:20]
    images = torch.from_numpy(np.asarray(result.data.image_set.images[rows]))
    with torch.inference_mode():
        probs = model(images)
    logits = torch.from_numpy(result.test.logits[:20])
    torch.testing.assert_close(probs, result.procedure.probabilities(logits), atol=1e-4, rtol=0)
    torch.testing.assert_close(probs.sum(1), torch.ones(20))
    if case == "sigmoid_focal":
        sigmoids = logits.sigmoid()
        wanted = sigmoids / sigmoids.sum(1, keepdim=True)
        torch.testing.assert_close(probs, wanted, atol=1e-4, rtol=0)
    if case == "ldam with another scale":
        torch.testing.assert_close(probs, (10 * logits).softmax(1), atol=1e-4, rtol=0)
