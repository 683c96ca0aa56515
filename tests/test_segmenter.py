"""Words by hand in many scripts; sacreBLEU's own tokenizers where there is one for the language."""

from __future__ import annotations

import re

import pytest
from sacrebleu.metrics.bleu import BLEU

from seqae.data.builtin import load_builtin
from seqae.metrics.accuracy import ReconstructionMetric, bleu_signature
from seqae.metrics.embedding import TfidfSvd
from seqae.metrics.segmenter import blank_separated, terms, tokenize, words
from seqae.metrics.text import distinct, normalized_edit_distance, self_bleu, unigram_bleu
from seqae.tasks.evaluate.baselines import most_frequent_sentence, nearest_by_tfidf

HSK = load_builtin("hsk")[:1000]
TRAIN = ["老师，您好！", "谢谢你！不客气。", "请问，你叫什么名字？"]


def one_wrong(text: str) -> str:
    """Replace the middle character."""
    return text[: len(text) // 2] + "龘" + text[len(text) // 2 + 1 :]


def bleu_of(predictions: list[str], references: list[str]) -> float:
    metric = ReconstructionMetric()
    ids: list[list[int]] = [[] for _ in references]
    metric.update(ids, ids, predictions, references)
    return metric.compute().bleu


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("老师，您好！", "老 师 ， 您 好 ！"),
        ("我用Python写了3.5行。", "我 用 Python 写 了 3.5 行 。"),
        ("コーヒー、ください", "コ ー ヒ ー 、 く だ さ い"),
        ("กินน้ำ", "กิ น น้ ำ"),  # a mark above stays, a vowel behind is a character
        ("ຮັກເຈົ້າ", "ຮັ ກ ເ ຈົ້ າ"),
        ("ខ្ញុំ\u200bស្រលាញ់", "ខ្ញុំ ស្រ លា ញ់"),  # consonants below, and an invisible blank
        ("ဗုဒ္ဓမြန်", "ဗု ဒ္ဓ မြ န်"),
        ("བཀྲ་ཤིས།", "བ ཀྲ ་ ཤི ས །"),
        ("𠀀𠀁", "𠀀 𠀁"),  # outside of the basic plane
        ("葛\U000e0100城", "葛\U000e0100 城"),  # a variant of a character
        ("\u0e34ก", "\u0e34 ก"),  # a mark without its base, of a model that is wrong
        ("안녕하세요, 세계!", "안녕하세요 , 세계 !"),  # Korean has blanks
        ("हिन्दी में।", "हिन्दी में।"),
        ('He said: "no", ½ café.', 'He said : " no " , ½ café .'),
        ("", ""),
    ],
)
def test_words_by_hand(text: str, expected: str) -> None:
    assert words(text) == expected.split()
    assert tokenize(text) == expected


def test_blank_separated_and_terms_by_hand() -> None:
    text = "OK, 我用Python，don't ½ हिन्दी!"
    assert blank_separated(text) == ["OK,", "我", "用", "Python", "，", "don't", "½", "हिन्दी!"]
    assert terms(text) == ["ok", "我", "用", "python", "don", "t", "½", "हिन्दी"]


@pytest.mark.parametrize("corpus", ["wordnet-examples", "speeches"])
def test_english_words_are_those_of_sacrebleu_and_scikit_learn(corpus: str) -> None:
    bleu = BLEU(force=True)
    for text in load_builtin(corpus)[:2000]:
        assert words(text) == bleu._preprocess_segment(text).split()
        assert blank_separated(text) == text.split()
        assert terms(text) == re.findall(r"\b\w+\b", text.lower())


def test_chinese_words_are_those_of_sacrebleus_zh() -> None:
    bleu = BLEU(tokenize="zh", force=True)
    assert all(words(text) == bleu._preprocess_segment(text).split() for text in HSK)


@pytest.mark.parametrize("tokenizer", ["zh", "char"])
def test_bleu_of_chinese_is_that_of_sacrebleus_tokenizers(tokenizer: str) -> None:
    assert bleu_of(HSK, HSK) == pytest.approx(100.0)
    wrong = [one_wrong(text) for text in HSK]
    reference = BLEU(tokenize=tokenizer, force=True).corpus_score(wrong, [HSK]).score
    assert bleu_of(wrong, HSK) == pytest.approx(reference) == pytest.approx(62.5, abs=0.05)


@pytest.mark.parametrize("text", ["老师，您好！", "กินข้าวแล้ว", "ខ្ញុំស្រលាញ់ភាសា", "日本語がすき"])
def test_one_wrong_character_costs_one_word(text: str) -> None:
    wrong = one_wrong(text)
    length = len(words(text))
    assert normalized_edit_distance([wrong], [text]) <= 2 / length
    assert normalized_edit_distance([text], [text]) == 0.0
    # The end counts as a word that is right.
    assert unigram_bleu([wrong], [text]) == pytest.approx(length / (length + 1), abs=1 / length)
    assert bleu_of([text], [text]) == pytest.approx(100.0)
    assert 0.0 < bleu_of([wrong], [text]) < 100.0


def test_diversity_of_chinese_by_hand() -> None:
    texts = ["你好", "你们好"]
    assert distinct(texts, 1) == pytest.approx(3 / 5)
    assert distinct(texts, 2) == pytest.approx(3 / 5)
    assert self_bleu(["老师您好吗", "老师您好吗"]) == pytest.approx(100.0)
    # 3 of 4 characters, 2 of 3 pairs, 1 of 2 triples, and 1/2 for 0 of 1 quadruples.
    score = 100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25
    assert self_bleu(["老师您好", "老师您早"]) == pytest.approx(score)


def test_baselines_of_chinese_see_characters() -> None:
    assert nearest_by_tfidf(TRAIN, ["您好，老王", "你的名字"]) == [TRAIN[0], TRAIN[2]]
    assert TfidfSvd(TRAIN, 2).encode(["老王"]).any()
    # 你 and 好 are in two sentences each.
    assert most_frequent_sentence(["你好", "你是谁", "好大"], ["x"]) == ["你好"]


# Short texts


@pytest.mark.parametrize("text", ["the cat", "cat", "the black cat", "你好"])
def test_short_texts_without_a_mistake_score_100(text: str) -> None:
    assert bleu_of([text] * 100, [text] * 100) == pytest.approx(100.0)


def test_effective_order_by_hand() -> None:
    # 2 of 4 words, and 1/2 for 0 of 2 pairs; no reference has three words.
    wrong, right = ["the dog", "a cat"], ["the cat", "a dog"]
    assert bleu_of(wrong, right) == pytest.approx(100 * (2 / 4 * 1 / 4) ** 0.5)
    # A prediction that is longer than all references adds no order: 2 of 4 words, 1 of 3 pairs.
    assert bleu_of(["the cat sat down"], ["the cat"]) == pytest.approx(100 * (2 / 4 / 3) ** 0.5)


@pytest.mark.parametrize("short", [["the cat"], ["the cat", "a dog"]])
def test_one_long_reference_brings_sacrebleus_own_score(short: list[str]) -> None:
    right = [*short, "one two three four"]
    wrong = [*short, "one two three five"]
    reference = BLEU(force=True).corpus_score(wrong, [right]).score
    assert bleu_of(wrong, right) == reference


def test_effective_order_is_that_of_the_set_not_of_a_batch_or_rank() -> None:
    pairs = [("the cat", "the cat"), ("one two three four", "one two three four")]
    parts = [ReconstructionMetric() for _ in pairs]
    for part, (prediction, reference) in zip(parts, pairs, strict=True):
        part.update([[]], [[]], [prediction], [reference])
    parts[0].merge_state(parts[1])
    assert parts[0].compute().bleu == pytest.approx(bleu_of(*map(list, zip(*pairs, strict=True))))
    parts[0].reset()
    parts[0].update([[]], [[]], ["the cat"], ["the cat"])
    assert parts[0].compute().bleu == pytest.approx(100.0)


def test_signature_says_segmenter_and_effective_order() -> None:
    signature = bleu_signature(["one two three four", "the cat"])
    own = BLEU(force=True)
    own.corpus_score(["a b c d"], [["a b c d"]])
    theirs = str(own.get_signature())
    assert signature == theirs.replace("tok:13a", "tok:13a+char")
    assert "|eff:2|" in bleu_signature(["the cat", "dog"])
    assert "|eff:no|" in bleu_signature(["老师您好"])
    assert "|eff:1|" in bleu_signature([])
