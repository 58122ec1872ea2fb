"""Which links of a page are found, and that nothing else of it changes."""

import time

import pytest

from delivery.engagement.links import found_in, replaced

FOUND = [
    ('<a href="https://a.example/x">x</a>', "https://a.example/x"),
    ("<A class=b HREF='https://a.example/x'>x</A>", "https://a.example/x"),
    ("<a href=https://a.example/x>x</a>", "https://a.example/x"),
    ("<a href=https://a.example/x/>x</a>", "https://a.example/x/"),
    ('<a\n  title="a > b"\n  href = "https://a.example/x?a=1&amp;b=2"\n>x</a>', "https://a.example/x?a=1&b=2"),
    ('<a href=" https://a.example/x ">x</a>', "https://a.example/x"),
    ('<a href="https://a.example/1" href="https://a.example/2">x</a>', "https://a.example/1"),
    ('<map><area href="https://a.example/x"></map>', "https://a.example/x"),
    ('<a href="mailto:ann@example.com">x</a>', "mailto:ann@example.com"),
    ('1 < 2 <a href="https://a.example/x">', "https://a.example/x"),
    ('<a = href="https://a.example/1"><a href="https://a.example/2">', "https://a.example/2"),
]
NOT_FOUND = [
    '<link href="https://a.example/x">',
    '<img src="https://a.example/x">',
    '<a name="https://a.example/x">',
    "<!-- <a href='https://a.example/x'> -->",
    "<!-- <a href='https://a.example/x'>",
    "<!--a href='https://a.example/x'>-->",
    "<script>'<a href=\"https://a.example/x\">'</script>",
    "<style><a href='https://a.example/x'></style>",
    "<style><a href='https://a.example/x'>",
    "<textarea><a href='https://a.example/x'></textarea>",
    '<a data-no-track href="https://a.example/x">',
    '<a href="https://a.example/x" data-no-track="1">',
    '<a href="https://a.example/x',
    "<a title=\"never closed href='https://a.example/x'>x</a>",
    "https://a.example/x",
]


class TestLinks:
    @pytest.mark.parametrize(("page", "url"), FOUND)
    def test_it_finds(self, page: str, url: str) -> None:
        assert [link.url for link in found_in(page)] == [url]

    @pytest.mark.parametrize("page", NOT_FOUND)
    def test_it_does_not_find(self, page: str) -> None:
        assert list(found_in(page)) == []
        assert replaced(page, lambda url: "https://new.example/") == page

    @pytest.mark.parametrize(("page", "url"), FOUND)
    def test_it_changes_the_value_and_nothing_else(self, page: str, url: str) -> None:
        (link,) = found_in(page)
        new = replaced(page, lambda url: "https://new.example/")
        assert new == f'{page[: link.start]}"https://new.example/"{page[link.end :]}'
        assert replaced(page, lambda url: None) == page

    @pytest.mark.parametrize(
        "piece",
        ["<", "<a ", '<a href="', "<a x=", "<a  = ", "<!--", "<style>", "<a href='x'", "<a\n/ /", "</a", "<a b=c"],
        ids=repr,
    )
    def test_it_takes_linear_time(self, piece: str) -> None:
        page = piece * (300_000 // len(piece))
        began = time.process_time()
        for _ in found_in(page):
            pass
        assert time.process_time() - began < 3
