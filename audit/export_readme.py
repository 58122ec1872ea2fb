"""What a reviewer is told who opens a bundle and knows nothing of mailbot."""

from audit.export_models import Export

_TEXT = """\
An export of mailbot's audit log
================================

What it is of:  {what}
Period:         {period}
Asked for by:   {who}
Reason:         {reason}
Asked at:       {at}
Export:         {id}

What is in it
-------------
audit.jsonl         the entries, one a line, oldest first, in canonical JSON (RFC 8785). This is the evidence.
audit-proof.jsonl   hashes of what is not in it, so that both give the root of the signed head.
audit.csv           the same entries as a table, for a spreadsheet. Times are in UTC. A cell that a spreadsheet
                    would calculate (it begins with = + - @, tab, carriage return or line feed) has an
                    apostrophe before it. It proves nothing; audit.jsonl does.
manifest.json       SHA-256 of each file, the signed head, the public keys, who asked and why.
{more}
How to check it
---------------
1. Get clients/verify_audit.py out of mailbot's source from where you trust it, not from whoever gave you this
   file. It is one file and needs Python 3.9 or newer and the package "cryptography"; no server is asked.
2. Run:   python verify_audit.py THIS.zip --key PUBLIC_KEY
   PUBLIC_KEY is the server's public key as you know it from elsewhere, such as from an earlier export or from
   the operator by another way. Without --key the program believes the keys in this file, and so does not tell
   a trail that was made anew by somebody else.
3. "holds" and exit code 0: each file is what the manifest says, and each entry is what was sealed. "BAD" and exit
   code 1: it names what is wrong.
4. Do you have heads that you kept from before? Give them with --head FILE: with exit code 0 nobody has taken back
   what they were of. Exit code 3: of some of them this export does not tell it, and the program says what does.
   Keep the head of this export (manifest.json, audit.head) for the next time.
{complete}
The format is described in docs/audit/format.md of the source, octet for octet, for whoever wants to write
another verifier.
"""
_ALL = """
It has all entries of the account as of the head: that none is missing but for those that an entry says were
removed is checked, too.
"""
_SOME = """
It has some of the entries of the account: that those in it are genuine is proved, that none of their kind was
left out cannot be told from it. An export of the whole account tells that too.
"""
_MORE = {
    "messages": "messages/           mail as it was received or composed, byte for byte (RFC 5322), and messages/index.csv.\n",
    "threads": "threads/            conversations as pages for a browser, made out of the same messages.\n",
    "threads_pdf": "threads/            conversations as PDF, to be printed: bounded in length, and what its fonts lack is a mark.\n"
    "                    The pages and the .eml files count.\n",
}


def readme(export: Export, *, is_complete: bool) -> bytes:
    what = (
        f"inbox {export.inbox_id} of account {export.account_id}" if export.inbox_id else f"account {export.account_id}"
    )
    since, until = (f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "" for moment in (export.since, export.until))
    text = _TEXT.format(
        what=what + (f", {export.mode} mode" if export.mode else ""),
        period=" ".join(filter(None, (since and f"from {since}", until and f"before {until}"))) or "all of it",
        who=f"{_line(export.actor_name)} ({export.actor_kind} {export.actor_id})",
        reason=_line(export.reason),
        at=f"{export.created_at:%Y-%m-%d %H:%M:%S} UTC",
        id=export.pk,
        more="".join(_MORE.get(name, "") for name in export.included),
        complete=_ALL if is_complete else _SOME,
    )
    return text.encode("utf-8", "backslashreplace")


def _line(text: str) -> str:
    """What somebody typed in, without what would make it look like lines of ours."""
    return " ".join(text.split())
