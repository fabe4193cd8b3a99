import os.path

from imbalance_study.config.choice import SUPPLIED, Choice, with_trait


def test_the_help_line_names_the_options():
    assert Choice("falls").line == "falls"
    assert Choice("falls", options="gamma=2").line == "falls; option gamma"
    assert Choice("falls", options="a=1,b=2/3").line == "falls; options a, b"


def test_the_function_is_imported_by_its_address():
    assert Choice("joins", "os.path:join").load() is os.path.join


def test_names_with_a_trait_come_in_the_order_of_the_registry():
    registry = {
        "b": Choice("one", traits=("cosine", "searched")),
        "a": Choice("another", traits=("searched",)),
        "c": Choice("a third"),
    }
    assert with_trait(registry, "searched") == ("b", "a")
    assert with_trait(registry, "cosine") == ("b",)
    assert with_trait(registry, "sigmoid") == ()


def test_parameters_that_the_program_supplies_belong_to_options_with_choices():
    assert SUPPLIED.keys() <= {"model", "sampler", "optimizer", "imbalance", "resample"}
    assert SUPPLIED["sampler"] == {"progress", "class_errors"}
