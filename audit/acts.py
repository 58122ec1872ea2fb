"""The closed vocabulary of the trail: acts, and saves of the rows whose saves are in it."""

from auditlog.registry import auditlog

from audit.models import name_of_save
from audit.record import Act


def names_of_acts() -> list[str]:
    """All that an entry can be of. The applications have to be loaded."""
    models = [str(model._meta.model_name) for model in auditlog.get_models()]
    saves = {name_of_save(model, verb) for model in models for verb in ("created", "updated", "deleted")}
    return sorted({act.value for act in Act} | saves)
