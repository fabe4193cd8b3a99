import pytest

from imbalance_study.config import compatibility
from imbalance_study.config.resolve import make

FROZEN = {"freeze": "head_only", "weights": "imagenet"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "balanced_softmax", "class_weights": "balanced"}, "correct .* twice"),
        ({"loss": "vs", "sampler": "class_balanced"}, "correct .* twice"),
        ({"class_weights": "balanced", "resample": "smote"}, "correct .* twice"),
        ({"loss": "focal", "label_smoothing": 0.1}, "label_smoothing has no effect"),
        ({"defer": 0.8}, "defer has no effect"),
        ({"ema_decay": 0.9}, "ema_decay has no effect"),
        ({"allow_double_correction": True}, "nothing corrects twice"),
        ({"loss": "ldam", "head": "linear"}, "needs head=cosine"),
        ({"head": "cosine"}, "head=cosine gives cosines"),
        ({"mix": "mixup", "supcon": 0.5}, "supcon needs images of one class"),
        ({"validation": "none", "early_stopping": "val/loss:patience=3"}, "needs validation"),
        ({"validation": "none", "schedule": "plateau"}, "needs validation"),
        ({"validation": "none", "sampler": "error_driven"}, "needs validation"),
        ({"select_by": "last", "schedule": "plateau"}, "select_by=last has none"),
        ({"imbalance": "none", "class_order": "size"}, "class_order has no effect"),
        ({"dataset": "imagefolder", "csv_columns": "label:dx"}, "csv_columns has no effect"),
        ({"dataset": "digits", "test_fold": 1}, "test_fold has no effect"),
        ({"dataset": "digits", "fit": "pad"}, "fit has no effect with dataset=digits"),
        ({"dataset": "cifar10", "pixel_range": "0/255"}, "pixel_range has no effect"),
        (FROZEN | {"mix": "cutmix"}, "cutmix pastes pixels, and space=features has none; use mix="),
        (FROZEN | {"supcon": 0.5}, "supcon trains the backbone"),
        (FROZEN | {"compile": True}, "compile has no effect with space=features"),
        (FROZEN | {"stage2": "las:shift_bn=true"}, "statistics of the backbone"),
        (FROZEN | {"feature_views": 4}, "nothing augments them; give augment=crop"),
        (FROZEN | {"feature_views": 4, "augment": "none"}, "nothing augments them"),
        (FROZEN | {"feature_views": 4, "augment": "crop", "resample": "smote"}, "one of the two"),
        (FROZEN | {"feature_views": 4, "augment": "crop", "space": "pixels"}, "and space=pixels"),
        (FROZEN | {"augment": "crop", "space": "features"}, "augment=crop draws images anew"),
        (FROZEN | {"tail_augment": "trivial", "space": "features"}, "tail_augment=trivial draws"),
        ({"space": "features"}, "space=features needs freeze=head_only: with freeze=none"),
        ({"feature_views": 4, "augment": "crop"}, "needs freeze=head_only and space=features"),
    ],
)
def test_a_combination_that_makes_no_sense_is_refused_with_the_reason(values, message):
    with pytest.raises(ValueError, match=message):
        make(**values)


def test_double_correction_is_let_through_on_request():
    both = {"loss": "balanced_softmax", "class_weights": "balanced"}
    found = make(**both, allow_double_correction=True)
    assert len(compatibility.corrections(found)) == 2


@pytest.mark.parametrize(
    "values",
    [
        {"loss": "ldam", "class_weights": "effective", "defer": 0.8},
        {"loss": "focal", "sampler": "class_balanced"},
        {"mix": "mixup", "loss": "balanced_softmax"},
        {"label_smoothing": 0.1, "class_weights": "balanced"},
        {"loss": "balanced_softmax", "stage2": "crt"},
    ],
)
def test_margins_focus_mixing_smoothing_and_the_second_stage_count_as_no_correction(values):
    make(**values)


@pytest.mark.parametrize(("option", "value"), [("gradcam_layers", "all"), ("colormap", "viridis")])
def test_options_of_maps_need_an_analysis_that_draws_them_or_figures_in_the_training(option, value):
    asked = {option: value}
    for analyses in ("none", "confusion+calibration"):
        with pytest.raises(ValueError, match=f"{option} has no effect with analyses="):
            make(analyses=analyses, **asked)
        make(analyses=analyses, figure_every=1, **asked)
    for analyses in ("standard", "all", "gradcam", "confusion+deletion"):
        make(analyses=analyses, **asked)


def test_occlusion_draws_with_the_colormap_and_needs_no_layers():
    make(analyses="occlusion", colormap="viridis")
    with pytest.raises(ValueError, match="gradcam_layers has no effect with analyses=occlusion"):
        make(analyses="occlusion", gradcam_layers="all")


def test_a_loss_of_ones_own_may_take_label_smoothing():
    make(loss="mine:poly", label_smoothing=0.1)
