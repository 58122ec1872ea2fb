"""/v1/erasures: the erasure of a person on request. For keys of a whole account: a person may be in any inbox, of either mode."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.api.erasure_shapes import (
    CertificateSerializer,
    ErasureBody,
    ErasurePlanSerializer,
    ErasureQuery,
    ErasureSerializer,
)
from delivery.erasing.asking import NotErasable, UnderWay, ask_for_erasure, person_at
from delivery.erasing.certificate import read_certificate
from delivery.erasing.planning import preview
from delivery.models import Erasure
from inboxes.models import Account, Mode
from inboxes.permissions import ERASURES_READ, ERASURES_WRITE
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import TenantView, data


def visible_erasures(key: Principal) -> QuerySet[Erasure]:
    """Of either mode; none for a key of some inboxes."""
    rows = Erasure.objects.filter(account_id=key.account_id)
    return rows if key.inbox_ids is None else rows.none()


def represent(rows: Erasure | list[Erasure]) -> Any:
    return ErasureSerializer(rows, many=isinstance(rows, list)).data


class ErasureScopedView(TenantView):
    needs = {"GET": ERASURES_READ, "POST": ERASURES_WRITE}

    def erasure(self, erasure_id: str) -> Erasure:
        found = visible_erasures(self.key).filter(pk=erasure_id).first()
        if found is None:
            raise not_found()
        return found


class ErasuresView(ErasureScopedView):
    """POST|GET /erasures"""

    @described("List erasures", query=ErasureQuery, answer=ErasureSerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first. Who was erased is named by pseudonym."""
        query = self.query(ErasureQuery)
        rows = visible_erasures(self.key)
        return paginated(rows.filter(state=query["state"]) if "state" in query else rows, query, represent)

    @described(
        "Erase a person",
        body=ErasureBody,
        answer=ErasureSerializer,
        status=202,
        also={200: ErasurePlanSerializer},
        errors=(Code.CONFLICT,),
        name="erase_person",
    )
    def post(self, request: Request) -> Response:
        """With `dry_run` the answer (200) is what would go, and nothing is changed. Without it (202) a worker does it: ask for it until
        `state` is `done`. It cannot be undone. 409 while a legal hold forbids it, or one for this person is under way."""
        body = self.body(ErasureBody, request)
        self._refuse_who_sees_a_part()
        account = Account.objects.get(pk=self.key.account_id)
        try:
            person = person_at(account, body["address"])
            if body["dry_run"]:
                return data(preview(account, person, body["reason"]))
            return data(represent(ask_for_erasure(account, person, body["reason"])), status=202)
        except NotErasable as error:
            raise invalid("address", str(error)) from error
        except UnderWay as known:
            fix = f"GET /v1/erasures/{known.erasure.pk} tells how far it is."
            raise ApiError(Code.CONFLICT, str(known), fix=fix) from known

    def _refuse_who_sees_a_part(self) -> None:
        if self.key.inbox_ids is not None:
            message = "This key is limited to some inboxes, and a person may be in any."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key of the whole account.")
        if self.key.mode != Mode.LIVE:
            message = "An erasure goes through live mail, too, which a test key does not touch."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a live key.")


class ErasureView(ErasureScopedView):
    """GET /erasures/{erasure_id}"""

    @described("Read how far an erasure is", answer=ErasureSerializer)
    def get(self, request: Request, erasure_id: str) -> Response:
        return data(represent(self.erasure(erasure_id)))


class ErasureCertificateView(ErasureScopedView):
    """GET /erasures/{erasure_id}/certificate"""

    @described(
        "Download the certificate of an erasure",
        answer=CertificateSerializer,
        errors=(Code.CONFLICT,),
        name="download_erasure_certificate",
    )
    def get(self, request: Request, erasure_id: str) -> Response:
        """What went and when, who asked and why, and what is not covered; signed, and verifiable without this server."""
        erasure = self.erasure(erasure_id)
        certificate = read_certificate(erasure)
        if certificate is None:
            raise no_certificate(erasure)
        return data(certificate)


def no_certificate(erasure: Erasure) -> ApiError:
    under_way = erasure.state in (Erasure.State.PLANNED, Erasure.State.RUNNING)
    fix = (
        "Ask again once its state is done." if under_way else "Its error says what came of it; ask for another erasure."
    )
    return ApiError(Code.CONFLICT, "There is a certificate once the erasure is done.", fix=fix)
