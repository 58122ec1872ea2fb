"""What the hosts of recipients mean by their words and codes, where that is another thing than what anybody would mean.

Where the tables come from: docs/decisions/0011-reports-by-mail.md.
"""

Words = dict[str, tuple[str, ...]]

APPLE: Words = {
    "authfailure": (
        "s dmarc policy",
        "blocked for failing both spf and dkim autentication checks",
    ),
    "blocked": (
        "rejected due to having a domain present in the spamhaus",
        "rejected due to listing in spamhaus",
        "blocked - see https://support.proofpoint.com/dnsbl-lookup",
        "not accepting connections",
    ),
    "hasmoved": ("recipient no longer on server",),
    "mailboxfull": ("user is over quota",),
    "norelaying": ("relay access denied",),
    "notaccept": ("host/domain does not accept mail",),
    "policyviolation": ("due to local policy",),
    "rejected": ("sender address rejected",),
    "speeding": ("due to excessive volume",),
    "userunknown": (
        "inactive email address",
        "user does not exist",
        "unknown or illegal alias",
    ),
}
TENCENT: Words = {
    "authfailure": (
        "spf check failed",
        "dmarc check failed",
    ),
    "blocked": (
        "suspected bounce attacks",
        "suspected spam ip",
        "connection denied",
    ),
    "mesgtoobig": ("message too large",),
    "rejected": (
        "suspected spam",
        "mail is rejected by recipients",
    ),
    "spamdetected": (
        "spam is embedded in the email",
        "mail content denied",
    ),
    "speeding": ("mailbox unavailable or access denined",),
    "suspend": ("is a deactivated mailbox",),
    "syntaxerror": ("bad address syntax",),
    "toomanyconn": (
        "ip frequency limited",
        "domain frequency limited",
        "sender frequency limited",
        "connection frequency limited",
    ),
    "userunknown": ("mailbox not found",),
}
YAHOO: Words = {
    "authfailure": ("yahoo requires all senders to authenticate with either spf or dkim",),
    "blocked": (
        " because the ip is in spamhaus's list;",
        "not accepted from ip addresses on spamhaus xbl",
    ),
    "norelaying": ("relaying denied for ",),
    "notcompliantrfc": ("headers are not rfc compliant",),
    "policyviolation": ("not accepted for policy reasons",),
    "rejected": (
        "temporarily deferred due to unexpected volume or user complaints",
        "due to unresolvable rfc.5321 domain",
        " will be permanently deferred",
    ),
    "speeding": ("user is receiving mail too quickly",),
    "suspend": (
        " is no longer valid.",
        "this mailbox is disabled",
    ),
    "syntaxerror": ("syntax error in parameters or arguments",),
    "toomanyconn": ("max message per connection reached",),
    "userunknown": (
        "dd this user doesn't have a ",
        "mailbox not found",
    ),
}
KDDI: Words = {
    "filtered": ("550 : user unknown",),
    "userunknown": (">: user unknown",),
}
COX: Words = {
    "blocked": (
        "cox too many bad commands from",
        "too many invalid recipients",
    ),
    "requireptr": (
        "dns check failure - try again later",
        "rejected - no rdns",
    ),
    "policyviolation": (
        "esmtp no data before greeting",
        "attachment extension is forbidden",
    ),
    "rejected": ("sender rejected",),
    "systemerror": ("esmtp server temporarily not available",),
    "toomanyconn": (
        "too many sessions from",
        "requested action aborted: try again later",
        "message threshold exceeded",
    ),
    "userunknown": ("recipient rejected",),
}
GODADDY: Words = {
    "blocked": (
        "rbl reject",
        "www.spamhaus.org/query/bl?ip=",
    ),
    "expired": (
        "has been in the queue too long",
        "delivery timeout",
    ),
    "mailboxfull": ("account storage limit",),
    "spamdetected": ("message rejected for spam or virus content",),
    "suspend": ("account disabled",),
    "systemerror": ("message is looping",),
    "userunknown": (
        "recipient not found",
        "account does not exist",
    ),
}
DOCOMO: Words = {
    "mailboxfull": ("552 too much mail data",),
    "toomanyconn": ("552 too many recipients",),
    "syntaxerror": (
        "503 bad sequence of commands",
        "504 command parameter not implemented",
    ),
}
FRANCE: Words = {
    "authfailure": ("spf/dns de votre nom de domaine",),
}
COX_CODES = {
    **dict.fromkeys(
        "CXBL CDRBL IPBL0001 IPBL0010 IPBL0100 IPBL0011 IPBL0101 IPBL0110 IPBL0111"
        " IPBL1000 IPBL1001 IPBL1010 IPBL1011 IPBL1100 IPBL1101 IPBL1110 IPBL1111 IPBL00001".split(),
        "blocked",
    ),
    **dict.fromkeys("CXDNS".split(), "requireptr"),
    **dict.fromkeys("CXSNDR".split(), "authfailure"),
    **dict.fromkeys("CXSMTP".split(), "rejected"),
    **dict.fromkeys("CXCNCT CXMXRT".split(), "toomanyconn"),
    **dict.fromkeys("CXTHRT CXMJ".split(), "securityerror"),
    **dict.fromkeys("URLBL011 URLBL101 URLBL110 URLBL1001".split(), "spamdetected"),
}
FRANCE_CODES = {
    **dict.fromkeys("101 102 103 510 999".split(), "blocked"),
    **dict.fromkeys("104".split(), "toomanyconn"),
    **dict.fromkeys("305 402".split(), "securityerror"),
    **dict.fromkeys("401 517".split(), "authfailure"),
    **dict.fromkeys("403 405 415 421".split(), "rejected"),
    **dict.fromkeys("416".split(), "userunknown"),
    **dict.fromkeys("417".split(), "mailboxfull"),
    **dict.fromkeys("420 426".split(), "suspend"),
    **dict.fromkeys("505".split(), "systemerror"),
    **dict.fromkeys("506".split(), "spamdetected"),
    **dict.fromkeys("514".split(), "mesgtoobig"),
    **dict.fromkeys("630".split(), "policyviolation"),
}
GODADDY_CODES = {
    **dict.fromkeys("IB401".split(), "securityerror"),
    **dict.fromkeys("IB501 IB502".split(), "notcompliantrfc"),
    **dict.fromkeys("IB506".split(), "rejected"),
    **dict.fromkeys("IB508".split(), "authfailure"),
    **dict.fromkeys("IB108".split(), "requireptr"),
    **dict.fromkeys("IB212".split(), "spamdetected"),
    **dict.fromkeys("IB705".split(), "virusdetected"),
    **dict.fromkeys("IB605 IB007".split(), "toomanyconn"),
    **dict.fromkeys("IB101 IB504 IB510 IB607".split(), "speeding"),
    **dict.fromkeys("IB110 IB111 IB112 IB113 IB104 IB105 IB106".split(), "blocked"),
    **dict.fromkeys("IB103".split(), "badreputation"),
}
IUA_CODES = {
    **dict.fromkeys("1 6".split(), "norelaying"),
    **dict.fromkeys("2".split(), "userunknown"),
    **dict.fromkeys("3".split(), "suspend"),
    **dict.fromkeys("4".split(), "mailboxfull"),
    **dict.fromkeys("5".split(), "toomanyconn"),
    **dict.fromkeys("7 9".split(), "blocked"),
    **dict.fromkeys("8".split(), "rejected"),
    **dict.fromkeys("10".split(), "filtered"),
}
SPECTRUM_CODES = (
    (1000, 1000, "blocked"),
    (1010, 1010, "rejected"),
    (1020, 1080, "rejected"),
    (1090, 1090, "systemerror"),
    (1100, 1150, "requireptr"),
    (1160, 1190, "policyviolation"),
    (1200, 1210, "blocked"),
    (1220, 1250, "blocked"),
    (1260, 1260, "networkerror"),
    (1300, 1340, "toomanyconn"),
    (1350, 1490, "speeding"),
    (1500, 1500, "rejected"),
    (1520, 1520, "rejected"),
    (1530, 1530, "mesgtoobig"),
    (1540, 1540, "speeding"),
    (1550, 1550, "speeding"),
    (1560, 1560, "policyviolation"),
    (1580, 1580, "speeding"),
)
