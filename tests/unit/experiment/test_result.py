from imbalance_study.experiment.analyses.context import AnalysisResult
from imbalance_study.experiment.result import RunResult, RunStart, TrainingResult
from imbalance_study.training.predict import predict
from imbalance_study.training.procedure import EpochResult


def test_metrics_tables_and_figures_are_those_of_scores_and_analyses(make_setup, make_stage):
    setup = make_setup()
    stage = make_stage(setup)
    test = predict(setup.model, setup.parts.test, setup.procedure.normalise)
    scores = AnalysisResult({"test/a": 1.0}, tables={"posthoc": {}}, figures={"curves": 1})
    analysis = AnalysisResult({"cost/b": 2.0}, tables={"classes": {}}, figures={"roc": 2})
    result = RunResult(setup, stage, scores, test, analysis, {})
    assert result.metrics == {"test/a": 1.0, "cost/b": 2.0}
    assert set(result.tables) == {"posthoc", "classes"}
    assert result.figures == {"curves": 1, "roc": 2}
    assert TrainingResult(setup, stage, scores).metrics == {"test/a": 1.0}
    assert result.history is stage.fit.history


def test_the_start_of_a_run_is_the_moment_before_its_first_epoch(make_setup):
    setup = make_setup()
    start = RunStart(0, {}, facts=setup.facts, report=setup.data.report)
    assert isinstance(start, EpochResult)
    assert (start.epoch, start.draw(), start.images) == (0, {}, {})
