"""What marking costs: no query makes it more than one look at the text for each of its words."""

from time import thread_time

from threads.models import Message
from threads.search import words_looked_for
from threads.search_highlights import highlights
from threads.search_query import MAX_LENGTH, parse

MESSAGES = 5
FEW = 2.0  # seconds of CPU for all of them, which take a fifth of one; comparing word by word takes twice as long


def test_a_long_phrase_that_nearly_matches_everywhere_costs_little(db: None):
    query = f'a OR "{"a " * (MAX_LENGTH // 2 - 10)}b a"'
    words = list(words_looked_for(parse(query)))
    message = Message(subject="", body_text="a " * 25_000)
    began = thread_time()
    for _ in range(MESSAGES):
        assert highlights(message, words)[0]["text"].startswith("<mark>a</mark> <mark>a</mark>")
    assert thread_time() - began < FEW


def test_a_phrase_is_marked_as_one_and_its_last_word_may_only_begin_so(db: None):
    message = Message(subject="Pay in two Parts, in two days", body_text="")
    words = list(words_looked_for(parse('"in two"* OR da*')))
    marked = "Pay <mark>in two</mark> Parts, <mark>in two</mark> <mark>days</mark>"
    assert highlights(message, words) == [{"field": "subject", "text": marked}]
