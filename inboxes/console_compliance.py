"""The compliance view of an inbox in the console: what was done in it and by whom, who had access, what keeps it, whether the trail holds.

Looking at it is an entry of the trail like looking at the trail itself.
"""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from audit.last_verification import last_verification, verify_within
from audit.models import AuditEntry, AuditLeaf, Verification
from audit.proofs import holds, inclusion_proof
from audit.reads import record_read, record_trail_read
from audit.record import Act
from audit.sentences import changes_of, groups, sentence
from audit.timeline import Figures, Wanted, figures_of, names_in, page_of
from audit.tree import Tree
from inboxes.access_history import access_at
from inboxes.compliance_chart import chart_of
from inboxes.compliance_form import MOST_DAYS, ComplianceForm, period_of, wanted_of
from inboxes.console import ConsoleAdmin, asked
from inboxes.console_reviews import ReviewForm, membership_of, open_review, review_in
from inboxes.console_roles import Can, Rows, may_in
from inboxes.holds import holds_on
from inboxes.models import ContentReview, Inbox, LegalHold
from inboxes.reviews import end_review, start_review
from mailbot.lib.ids import is_id

VERIFIES_FOR = 5.0  # seconds that a button may take
MOST_FOUND = 50
MOST_PAST = 50  # holds and reviews that are over
ROOT = "admin:inboxes_compliance"
KEPT = ("since", "until", "actor", "kinds", "account", "open")  # of the address, where another moment is looked at


class CompliancePages(ConsoleAdmin):
    """Pages beside those of the inboxes. Whoever sees the trail sees them."""

    def get_urls(self) -> list[Any]:
        pages = (
            ("compliance/", self.choose_view, "inboxes_compliance"),
            ("<str:inbox_id>/compliance/", self.compliance_view, "inboxes_compliance_inbox"),
            ("<str:inbox_id>/compliance/verify/", self.verify_view, "inboxes_compliance_verify"),
            ("<str:inbox_id>/compliance/review/", self.review_view, "inboxes_compliance_review"),
            ("<str:inbox_id>/compliance/review/<str:review_id>/end/", self.end_view, "inboxes_compliance_end"),
            ("<str:inbox_id>/compliance/<str:entry_id>/", self.entry_view, "inboxes_compliance_entry"),
            ("<str:inbox_id>/compliance/<str:entry_id>/proof.json", self.proof_view, "inboxes_compliance_proof"),
        )
        own = [path(route, self.admin_site.admin_view(view), name=name) for route, view, name in pages]
        return [*own, *super().get_urls()]

    # --- Which inbox ---

    def choose_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise Http404
        term = request.GET.get("q", "").strip().replace("\0", "")[:254]
        found = list(_found(self.get_queryset(request), term).select_related("account")[: MOST_FOUND + 1])
        if term and len(found) == 1 and found[0].pk == term:
            return HttpResponseRedirect(_url(found[0]))
        context: dict[str, Any] = {"term": term, "inboxes": found[:MOST_FOUND], "more": len(found) > MOST_FOUND}
        return self._page(request, "compliance_choose", title="Compliance", **context)

    # --- Of one inbox ---

    def compliance_view(self, request: HttpRequest, inbox_id: str) -> HttpResponse:
        inbox = self.get_object(request, inbox_id)
        form = ComplianceForm(request.GET)
        form.is_valid()  # what it complains of is shown, and left out
        wanted = wanted_of(inbox, form)
        cursor = request.GET.get("cursor", "")[:500]
        page = page_of(wanted, cursor)
        record_trail_read(
            page.entries, account_id=inbox.account_id, inbox_id=inbox.pk, page="compliance", **asked(request)
        )
        figures = figures_of(wanted)
        form.offer(figures.actors, wanted.actor)
        context = {
            "inbox": inbox,
            "form": form,
            "wanted": wanted,
            "days": period_of(form),
            "most_days": MOST_DAYS,
            "all_open": "open" in request.GET,
            "lines": _lines(page.entries, inbox),
            "page": page,
            "is_first": not cursor,
            "kept": [(name, value) for name in KEPT for value in request.GET.getlist(name)],
            "links": _links(request, inbox, wanted, page.next_cursor),
        }
        if not cursor:
            context |= self._beside(request, inbox, form, figures)
        return self._page(request, "compliance", title=inbox.address, subtitle="Compliance", **context)

    def _beside(self, request: HttpRequest, inbox: Inbox, form: ComplianceForm, figures: Figures) -> dict[str, Any]:
        """What stands on the first page only."""
        now, days = timezone.now(), period_of(form)
        return {
            "figures": figures,
            "by_actor": [(actor, number, figures.kinds_of(actor)) for actor, number in figures.by_actor()],
            "chart": chart_of(figures, *days),
            "seal": seal_of(inbox.account_id),
            **_kept(inbox),
            "may_operate": may_in(request, Can.OPERATE, inbox.account_id),
            "access": access_at(inbox, form.cleaned_data.get("at") or now),
            "looks_back": bool(form.cleaned_data.get("at")),
            **self._reviews(request, inbox, now),
        }

    def _reviews(self, request: HttpRequest, inbox: Inbox, now: datetime) -> dict[str, Any]:
        rows = ContentReview.objects.filter(account_id=inbox.account_id, inbox_id=inbox.pk)[:MOST_PAST]
        manages = may_in(request, Can.MANAGE, inbox.account_id)
        mine = open_review(request)
        shown = [(row, row.is_open(now), row.is_open(now) and (manages or row == mine)) for row in rows]
        may_begin = membership_of(request, inbox) is not None and review_in(request, inbox.pk) is None
        return {"reviews": shown, "may_begin_review": may_begin}

    # --- An entry ---

    def entry_view(self, request: HttpRequest, inbox_id: str, entry_id: str) -> HttpResponse:
        inbox = self.get_object(request, inbox_id)
        entry = _entry(inbox, entry_id)
        leaf = AuditLeaf.objects.filter(pk=entry.pk).first()
        proof = inclusion_proof(leaf) if leaf else None
        record_read(Act.AUDIT_READ, "entry", entry.public_id, account_id=inbox.account_id, inbox_id=entry.inbox_id)
        context = {
            "inbox": inbox,
            "line": Line(entry, leaf, names_in([entry], inbox.account_id) | {inbox.pk: inbox.address}),
            "proof": proof,
            "proof_holds": proof is not None and holds(proof),
        }
        return self._page(request, "compliance_entry", title="Entry of the trail", **context)

    def proof_view(self, request: HttpRequest, inbox_id: str, entry_id: str) -> HttpResponse:
        """As `GET /v1/audit-log/{id}` has it, for whoever checks it elsewhere."""
        inbox = self.get_object(request, inbox_id)
        entry = _entry(inbox, entry_id)
        leaf = AuditLeaf.objects.filter(pk=entry.pk).first()
        if leaf is None or (proof := inclusion_proof(leaf)) is None:
            raise Http404("It is not sealed yet, or the tree lacks what the proof is made of.")
        record_read(Act.AUDIT_READ, "entry", entry.public_id, account_id=inbox.account_id, inbox_id=entry.inbox_id)
        answer = JsonResponse(
            {"id": entry.public_id, "seq": leaf.seq, "hash": bytes(leaf.hash).hex(), "proof": proof},
            json_dumps_params={"indent": 2, "ensure_ascii": False},
        )
        answer["Content-Disposition"] = f'inline; filename="{entry.public_id}.json"'
        answer["Cache-Control"] = "private, no-store"
        return answer

    # --- Acts ---

    def verify_view(self, request: HttpRequest, inbox_id: str) -> HttpResponse:
        inbox = self.get_object(request, inbox_id)
        if request.method != "POST":
            raise Http404
        found = verify_within(inbox.account_id, VERIFIES_FOR)
        if not found.holds:
            self.message_user(request, "The trail is not as it was sealed.", messages.ERROR)
        elif found.is_whole:
            self.message_user(request, f"Verified: all {found.size:,} entries are as they were sealed.")
        else:
            told = f"Verified up to entry {found.verified:,} of {found.size:,}: press again to go on."
            self.message_user(request, told, messages.WARNING)
        return HttpResponseRedirect(_url(inbox))

    def review_view(self, request: HttpRequest, inbox_id: str) -> HttpResponse:
        """A reviewer says why, and may read what the mail of this inbox says for a while."""
        inbox = self.get_object(request, inbox_id)
        membership = membership_of(request, inbox)
        if membership is None:
            raise Http404
        if review_in(request, inbox.pk):
            return HttpResponseRedirect(_url(inbox))
        form = ReviewForm(request.POST or None, label_suffix="")
        if request.method == "POST" and form.is_valid():
            start_review(inbox, membership, form.cleaned_data["reason"])
            return HttpResponseRedirect(f"{reverse('admin:threads_message_changelist')}?inbox={inbox.pk}")
        context = {"inbox": inbox, "form": form, "other": open_review(request)}
        status = 400 if form.errors else 200
        return self._page(request, "compliance_review", status, title=f"Read the mail of {inbox.address}", **context)

    def end_view(self, request: HttpRequest, inbox_id: str, review_id: str) -> HttpResponse:
        """By the reviewer, or by who manages the account."""
        inbox = self.get_object(request, inbox_id)
        review = ContentReview.objects.filter(pk=review_id[:40].replace("\0", ""), inbox_id=inbox.pk).first()
        is_mine = review is not None and review == open_review(request)
        if request.method != "POST" or review is None or not (is_mine or may_in(request, Can.MANAGE, inbox.account_id)):
            raise Http404
        ended = end_review(review)
        self.message_user(request, "The review is over." if ended else "The review was over before.")
        return HttpResponseRedirect(f"{_url(inbox)}#reviews")

    def _page(self, request: HttpRequest, template: str, status: int = 200, **context: Any) -> HttpResponse:
        whole = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/console/{template}.html", whole, status=status)


class Line:
    """An entry as the timeline shows it."""

    def __init__(self, entry: AuditEntry, leaf: AuditLeaf | None, names: dict[str, str]) -> None:
        self.entry, self.leaf = entry, leaf
        self.sentence = sentence(entry, names)
        self.changes = changes_of(entry)
        self.has_pairs = any(change.is_pair for change in self.changes)
        self.kind = groups().get(entry.act, "")
        self.hash = bytes(leaf.hash).hex() if leaf else ""
        self.of_account = not entry.inbox_id


class Seal:
    """What is known of the trail by its last verification; `tone` is the colour of the seal."""

    def __init__(self, found: Verification | None, size: int) -> None:
        self.found, self.size = found, size
        self.newer = max(0, size - found.size) if found else size
        self.finding = found.findings[0] if found and found.findings else None
        self.tone = "none" if found is None else "bad" if self.finding else "good" if found.is_whole else "warn"
        self.entry_id = (self.finding or {}).get("id") or ""


def seal_of(account_id: str) -> Seal:
    head = Tree(account_id).head()
    return Seal(last_verification(account_id), head.size if head else 0)


def _found(rows: Rows, term: str) -> Rows:
    """By id or a part of address or name; those that are deleted too."""
    if is_id(term, "inbox"):
        return rows.filter(pk=term)
    if term:
        rows = rows.filter(Q(address__icontains=term) | Q(display_name__icontains=term))
    return rows.order_by("-pk")


def _lines(entries: list[AuditEntry], inbox: Inbox) -> list[Line]:
    names = names_in(entries, inbox.account_id) | {inbox.pk: inbox.address}
    leaves = AuditLeaf.objects.in_bulk([entry.pk for entry in entries])
    return [Line(entry, leaves.get(entry.pk), names) for entry in entries]


def _entry(inbox: Inbox, entry_id: str) -> AuditEntry:
    """Of the inbox, or of its account as a whole."""
    rows = AuditEntry.objects.filter(account_id=inbox.account_id, inbox_id__in=[inbox.pk, ""])
    entry = rows.filter(public_id=entry_id).first() if is_id(entry_id, "audit") else None
    if entry is None:
        raise Http404
    return entry


def _kept(inbox: Inbox) -> dict[str, Any]:
    """Holds in force and past. How long it keeps what it has, and what is over, the template asks of `delivery`."""
    past = LegalHold.objects.filter(Q(inbox=None) | Q(inbox=inbox.pk), account_id=inbox.account_id)
    return {
        "holds": list(holds_on(inbox)),
        "past_holds": list(past.exclude(released_at=None).order_by("-pk")[:MOST_PAST]),
    }


def _url(inbox: Inbox) -> str:
    return reverse(f"{ROOT}_inbox", args=[inbox.pk])


def _links(request: HttpRequest, inbox: Inbox, wanted: Wanted, next_cursor: str) -> dict[str, str]:
    """The same page in other ways, and what leads on with inbox and period filled in."""
    period = {"since": f"{wanted.since:%Y-%m-%dT%H:%M}", "until": f"{wanted.until:%Y-%m-%dT%H:%M}"}
    return {
        "next": _with(request, cursor=next_cursor) if next_cursor else "",
        "first": _with(request, cursor=""),
        "open": _with(request, open="1"),
        "closed": _with(request, open=""),
        "export": reverse("admin:audit_export_add", query={"inbox": inbox.pk, **period}),
        "trail": reverse("admin:audit_auditentry_changelist", query={"account": inbox.account_id, "inbox": inbox.pk}),
    }


def _with(request: HttpRequest, **changes: str) -> str:
    query: QueryDict = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value:
            query[name] = value
    return f"?{query.urlencode()}"
