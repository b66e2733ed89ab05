"""What a person reads of a run in MLflow."""

import re
import string

import pytest

from birnn.tracking.descriptions import KEY_LENGTH, own_name, plain_name

TAKEN = re.compile(r"[\w.\- :]*")  # of `mlflow.utils.validation`, without the slash
NAMES = ["a/b", "a,b", "a;b", "a_b", "a b", "a:b", "C+", "C++", "C*", "#", "$", "\u2600", "\u2602"]
NAMES += ["``", "''", ".", ",", ":", "-LRB-", "\u0939\u093f", "\x07", "\n", "\U0010ffff", ":comma:"]
NAMES += ["a:comma:b", "a:u002c:b", "\u4f60", "n\u00e9", *string.punctuation]


class TestPlainName:
    def test_is_taken_and_another_one_for_each_name(self) -> None:
        plain = [plain_name(f"recall_{name}") for name in {*NAMES}]
        assert [name for name in plain if not TAKEN.fullmatch(name)] == []
        assert len({*plain}) == len({*NAMES})

    @pytest.mark.parametrize("name", NAMES)
    def test_gives_the_name_back(self, name: str) -> None:
        assert own_name(plain_name(f"recall_{name}")) == f"recall_{name}"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("recall_B-PER", "recall_B-PER"),
            ("recall_a_b", "recall_a_b"),
            ("validation.f1_macro", "validation.f1_macro"),
            ("recall_a,b", "recall_a:comma:b"),
            ("recall_C++", "recall_C:plus sign::plus sign:"),
            ("recall_\u2600", "recall_:black sun with rays:"),
            ("recall_\x07", "recall_:u0007:"),
        ],
    )
    def test_is_one_that_people_read(self, name: str, expected: str) -> None:
        assert plain_name(name) == expected

    def test_of_long_names_are_as_many(self) -> None:
        long = ["f1_" + "x" * 300 + end for end in "abc"]
        plain = [plain_name(name) for name in long]
        assert len({*plain}) == 3
        assert {*map(len, plain)} == {KEY_LENGTH}

    @pytest.mark.parametrize("name", ["system/cpu", "sense:1", "a:no such letter:b", "::"])
    def test_of_another_program_stays(self, name: str) -> None:
        assert own_name(name) == name
