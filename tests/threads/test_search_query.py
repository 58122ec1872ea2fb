"""The language of search: what is read, what is refused and where, and that nothing else can happen."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threads.search_query import (
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_TERMS,
    After,
    AllOf,
    AnyOf,
    Before,
    Feature,
    Field,
    Has,
    InThread,
    Label,
    Node,
    Not,
    UnreadableQuery,
    Words,
    parse,
    written,
)
from threads.search_words import LONGEST_WORD, spans_of, words_of

pytestmark = pytest.mark.one_profile

THREAD = "thread_01m86mjjvsewt8t640x9zpmss7"


def words(*given: str, field: Field | None = None, is_prefix: bool = False) -> Words:
    return Words(given, field, is_prefix)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "node"),
        [
            ("Invoice", words("invoice")),
            ("  invoice ", words("invoice")),
            ("invoi*", words("invoi", is_prefix=True)),
            ('"in two parts"', words("in", "two", "parts")),
            ('"in two par"*', words("in", "two", "par", is_prefix=True)),
            ("carol@shop.example", words("carol", "shop", "example")),
            ("INV-2041", words("inv", "2041")),
            ("https://shop.example/a?b=c", words("https", "shop", "example", "a", "b", "c")),
            ("12:30", words("12", "30")),
            ("Re: invoice", AllOf((words("re"), words("invoice")))),
            ("a b", AllOf((words("a"), words("b")))),
            ("a AND b", AllOf((words("a"), words("b")))),
            ("a or b", AllOf((words("a"), words("or"), words("b")))),
            ("a OR b OR c", AnyOf((words("a"), words("b"), words("c")))),
            ("a b OR c d", AllOf((words("a"), AnyOf((words("b"), words("c"))), words("d")))),
            ("(a b) OR c", AnyOf((AllOf((words("a"), words("b"))), words("c")))),
            ("((a))", words("a")),
            ("-a", Not(words("a"))),
            ("NOT a", Not(words("a"))),
            ("NOT -a", Not(Not(words("a")))),
            ('-"a b"', Not(words("a", "b"))),
            ("-(a OR b)", Not(AnyOf((words("a"), words("b"))))),
            ("-from:bob a-b", AllOf((Not(words("bob", field=Field.FROM)), words("a", "b")))),
            ("a - b", AllOf((words("a"), words("b")))),
            ("AT & T", AllOf((words("at"), words("t")))),
            ("ORANGE", words("orange")),
            ("from:carol@shop.example", words("carol", "shop", "example", field=Field.FROM)),
            ('TO:"Carol Shop"', words("carol", "shop", field=Field.TO)),
            ("subject:inv*", words("inv", field=Field.SUBJECT, is_prefix=True)),
            ("label:urgent", Label("urgent")),
            (r'label:"to do \"now\" \\ x"', Label(r'to do "now" \ x')),
            ("has:attachment", Has(Feature.ATTACHMENT)),
            ("has:Code", Has(Feature.CODE)),
            ("has:link", Has(Feature.LINK)),
            (f"thread:{THREAD}", InThread(THREAD)),
            ("after:2026-11-24", After(datetime(2026, 11, 24, tzinfo=UTC))),
            ("before:2026-11-24T10:00:00Z", Before(datetime(2026, 11, 24, 10, tzinfo=UTC))),
            ('after:"2026-11-24 10:00:00"', After(datetime(2026, 11, 24, 10, tzinfo=UTC))),
            ("after:2026-11-24T10:00:00+02:00", After(datetime(2026, 11, 24, 10, tzinfo=timezone(timedelta(hours=2))))),
        ],
    )  # fmt: skip
    def test_it_reads(self, text: str, node: Node) -> None:
        assert parse(text) == node


class TestRefusing:
    @pytest.mark.parametrize(
        ("text", "position", "reason"),
        [
            ("", 0, "nothing to look for"),
            (" - & ", 0, "nothing to look for"),
            ('invoice "in two', 8, "not closed"),
            ("(a b", 0, "not closed"),
            ("a) b", 1, "closes nothing"),
            (")", 0, "closes nothing"),
            ("a ()", 2, "nothing between"),
            ("a OR", 2, "both sides"),
            ("OR a", 0, "both sides"),
            ("a OR OR b", 5, "both sides"),
            ("(a OR) b", 3, "both sides"),
            ("a AND", 2, "both sides"),
            ("a NOT", 2, "behind it"),
            ("a from: b", 7, "needs a value"),
            ("from:", 5, "needs a value"),
            ("from:(a b)", 5, "needs a value"),
            ('from:"!"', 5, "no value"),
            ("a form:bob", 2, "Did you mean “from:”"),
            ("cc:bob", 0, "quotation marks"),
            ("has:attachments", 4, "no value"),
            ("label:urg*", 6, "takes no"),
            ("label:" + "x" * 101, 6, "no value"),
            ("after:yesterday", 6, "no value"),
            ("after:0001-01-01T00:00:00+14:00", 6, "no value"),
            ("thread:msg_1", 7, "no value"),
            ("a\0b", 1, "cannot be looked for"),
            ("a\ud800b", 1, "cannot be looked for"),
            ("x" * (MAX_LENGTH + 1), MAX_LENGTH, "longer than"),
            ("a " * MAX_TERMS + "a", MAX_TERMS * 2, "more than"),
            ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), MAX_DEPTH, "nested"),
            ("NOT " * (MAX_DEPTH + 1) + "a", MAX_DEPTH * 4, "nested"),
        ],
    )
    def test_it_points_at_the_place(self, text: str, position: int, reason: str) -> None:
        with pytest.raises(UnreadableQuery, match=reason) as caught:
            parse(text)
        assert caught.value.position == position
        assert caught.value.expected

    def test_it_shows_the_place(self) -> None:
        with pytest.raises(UnreadableQuery) as caught:
            parse("x" * 80 + " (b c")
        piece, caret = caught.value.excerpt.split("\n")
        assert piece[len(caret) - 1] == "("
        assert caret.strip() == "^"


TEXTS = st.text(max_size=120) | st.lists(
    st.sampled_from(
        ["a", "Straße", "北京", "-", "(", ")", '"', "*", "OR", "AND", "NOT", " ", "from:", "label:", "after:", "2026-11-24", "has:",
         "link", "\\", "x@y.z", "\n", "thread:", THREAD, "ﷺ", "é", "e\u0301", "한글", "नमस्ते", "\u200d"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


def refusal(text: str) -> UnreadableQuery | None:
    try:
        parse(text)
    except UnreadableQuery as error:
        return error
    return None


class TestProperties:
    @given(TEXTS)
    def test_it_is_read_or_refused_at_a_place_in_it(self, text: str) -> None:
        refused = refusal(text)
        if refused is not None:
            assert 0 <= refused.position <= len(text)
            assert len(refused.excerpt.split("\n")) == 2

    @given(TEXTS)
    def test_it_is_read_again_as_it_is_written(self, text: str) -> None:
        if refusal(text):
            return
        node = parse(text)
        again = written(node)
        if len(again) <= MAX_LENGTH:
            assert parse(again) == node
            assert written(parse(again)) == again


class TestWords:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("Crème brûlée", ["creme", "brulee"]),
            ("CRE\u0300ME", ["creme"]),
            ("Straße ﬁne ①", ["strasse", "fine", "1"]),
            ("snake_case", ["snake", "case"]),
            ("北京 大学", ["北", "京", "大", "学"]),
            ("カタカナ2026年", ["カ", "タ", "カ", "ナ", "2026", "年"]),
            ("한국어 메일", ["한국어", "메일"]),
            ("नमस्ते", ["नमसते"]),
            ("soft\u00adhyphen", ["softhyphen"]),
            ("x" * 100, ["x" * LONGEST_WORD]),
            ("", []),
        ],
    )
    def test_it_finds(self, text: str, found: list[str]) -> None:
        assert words_of(text) == found

    @given(TEXTS)
    def test_it_finds_the_same_in_what_it_found(self, text: str) -> None:
        found = words_of(text)
        assert words_of(" ".join(found)) == found
        assert all(found)

    @given(TEXTS.filter(lambda text: not any("\u1100" <= c <= "\u11ff" for c in text)))
    def test_it_knows_where_they_stand(self, text: str) -> None:
        spans = spans_of(text)
        assert [span.word for span in spans] == words_of(text)
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
