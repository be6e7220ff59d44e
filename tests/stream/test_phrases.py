from __future__ import annotations

from dataclasses import replace

import pytest

from henasy_stream.errors import UserError
from henasy_stream.stream.phrases import VerbNounPairs, default_phrases, load_phrases
from henasy_stream.stream.word_lists import load_words
from tests.stream.fake import NOUNS, PHRASES, FakeBackend


def write(folder, content):
    path = folder / "bank.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_blank_lines_comments_and_repetitions_are_left_out(tmp_path):
    text = "\ufeff# things\n\nwashes a cup\r\n  washes   a cup \n"
    text += "#C C cuts an onion\n#O a man waves\n#comment\nрежет лук 🧅\n"
    assert load_phrases(write(tmp_path, text)) == (
        "washes a cup",
        "#C C cuts an onion",
        "#O a man waves",
        "режет лук 🧅",
    )


@pytest.mark.parametrize("content", ["", "\n\n", "# only this\n"])
def test_an_empty_bank_is_the_users_mistake(tmp_path, content):
    with pytest.raises(UserError, match=r"bank\.txt holds no phrase"):
        load_phrases(write(tmp_path, content))


def test_undecodable_bytes_name_the_line(tmp_path):
    with pytest.raises(UserError, match=r"bank\.txt, line 3, is not UTF-8") as error:
        load_phrases(write(tmp_path, b"one\ntwo\ncaf\xe9\n"))
    assert "\n" not in str(error.value)


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing"):
        load_phrases(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot read"):
        load_phrases(tmp_path)


def test_default_banks():
    spec = FakeBackend().spec
    assert default_phrases(spec) == PHRASES
    assert default_phrases(FakeBackend(capabilities=("caption",)).spec) == PHRASES
    pairs = default_phrases(replace(spec, phrases=(), verbs=("push", "lift")))
    assert isinstance(pairs, VerbNounPairs)
    assert pairs.texts[:2] == ("push cup", "push knife")
    assert len(pairs.texts) == 2 * len(NOUNS)
    everyday = default_phrases(replace(spec, phrases=(), nouns=(), verbs=()))
    assert isinstance(everyday, tuple)
    assert len(everyday) > 100
    assert "washes a cup" in everyday


def test_pairs_put_the_noun_where_the_verb_says():
    pairs = VerbNounPairs(verbs=("cut", "picks the {} up", "looks at an {}"), nouns=("egg", "cup"))
    assert pairs.texts == (
        *("cut egg", "cut cup", "picks the egg up", "picks the cup up", "looks at an egg", "looks at an cup"),
    )
    assert pairs.verb_texts == ("cut thing", "picks the thing up", "looks at an thing")
    assert VerbNounPairs(verbs=("cuts the {}", "lifts the {}", "waits"), nouns=("egg",)).noun_texts == ("the egg",)
    assert VerbNounPairs(verbs=("cut", "lift"), nouns=("egg",)).noun_texts == ("egg",)


@pytest.mark.parametrize("empty", ["verbs", "nouns"])
def test_pairs_of_nothing_are_the_users_mistake(empty):
    words = {"verbs": ("cut",), "nouns": ("egg",)} | {empty: ()}
    with pytest.raises(UserError, match=f"no {empty}"):
        VerbNounPairs(**words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("# kitchen\ncut\n\nput  down\ncut\n", ("cut", "put down")),
        ("cuts the {}, slowly\n", ("cuts the {}, slowly",)),
        ("t-shirt\nboard:chopping\nlid, pan\n", ("t-shirt", "chopping board", "pan lid")),
        (
            "id,key,instances,category\n0,take,\"['grab', 'take']\",retrieve\n6,turn-on,['turn-on'],access\n",
            ("take", "turn on"),
        ),
        (
            '"id","key","instances","category"\n5,"pan","[\'pan\']","cookware"\n18,"board:chopping","[]","x"\n'
            '9,"lid:rice:cooker","[]","x"\n',
            ("pan", "chopping board", "rice cooker lid"),
        ),
        ('label,group\n"bag_(bag,_grocery,_sack)","[\'bag\']"\ncutting_board,"[\'x\']"\n', ("bag", "cutting board")),
    ],
)
def test_word_lists_of_all_kinds_are_read(tmp_path, content, words):
    assert load_words(write(tmp_path, content), "nouns") == words


def test_our_own_lists():
    verbs, nouns = load_words("everyday", "verbs"), load_words("everyday", "nouns")
    assert len(verbs) >= 97
    assert len(nouns) >= 300
    assert {"cut", "pick up"} <= set(verbs)
    assert {"onion", "chopping board"} <= set(nouns)


@pytest.mark.parametrize(("content", "said"), [("# nothing\n", "holds no verbs"), ("id,key\n", "holds no verbs")])
def test_an_empty_word_list_is_the_users_mistake(tmp_path, content, said):
    with pytest.raises(UserError, match=said):
        load_words(write(tmp_path, content), "verbs")
    with pytest.raises(UserError, match="cannot read the file of verbs"):
        load_words(tmp_path / "missing", "verbs")
