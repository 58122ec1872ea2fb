"""Which rule decides: the order of precedence as a table, and what always holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxes.models import Account, AddressRule, Inbox
from inboxes.rules import Level, Reason, Rule, Rules, canonical_pattern, decide, decide_answer
from inboxes.rules_in_force import find_rules, rules_of
from mailbot.lib.addresses import AddressError
from tests.cast import Caller

LEVELS = {"inbox": Level.INBOX, "account": Level.ACCOUNT}
ANN = "ann@mail.example.com"
HERS = [ANN, "mail.example.com", "example.com", "com", "*"]
OTHERS = ["ben@mail.example.com", "other.example.com", "mail.example.org", "le.com", "ample.com"]


def rules(*written: str) -> Rules:
    """From `inbox allow ann@example.com`, and so on."""
    entries = [line.split() for line in written]
    return Rules.of(
        Rule(f"rule_{number}", LEVELS[level], effect, pattern)
        for number, (level, effect, pattern) in enumerate(entries)
    )


def verdict(*written: str, address: str = ANN, also: tuple[str, ...] = ()) -> str:
    found = decide(rules(*written), address, also)
    return f"{found.reason} {found.rule.pattern}" if found.rule else found.reason.value


some_rules = st.lists(
    st.builds(
        Rule,
        id=st.uuids().map(str),
        level=st.sampled_from(Level),
        effect=st.sampled_from(["allow", "block"]),
        pattern=st.sampled_from([*HERS, *OTHERS]),
    ),
    max_size=12,
)


class TestPrecedence:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ([], "no_rule"),
            (["inbox block ben@mail.example.com"], "no_rule"),
            # the inbox beats the account, whatever stands there
            (["inbox allow *", f"account block {ANN}"], "allow_rule *"),
            (["inbox block *", f"account allow {ANN}"], "block_rule *"),
            (["inbox allow ben@mail.example.com", f"account allow {ANN}"], "not_on_allow_list"),
            (["inbox block ben@mail.example.com", "account block example.com"], "block_rule example.com"),
            # an address beats a domain, a domain those above it, all of them everybody
            ([f"inbox allow {ANN}", "inbox block mail.example.com"], f"allow_rule {ANN}"),
            ([f"inbox block {ANN}", "inbox allow mail.example.com"], f"block_rule {ANN}"),
            (["account allow mail.example.com", "account block example.com"], "allow_rule mail.example.com"),
            (["account block example.com", "account allow com"], "block_rule example.com"),
            (["account block com", "account allow *"], "block_rule com"),
            # block beats allow
            ([f"inbox allow {ANN}", f"inbox block {ANN}"], f"block_rule {ANN}"),
            (["account allow example.com", "account block example.com"], "block_rule example.com"),
            (["account allow *", "account block *"], "block_rule *"),
            # whoever is not on an allow list is blocked, but only where one is
            (["account allow ben@mail.example.com"], "not_on_allow_list"),
            (["account allow example.com"], "allow_rule example.com"),
            (["account allow ben@mail.example.com", "account block com"], "block_rule com"),
            (["inbox block other.example.com", "account allow example.org"], "not_on_allow_list"),
            # a domain matches itself and what is below it, not what ends alike
            (["inbox block ample.com", "inbox block le.com", "inbox block other.example.com"], "no_rule"),
        ],
    )  # fmt: skip
    def test_it_is_as_documented(self, written: list[str], expected: str) -> None:
        assert verdict(*written) == expected

    @pytest.mark.parametrize(
        "address",
        [
            *("Ann@Mail.Example.Com", "ann+news@mail.example.com", "<ann@mail.example.com.>", "ANN+a+b@MAIL.example.com"),
            *('"ann"@mail.example.com', '<"a\\nn"@mail.example.com>', '"ann+news"@mail.example.com'),
        ],
    )  # fmt: skip
    def test_it_takes_every_spelling_for_the_same_address(self, address: str) -> None:
        assert verdict(f"inbox block {ANN}", address=address) == f"block_rule {ANN}"

    def test_it_compares_domains_in_their_canonical_form(self) -> None:
        assert verdict("inbox block xn--bcher-kva.example", address="jörg@BÜCHER.example").startswith("block_rule")

    @pytest.mark.parametrize(
        "address",
        [
            *('"a b"@example.com', "a..b@example.com", "x" * 65 + "@example.com", "@example.com"),
            *(
                "ann@a_b.example.com",
                "ann@-.example.com",
                "ann@a.b_.c.example.com",
                "ann@" + "_." * 100 + "example.com",
            ),
        ],
    )
    def test_it_finds_the_domain_of_an_address_that_cannot_be_read(self, address: str) -> None:
        assert verdict("inbox block example.com", address=address) == "block_rule example.com"

    @pytest.mark.parametrize("address", ["", "example.com", "*", "nobody", "a@[127.0.0.1]", "a@b@\0", "\ud800@x"])
    def test_what_is_no_address_is_on_no_list(self, address: str) -> None:
        assert verdict("inbox allow example.com", address=address) == "not_on_allow_list"
        assert verdict("inbox block example.com", address=address) == "no_rule"
        assert verdict("inbox block *", address=address) == "block_rule *"

    def test_it_matches_a_domain_however_deep_the_address_is_below_it(self) -> None:
        deep = "ann@" + "a." * 100 + "mail.example.com"
        assert verdict("inbox block example.com", address=deep) == "block_rule example.com"


class TestOtherAddressesOfTheMail:
    def test_a_block_counts_for_them_too(self) -> None:
        assert verdict("account block evil.example", also=("bounce@evil.example",)) == "block_rule evil.example"

    def test_an_allow_does_not(self) -> None:
        assert verdict("account allow good.example", also=("ann@good.example",)) == "not_on_allow_list"

    def test_the_order_of_precedence_is_the_same(self) -> None:
        also = ("bounce@mailer.example",)
        assert verdict(f"inbox allow {ANN}", "account block mailer.example", also=also) == f"allow_rule {ANN}"
        assert verdict(f"account allow {ANN}", "account block mailer.example", also=also) == f"allow_rule {ANN}"
        assert verdict("account allow mail.example.com", "account block mailer.example", also=also).startswith("block")

    def test_none_is_nobody(self) -> None:
        assert verdict("account block *", "account allow example.com", also=("",)) == "allow_rule example.com"


class TestAnswers:
    def test_the_lists_for_replies_come_first(self) -> None:
        direction, found = decide_answer(rules("account allow *"), rules(f"inbox block {ANN}"), ANN)
        assert (direction, found.is_blocked) == ("reply", False)
        direction, found = decide_answer(rules("account allow ben@x.com"), rules(f"inbox allow {ANN}"), ANN)
        assert (direction, found.is_blocked) == ("reply", True)

    def test_those_for_sending_decide_where_they_say_nothing(self) -> None:
        direction, found = decide_answer(rules("inbox block ben@x.com"), rules(f"inbox block {ANN}"), ANN)
        assert (direction, found.is_blocked) == ("send", True)


class TestProperties:
    @given(some_rules)
    def test_a_block_of_the_very_address_at_the_inbox_always_blocks(self, given: list[Rule]) -> None:
        assert decide(Rules.of([*given, Rule("new", Level.INBOX, "block", ANN)]), ANN).is_blocked

    @given(some_rules)
    def test_an_allow_of_the_very_address_at_the_inbox_lets_pass_unless_that_is_blocked_there(
        self, given: list[Rule]
    ) -> None:
        is_blocked = any((rule.level, rule.effect, rule.pattern) == (Level.INBOX, "block", ANN) for rule in given)
        assert decide(Rules.of([*given, Rule("new", Level.INBOX, "allow", ANN)]), ANN).is_blocked == is_blocked

    @given(some_rules, st.randoms(use_true_random=False))
    def test_the_order_of_rules_is_irrelevant(self, given: list[Rule], random: object) -> None:
        shuffled = list(given)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert decide(Rules.of(shuffled), ANN) == decide(Rules.of(given), ANN)

    @given(some_rules)
    def test_rules_that_do_not_match_matter_only_as_an_allow_list(self, given: list[Rule]) -> None:
        matching = tuple(rule for rule in given if rule.pattern in HERS)
        assert decide(Rules(matching, Rules.of(given).allow_lists), ANN) == decide(Rules.of(given), ANN)

    @given(some_rules)
    def test_the_account_has_no_say_where_the_inbox_has(self, given: list[Rule]) -> None:
        found = decide(Rules.of(given), ANN)
        if found.level == Level.INBOX:
            assert decide(Rules.of(rule for rule in given if rule.level == Level.INBOX), ANN) == found

    @given(some_rules)
    def test_without_an_allow_rule_only_a_matching_block_blocks(self, given: list[Rule]) -> None:
        blocks = [rule for rule in given if rule.effect == "block"]
        assert decide(Rules.of(blocks), ANN).is_blocked == any(rule.pattern in HERS for rule in blocks)

    @given(some_rules)
    def test_a_verdict_names_a_rule_that_is_there(self, given: list[Rule]) -> None:
        found = decide(Rules.of(given), ANN)
        assert found.rule is None or found.rule in given
        assert found.is_blocked == (found.reason in (Reason.BLOCK_RULE, Reason.NOT_ON_ALLOW_LIST))
        assert found.words

    @given(st.text(max_size=400))
    def test_any_text_gets_a_verdict(self, address: str) -> None:
        assert decide(rules("inbox block example.com"), address, [address]).reason in Reason


class TestPatterns:
    @pytest.mark.parametrize(
        ("written", "pattern"),
        [
            (" Ann+news@Example.COM ", "ann@example.com"),
            ("Example.com.", "example.com"),
            ("@example.com", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*", "*"),
        ],
    )
    def test_they_are_kept_in_canonical_form(self, written: str, pattern: str) -> None:
        assert canonical_pattern(written) == pattern

    @pytest.mark.parametrize(
        "written", ["", "@", "a b", "*.example.com", "*@example.com", "a@", "ex ample.com", "Ann <ann@x.com>"]
    )
    def test_what_is_none_is_refused(self, written: str) -> None:
        with pytest.raises(AddressError):
            canonical_pattern(written)


class TestFinding:
    """What is read from the database decides as all the rules would."""

    def add(self, inbox: Inbox, *written: str, mode: str = "test", direction: str = "receive") -> None:
        for line in written:
            level, effect, pattern = line.split()
            AddressRule.objects.create(
                account_id=inbox.account_id,
                mode=mode,
                inbox=inbox if level == "inbox" else None,
                direction=direction,
                effect=effect,
                pattern=pattern,
            )

    def test_it_reads_what_bears_on_the_addresses(self, alice: Caller) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        self.add(
            inbox, f"inbox block {ANN}", "inbox block ben@x.com", "account allow example.com", "account allow y.com"
        )
        found = rules_of("receive", inbox, [ANN])
        assert {(rule.level.name, rule.effect, rule.pattern) for rule in found.rules} == {
            ("INBOX", "block", ANN),
            ("ACCOUNT", "allow", "example.com"),
        }
        assert found.allow_lists == {Level.ACCOUNT}
        assert {rule.pattern for rule in rules_of("receive", other, [ANN]).rules} == {"example.com"}

    def test_it_keeps_accounts_modes_and_directions_apart(self, alice: Caller, charlie: Caller) -> None:
        inbox, his = alice.create_inbox(), charlie.create_inbox()
        self.add(his, "inbox block *", "account block *", "account allow x.com")
        self.add(inbox, "account block *", "account allow x.com", mode="live")
        self.add(inbox, "inbox block *", "account allow x.com", direction="send")
        assert find_rules("receive", {inbox: [ANN]}) == {}
        assert len(rules_of("receive", his, [ANN]).rules) == 2

    def test_it_asks_once_for_many(self, alice: Caller, django_assert_num_queries: object) -> None:
        inboxes = [alice.create_inbox() for _ in range(3)]
        for inbox in inboxes:
            self.add(inbox, f"inbox block {ANN}")
        with django_assert_num_queries(1):  # type: ignore[operator]
            found = find_rules("receive", {inbox: [ANN, f"ben{n}@x.com"] for n, inbox in enumerate(inboxes)})
        assert found.keys() == {inbox.pk for inbox in inboxes}

    def test_it_asks_nothing_for_nobody(self, acme: Account, django_assert_num_queries: object) -> None:
        with django_assert_num_queries(0):  # type: ignore[operator]
            assert find_rules("receive", {}) == {}
