"""Codes, links and previews out of texts as they are really sent."""

from __future__ import annotations

import time

import pytest

from threads.extraction import MAX_LINKS, find_codes, find_links, make_preview

pytestmark = pytest.mark.one_profile
PATIENCE = 5.0  # seconds of CPU; quadratic time on these sizes takes minutes

CODES = [
    ("Your code", "Your verification code is 482913. It expires in 10 minutes.", ["482913"]),
    ("482913 is your Acme code", "Use it to sign in.", ["482913"]),
    ("Sign in", "Enter this code:\n\n123 456\n\nIf this was not you, ignore it.", ["123456"]),
    ("Sign in", "Your one-time code: 123-456", ["123456"]),
    ("Login", "Use OTP 90210 to log in to your bank.", ["90210"]),
    ("Google", "G-482913 is your Google verification code.", ["G-482913"]),
    ("Pair", "Your passcode is AB12-CD34", ["AB12-CD34"]),
    ("Pair", "Enter the code K7XQ92 on your device", ["K7XQ92"]),
    ("Anmeldung", "Ihr Bestätigungscode lautet: 7788", ["7788"]),
    ("Anmeldung", "Ihr Einmalpasswort: 552211\nGültig bis 31.12.2026, 10:00 Uhr.", ["552211"]),
    ("Connexion", "Votre code de vérification est 661234", ["661234"]),
    ("Acceso", "Tu código de verificación es 905512", ["905512"]),
    ("Accesso", "Il tuo codice di verifica è 105512", ["105512"]),
    ("登录", "您的验证码是 839201，5分钟内有效。", ["839201"]),
    ("PIN", "Your PIN: 2031", ["2031"]),
    (
        "Verify",
        "Your verification code\n\n*482913*\n\n© 2025 Acme Inc., 1 Main St, San Francisco, CA 94105",
        ["482913"],
    ),
    (
        "Security code",
        "Your security code is below.\n\n  773311  \n\nCall us at 555-0100 or +1 (555) 123-4567.",
        ["773311"],
    ),
    ("Code", "First code 111222, backup code 333444.", ["111222", "333444"]),
]

NO_CODES = [
    ("Order 123456", "Your order number 123456 has shipped."),
    ("Invoice", "Invoice 20250114 over $1234 is due. Verification is not needed."),
    ("News", "In 2024 we verified more users than in 2023."),
    ("Call", "To verify, call +49 30 123456 or 555-123-4567."),
    ("Address", "Please verify your address: 10115 Berlin"),
    ("Address", "Zip code 94105, area code 4155"),
    ("Sale", "Use promo code SAVE20 and pay 1999 EUR."),
    ("Reset", "Reset your password: https://acme.example/reset/482913?code=112233"),
    ("Dates", "Verification ends on 12.05.2026 or 2026-05-12."),
    ("Verify", "Please verify your e-mail by the link. 1500 users did."),
    ("Hello", "The number 482913 stands for itself."),
    ("", ""),
]


class TestCodes:
    @pytest.mark.parametrize(("subject", "text", "codes"), CODES)
    def test_it_finds_the_code(self, subject, text, codes):
        assert find_codes(subject, text) == codes

    @pytest.mark.parametrize(("subject", "text"), NO_CODES)
    def test_it_takes_nothing_else_for_a_code(self, subject, text):
        assert find_codes(subject, text) == []

    def test_it_puts_the_likeliest_first(self):
        text = "Session AB1234 asked to verify you.\n\nYour verification code is:\n\n482913\n"
        assert find_codes("Sign in", text)[0] == "482913"

    def test_it_gives_a_code_once(self):
        assert find_codes("Your code is 482913", "Your code is 482913") == ["482913"]


class TestLinks:
    def test_it_lists_links_in_order_and_once(self):
        text = "See https://a.example/x, then http://b.example and https://a.example/x."
        html = '<a href="https://c.example/?a=1&amp;b=2">c</a> <a href="http://b.example">b</a>'
        assert find_links(text, html) == ["https://a.example/x", "http://b.example", "https://c.example/?a=1&b=2"]

    @pytest.mark.parametrize(
        ("text", "link"),
        [
            ("(see https://a.example/x)", "https://a.example/x"),
            ("https://a.example/w_(x)", "https://a.example/w_(x)"),
            ("<https://a.example/x>", "https://a.example/x"),
            ("here<https://a.example/x?y=1#z>!", "https://a.example/x?y=1#z"),
            ("Really https://a.example/x?!", "https://a.example/x"),
        ],
    )
    def test_it_trims_what_belongs_to_the_sentence(self, text, link):
        assert find_links(text, "") == [link]

    def test_it_takes_http_and_https_only(self):
        html = "<a href='mailto:a@b.example'></a><a href=\"javascript:alert(1)\"></a><a href=ftp://x.example></a>"
        assert find_links("ftp://x.example mailto:a@b.example", html) == []

    def test_it_caps_their_number(self):
        assert len(find_links(" ".join(f"https://a.example/{n}" for n in range(500)), "")) == MAX_LINKS


class TestPreview:
    def test_it_folds_whitespace(self):
        assert make_preview("\n Hello,\n\n\tAnn  ") == "Hello, Ann"

    def test_it_caps_the_length(self):
        assert make_preview("word " * 1000) == ("word " * 40).rstrip()

    def test_it_leaves_out_invisible_filling(self):
        assert make_preview("Sale" + "\u200c\u034f " * 300 + "now") == "Sale now"


MEGABYTE = 1_000_000
ADVERSARIAL = [
    "1" * MEGABYTE,
    "code " * 200_000,
    "code 1234 " * 100_000,
    "1234 " * 200_000,
    "A-" * 500_000,
    "A1-" * 300_000,
    " " * MEGABYTE,
    "verif" * 200_000,
    "a" * MEGABYTE,
    "a@" * 500_000,
    "a." * 500_000,
    "http://" * 140_000,
    "http://x" + ")" * MEGABYTE,
    "(" * MEGABYTE,
    "href=" * 200_000,
    'href="' * 170_000,
    "href" + " " * MEGABYTE,
    "http://a) " * 100_000,
    "code" + "\n" * MEGABYTE,
    "ß" * MEGABYTE,
    "code" + " :" * 500_000,
    "123-" * 250_000,
    "\u200c" * MEGABYTE,
]


class TestAdversarialTexts:
    @pytest.mark.parametrize("text", ADVERSARIAL, ids=lambda text: repr(text[:12]))
    def test_it_takes_linear_time(self, text):
        began = time.thread_time()
        find_codes(text, text)
        find_links(text, text)
        make_preview(text)
        assert time.thread_time() - began < PATIENCE
