import dataclasses

from examples import at_most
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_study.config.resolve import resolve
from imbalance_study.config.schema import Config


def test_every_field_has_help_group_and_a_default_that_passes_its_own_check():
    Config()
    for field in dataclasses.fields(Config):
        assert field.metadata["help"].endswith("."), field.name
        assert field.metadata["group"]
        assert field.default is not None
    assert len(dataclasses.fields(Config)) <= 80


_TEXTS = st.one_of(
    st.text(max_size=12), st.sampled_from(["none", "auto", "0", "-1", "1e9", "nan", "a:b=c", "+"])
)


@settings(max_examples=at_most(300))
@given(
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(Config)]), _TEXTS, max_size=4
    )
)
def test_whatever_is_typed_either_resolves_or_is_answered_with_a_sentence(values):
    answer = ""
    try:
        resolve(values)
    except ValueError as error:
        answer = str(error)
    assert answer == "" or (len(answer) > 10 and any(name in answer for name in _WORDS))


_WORDS = [field.name for field in dataclasses.fields(Config)] + ["spec", "twice"]


def test_a_stored_configuration_is_rebuilt_from_old_names_without_unknown_options(capsys):
    stored = dataclasses.asdict(Config(loss="focal"))
    stored["probe"], stored["workers"] = False, 2
    del stored["auto_precision"], stored["decode_workers"], stored["supcon"]
    found = Config.from_dict(stored | {"gone": 1})
    assert found == Config(loss="focal", auto_precision=False, decode_workers=2)
    assert capsys.readouterr().err == ""
