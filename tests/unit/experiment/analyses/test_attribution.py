import numpy as np

from imbalance_study.experiment.analyses import attribution


def test_grad_cam_draws_errors_and_right_predictions_with_an_overlay_each(make_context):
    context = make_context()
    found = attribution.gradcam(context)
    assert set(found.figures) == {"gradcam_errors", "gradcam_correct"}
    wrong = int((context.predictions != context.test.targets).sum())
    errors = [name for name in found.overlays if name.startswith("gradcam_errors/")]
    assert len(errors) == 2 * wrong  # as predicted, and as it is
    row = int(
        context.data.split.test[np.flatnonzero(context.predictions != context.test.targets)[0]]
    )
    assert any(f"{row:05d}_" in name for name in errors)


def test_occlusions_have_an_overlay_for_each_image(make_context):
    found = attribution.occlusions(make_context())
    assert list(found.figures) == ["occlusion"]
    assert len(found.overlays) == attribution.OCCLUDED
    assert all(name.startswith("occlusion") for name in found.overlays)


def test_the_deletion_test_compares_the_salient_part_with_another(make_context):
    found = attribution.deletions(make_context()).metrics
    assert set(found) == {
        f"test_deletion/{method}_{part}"
        for method in ("gradcam", "occlusion")
        for part in ("salient", "random")
    }
