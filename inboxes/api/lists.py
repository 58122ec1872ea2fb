"""/v1/lists: whom inboxes may write to, answer, and take mail from."""

from dataclasses import asdict
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api.lists_shapes import (
    CheckQuery,
    RemoveQuery,
    ReplaceBody,
    ReplacedSerializer,
    RuleBody,
    RuleQuery,
    RuleSerializer,
    VerdictSerializer,
)
from inboxes.api.views import InboxScopedView, visible_inboxes
from inboxes.lists import AddressList, ListFull, add_entry, remove_entry, replace_list
from inboxes.models import AddressRule, Inbox
from inboxes.permissions import LISTS_READ, LISTS_WRITE
from inboxes.rules import Direction, Effect, decide, decide_answer
from inboxes.rules_in_force import rules_of
from mailbot.api.errors import ApiError, Code, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import data


def no_such_list() -> ApiError:
    fix = f"Paths are /v1/lists/{{direction}}/{{effect}}: {', '.join(Direction.values)}; {', '.join(Effect.values)}."
    return ApiError(Code.NOT_FOUND, "There is no such list.", fix=fix)


def is_limited(key: Principal) -> bool:
    """Whether the key is for some inboxes only and not for the whole account."""
    return key.inbox_ids is not None


def visible_rules(key: Principal) -> QuerySet[AddressRule]:
    """Those of the inboxes that the key may see, and those of its account, which they are under."""
    rules = AddressRule.objects.filter(account_id=key.account_id, mode=key.mode)
    return rules.filter(Q(inbox=None) | Q(inbox__in=visible_inboxes(key))) if is_limited(key) else rules


def represent(rules: AddressRule | list[AddressRule]) -> Any:
    return RuleSerializer(rules, many=isinstance(rules, list)).data


class ListScopedView(InboxScopedView):
    """A view of the lists of one direction and effect, as the path names them."""

    needs = {"GET": LISTS_READ, "POST": LISTS_WRITE, "PUT": LISTS_WRITE, "DELETE": LISTS_WRITE}
    path_values = {"direction": tuple(Direction.values), "effect": tuple(Effect.values)}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if kwargs["direction"] not in Direction.values or kwargs["effect"] not in Effect.values:
            raise no_such_list()

    def rules(self, direction: str, effect: str) -> QuerySet[AddressRule]:
        return visible_rules(self.key).filter(direction=direction, effect=effect)

    def target(self, direction: str, effect: str, inbox_id: str | None) -> AddressList:
        """The list that is to be changed."""
        inbox = self.living_inbox(inbox_id) if inbox_id else None
        if inbox is None:
            self.refuse_limited_key()
        return AddressList(self.key.account_id, self.key.mode, inbox, direction, effect)

    def living_inbox(self, inbox_id: str) -> Inbox:
        inbox = self.get_inbox(inbox_id)
        if inbox.status == Inbox.Status.DELETED:
            raise ApiError(Code.GONE, "This inbox is deleted.", fix="Make a new one.")
        return inbox

    def refuse_limited_key(self) -> None:
        """The account's lists bind inboxes that such a key may not see."""
        if is_limited(self.key):
            message, fix = (
                "This key is limited to some inboxes.",
                "Name one of them in inbox_id, or use a key of the whole account.",
            )
            raise ApiError(Code.FORBIDDEN, message, fix=fix)

    def removed(self, entry: AddressRule) -> Response:
        if not entry.inbox_id:
            self.refuse_limited_key()
        told = represent(entry)
        remove_entry(entry)
        return data(told)


class ListView(ListScopedView):
    """GET|POST|PUT|DELETE /lists/{direction}/{effect}"""

    @described(
        "List the entries of a list", query=RuleQuery, answer=RuleSerializer, many=True, name="list_list_entries"
    )
    def get(self, request: Request, direction: str, effect: str) -> Response:
        """Newest first. Without `inbox_id` those of the account and of all the inboxes that the key may see."""
        query = self.query(RuleQuery)
        rules = self.rules(direction, effect)
        if inbox_id := query.get("inbox_id"):
            rules = rules.filter(inbox=self.get_inbox(inbox_id))
        if level := query.get("level"):
            rules = rules.filter(inbox__isnull=level == "account")
        if pattern := query.get("pattern"):
            rules = rules.filter(pattern=pattern)
        return paginated(rules, query, represent)

    @described(
        "Add an entry to a list",
        name="add_list_entry",
        body=RuleBody,
        answer=RuleSerializer,
        status=201,
        also={200: RuleSerializer},
        errors=(Code.CONFLICT, Code.GONE),
    )
    def post(self, request: Request, direction: str, effect: str) -> Response:
        """200 with the entry as it is when it was there already; its note is left alone."""
        body = self.body(RuleBody, request)
        target = self.target(direction, effect, body["inbox_id"])
        try:
            entry, created = add_entry(target, body["pattern"], body["note"] or "")
        except ListFull as error:
            raise ApiError(
                Code.CONFLICT, str(error), fix="Remove entries, or list a domain for many addresses."
            ) from error
        return data(represent(entry), status=201 if created else 200)

    @described("Replace a list", body=ReplaceBody, answer=ReplacedSerializer, errors=(Code.GONE,))
    def put(self, request: Request, direction: str, effect: str) -> Response:
        """Exactly these entries from now on, of one inbox or, without `inbox_id`, of the account. All of it or nothing."""
        body = self.body(ReplaceBody, request)
        replaced = replace_list(self.target(direction, effect, body["inbox_id"]), body["entries"])
        named = {"direction": direction, "effect": effect, "inbox_id": body["inbox_id"]}
        return data(named | asdict(replaced))

    @described("Remove an entry by its pattern", query=RemoveQuery, answer=RuleSerializer)
    def delete(self, request: Request, direction: str, effect: str) -> Response:
        """Of one inbox or, without `inbox_id`, of the account. To empty a whole list, replace it by no entries."""
        query = self.query(RemoveQuery)
        inbox = self.get_inbox(query["inbox_id"]) if "inbox_id" in query else None
        entry = self.rules(direction, effect).filter(inbox=inbox, pattern=query["pattern"]).first()
        if entry is None:
            raise not_found()
        return self.removed(entry)


class ListEntryView(ListScopedView):
    """GET|DELETE /lists/{direction}/{effect}/{rule_id}"""

    @described("Read an entry", answer=RuleSerializer, name="get_list_entry")
    def get(self, request: Request, direction: str, effect: str, rule_id: str) -> Response:
        return data(represent(self.entry(direction, effect, rule_id)))

    @described("Remove an entry", answer=RuleSerializer, name="remove_list_entry")
    def delete(self, request: Request, direction: str, effect: str, rule_id: str) -> Response:
        """The answer is the entry as it was."""
        return self.removed(self.entry(direction, effect, rule_id))

    def entry(self, direction: str, effect: str, rule_id: str) -> AddressRule:
        entry = self.rules(direction, effect).filter(pk=rule_id).first()
        if entry is None:
            raise not_found()
        return entry


class ListCheckView(InboxScopedView):
    """GET /lists/check"""

    needs = LISTS_READ

    @described(
        "Ask what the lists say of an address",
        query=CheckQuery,
        answer=VerdictSerializer,
        errors=(Code.NOT_FOUND,),
        name="check_lists",
    )
    def get(self, request: Request) -> Response:
        """What would happen to mail from or to it, and which entry decides. Without `inbox_id`: for an inbox without lists of its own.

        For `direction=reply`, of somebody who is answered: the lists for sending decide where those for replies say nothing.
        """
        query = self.query(CheckQuery)
        inbox_id, direction, address = query.get("inbox_id"), query["direction"], query["address"]
        without_lists = Inbox(pk="", account_id=self.key.account_id, mode=self.key.mode)
        inbox = self.get_inbox(inbox_id) if inbox_id else without_lists
        rules = rules_of(direction, inbox, [address])
        by, verdict = direction, decide(rules, address)
        if direction == Direction.REPLY:
            by, verdict = decide_answer(rules, rules_of(Direction.SEND, inbox, [address]), address)
        return data({"direction": direction, "list": by, "inbox_id": inbox_id, **verdict.explained()})
