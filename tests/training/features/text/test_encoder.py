"""The text encoder in torch: known n-grams, rows and columns that do not disturb each other, both forms of a text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipmax.inputs import TextInput, code_points
from training.config import Texts
from training.features.text.encoder import TextEncoder

TRAIN = (
    "my card was lost",
    "my card was stolen yesterday",
    "the card was lost in the post",
    "我的卡丢了",
    "我的卡被偷了",
    "please transfer the money",
    "the transfer of money was late",
)
ADVERSARIAL = (
    "",
    " ",
    "\0\0",
    "\u200b\u200d",
    "\ud800\udfff",
    "\U0001f600 card",
    "e\u0301",
    "\ufdfa" * 20,
    "x" * 1024,
    "card " * 20_000,
)
texts = st.text(st.characters(codec=None), max_size=60)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    """Fitted on a handful of texts, with weights as if it had learned something."""
    torch.manual_seed(0)
    schema = TextInput(name="text", max_length=1024)
    fitted = TextEncoder.fit(schema, TRAIN, 3, Texts(min_texts=2)).eval()
    torch.nn.init.normal_(fitted.wide)
    torch.nn.init.normal_(fitted.deep)
    return fitted


def _points(*values: str) -> torch.Tensor:
    return torch.from_numpy(code_points(values, 1024).copy())


def test_the_vocabulary_is_fitted_on_the_training_texts_only(encoder: TextEncoder) -> None:
    """A word that only other texts have is unknown, one that two of them have is known."""
    assert encoder.known(_points("zzzzqqqq", "card", "")).tolist()[1] > 0
    assert encoder.known(_points("ʘʘʘ", "")).tolist() == [0, 0]


def test_what_is_said_again_changes_nothing(encoder: TextEncoder) -> None:
    """Equal n-grams count once, so three times and two hundred times are the same text: the open flank of tf-idf."""
    thrice, often = (encoder(_points("card " * times)) for times in (3, 200))
    for one, other in zip(thrice, often, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert encoder.known(_points("card " * 3)).tolist() == encoder.known(_points("card " * 200)).tolist()


def test_words_and_characters_each_have_length_one(encoder: TextEncoder) -> None:
    """Or 0, where nothing is known: never NaN."""
    _, weights = encoder.rows(_points("my card", "", "\u200b"))
    squares = torch.stack([weights[:, :2].square().sum(dim=(1, 2)), weights[:, 2:].square().sum(dim=(1, 2))])
    torch.testing.assert_close(squares, torch.tensor([[1.0, 0.0, 0.0]] * 2))


@pytest.mark.parametrize("text", ADVERSARIAL)
def test_anything_gives_finite_numbers(encoder: TextEncoder, text: str) -> None:
    """However it was meant."""
    assert all(bool(torch.isfinite(output).all()) for output in encoder(_points(text)))


def test_the_rest_of_a_long_text_is_cut() -> None:
    """By the graph itself, whatever a client sends."""
    encoder = TextEncoder.fit(TextInput(name="text", max_length=4), TRAIN, 3, Texts(min_texts=1)).eval()
    torch.testing.assert_close(encoder(_points("card was"))[0], encoder(_points("card"))[0])


@given(st.lists(texts, min_size=1, max_size=4), texts)
def test_a_text_answers_the_same_alone_and_beside_longer_ones(
    encoder: TextEncoder, values: list[str], longer: str
) -> None:
    """The n-grams are equal bit for bit, the sums over them to 1e-6: padding only adds zeros."""
    together = encoder(_points(*values, longer + " my card was lost" * 3))
    for row, text in enumerate(values):
        for one, other in zip(encoder(_points(text)), together, strict=True):
            torch.testing.assert_close(one[0], other[row], atol=1e-6, rtol=1e-6)


@given(st.lists(texts, min_size=1, max_size=8))
def test_a_bag_is_the_text_it_was_made_of(encoder: TextEncoder, values: list[str]) -> None:
    """What training sees is what the graph computes, in the order of the texts, whatever their lengths."""
    prepared = encoder.prepare(values)
    for one, other in zip(encoder(prepared), encoder(_points(*values)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    assert np.diff(prepared.starts.numpy()).tolist() == encoder.known(_points(*values)).tolist()


def test_joined_tables_give_the_same(encoder: TextEncoder) -> None:
    """The exported form looks each n-gram up once."""
    apart = encoder(_points(*TRAIN))
    joined = TextEncoder(TextInput(name="text", max_length=1024), encoder.vocabulary, 3, Texts()).eval()
    joined.load_state_dict(encoder.state_dict())
    joined.join_tables()
    assert all(torch.equal(one, other) for one, other in zip(apart, joined(_points(*TRAIN)), strict=True))
    assert set(joined.state_dict()) == {"deep", "wide"}


def test_the_tables_start_as_designed() -> None:
    """Features near 0 with deviation 0.1 / sqrt(width), logits at 0."""
    encoder = TextEncoder.fit(TextInput(name="text", max_length=64), TRAIN, 3, Texts(min_texts=1))
    assert float(encoder.deep.detach().std()) == pytest.approx(0.1 / math.sqrt(64), rel=0.1)
    assert not encoder.wide.any()
