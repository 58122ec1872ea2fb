"""Local parts that nobody chose: readable at a glance, and free."""

import secrets

ADJECTIVES = "amber brave brisk calm clear clever coral crisp eager fair fleet fond gentle glad golden happy honest jolly keen kind lively lucid lucky merry mild neat noble plain polite proud quick quiet ready rosy sage silver smart steady sunny swift tidy true vivid warm wise".split()  # noqa: E501
NOUNS = "acorn badger beacon birch bison brook canyon cedar comet crane delta dune falcon fern finch fjord fox grove harbor hazel heron island ivy jade juniper kestrel lagoon lark linden lotus lynx maple marten meadow mesa moss orchid osprey otter owl pebble pine plover prairie quartz raven reef robin sparrow spruce summit thistle tulip walnut willow wren".split()  # noqa: E501

# Who owns one of these can prove to others that he runs the domain (RFC 2142; CA/Browser Forum BR 3.2.2.4.4).
RESERVED = frozenset(
    {"abuse", "admin", "administrator", "hostmaster", "mailer-daemon", "noc", "postmaster", "security", "webmaster"}
)


def random_local_part() -> str:
    """For example `quiet-otter-4821`; about 25 million of them."""
    return f"{secrets.choice(ADJECTIVES)}-{secrets.choice(NOUNS)}-{secrets.randbelow(10_000):04d}"


def candidates(local_part: str) -> list[str]:
    """Names near to one that is taken, best first; more than are needed, because some will be taken too."""
    stem = local_part[:58]
    numbered = [f"{stem}-{number}" for number in range(2, 7)]
    return [*numbered, *(f"{stem}-{secrets.token_hex(2)}" for _ in range(3)), random_local_part()]
