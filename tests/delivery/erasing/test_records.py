"""What is said of the tables that an erasure does not go over"""

import re
from pkgutil import resolve_name

import pytest
from django.apps import apps

from delivery.erasing.records import KEPT

pytestmark = pytest.mark.one_profile


@pytest.mark.parametrize("label", KEPT)
def test_it_names_what_there_is(label: str) -> None:
    columns, why = KEPT[label]
    assert set(columns or ()) <= {field.name for field in apps.get_model(label)._meta.get_fields()}
    for name in re.findall(r"\w+(?:\.\w+)+", why):
        assert resolve_name(name)
