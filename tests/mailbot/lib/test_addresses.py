import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbot.lib.addresses import AddressError, canonical, comparable

pytestmark = pytest.mark.one_profile


class TestCanonical:
    @pytest.mark.parametrize(
        ("written", "address", "tag"),
        [
            ("Support@Example.COM", "support@example.com", ""),
            ("<support@example.com>", "support@example.com", ""),
            ("support+eu@example.com", "support@example.com", "eu"),
            ("support+a+b@example.com", "support@example.com", "a+b"),
            ("s.u.p@example.com", "s.u.p@example.com", ""),
            ("support@bücher.example", "support@xn--bcher-kva.example", ""),
            ("support@XN--BCHER-KVA.example", "support@xn--bcher-kva.example", ""),
            ("JÖRG@example.com", "jörg@example.com", ""),
            ("jo\u0308rg@example.com", "jörg@example.com", ""),
            ("support@example.com.", "support@example.com", ""),
            ("o'neil@example.com", "o'neil@example.com", ""),
        ],
    )
    def test_it_is_one_form_for_every_spelling(self, written: str, address: str, tag: str) -> None:
        found = canonical(written)
        assert (found.address, found.tag) == (address, tag)

    @pytest.mark.parametrize(
        "written",
        ["", "a", "@example.com", "a@", "a b@example.com", "a..b@example.com", ".a@example.com", "+tag@example.com", "a@-x.com", "a@x..com",
         "a" * 65 + "@example.com", "a@" + "x" * 64 + ".com", "a\r\nb@example.com",
         "a\0@example.com", '"a b"@example.com', "a@[127.0.0.1]", "a\u200b@x.com", "a\ud800@x.com", "a@\ud800.com",
         'a+">"@x.com', "a+<b@y.com>@x.com", "a+b,c@x.com", "a+b@c@x.com"],
    )  # fmt: skip
    def test_it_refuses_with_a_reason_in_one_line(self, written: str) -> None:
        with pytest.raises(AddressError) as caught:
            canonical(written)
        assert str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "written", ["a" + "\u0327\u0301" * 200_000 + "@x.com", "a@" + " " * 200_000 + "x.com", "a@" + "ä." * 200_000]
    )
    def test_it_refuses_what_is_very_long_at_once(self, written: str) -> None:
        began = time.thread_time()
        with pytest.raises(AddressError):
            canonical(written)
        assert time.thread_time() - began < 0.5  # seconds of CPU

    def test_it_shows_people_the_domain_as_they_write_it(self) -> None:
        assert canonical("a@xn--bcher-kva.example").unicode_address == "a@bücher.example"

    @given(st.text(max_size=80))
    def test_it_either_refuses_or_is_stable(self, text: str) -> None:
        for written in (text, f"{text}@example.com", f"a@{text}"):
            try:
                once = canonical(written)
            except AddressError:
                continue
            assert canonical(once.address).address == once.address
            assert canonical(once.unicode_address).address == once.address
            assert comparable(written) == once.address
