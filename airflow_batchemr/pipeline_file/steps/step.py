"""The model of an EMR step: its common keys, and the keys of all kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import Form, Model
from airflow_batchemr.pipeline_file.models.spark import OnFailure  # noqa: TC001 - pydantic reads it
from airflow_batchemr.pipeline_file.steps.kinds import KINDS

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.steps.base import StepKind

_KEYS = [kind.key() for kind in KINDS]


class _Named(Model):
    name: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="Name in the EMR console, up to 256 characters. Default: derived from what it runs"
    )


def _fields(kind: type[StepKind]) -> dict[str, Any]:
    """The fields of a kind as fields of a step, where the one that selects the kind is optional."""
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in kind.model_fields.items()}
    name = kind.selector()
    field = kind.model_fields[name]
    annotation: Any = field.annotation
    for metadata in field.metadata:
        annotation = Annotated[annotation, metadata]
    return fields | {name: (annotation | None, Field(None, alias=field.alias, description=field.description))}


if TYPE_CHECKING:
    _Keys = _Named
else:
    _Keys = create_model(
        "_Keys", __base__=_Named, **{name: field for kind in KINDS for name, field in _fields(kind).items()}
    )


class Step(_Keys):  # noqa: D101 - set below, because the JSON Schema describes a step with it
    __doc__ = f"An EMR step: exactly one of {', '.join(f'`{key}`' for key in _KEYS[:-1])} and `{_KEYS[-1]}`."

    on_failure: OnFailure | None = Field(
        None, description="What EMR does if the step fails (EMR `ActionOnFailure`). Default: that of the job"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Step:
        kinds = self._kinds()
        if len(kinds) != 1:
            given = " and ".join(kind.key() for kind in kinds) or "none"
            raise Refusal(f"expected exactly one of {', '.join(_KEYS)}, not {given}")
        for kind in KINDS:
            for name, field in kind.model_fields.items():
                if kind not in kinds and getattr(self, name):
                    key = field.alias or name
                    raise Refusal(f"`{key}` requires `{kind.key()}`", at=[key])
        return self

    def _kinds(self) -> list[type[StepKind]]:
        return [kind for kind in KINDS if getattr(self, kind.selector()) is not None]

    @property
    def kind(self) -> StepKind:
        """What the step does."""
        (kind,) = self._kinds()
        values = {field.alias or name: getattr(self, name) for name, field in kind.model_fields.items()}
        return kind.model_construct(**values)  # the values have been validated


_SHORT_FORMS = {type_: (kind.key(), schema) for kind in KINDS for type_, schema in kind.short_forms.items()}

#: The short forms of a list of steps: a single step, and steps without a key. A list on its own is the list of steps.
STEPS = Form(
    tuple(schema for type_, (_, schema) in _SHORT_FORMS.items() if type_ is not list),
    single=True,
    items=tuple(schema for _, schema in _SHORT_FORMS.values()),
)


def as_steps(value: object) -> object:
    """Convert a single step to a list, and steps in a short form to mappings.

    Raises:
        Refusal: the list is empty.
    """
    items = value if isinstance(value, list) else [value]
    if not items:
        raise Refusal("the list of steps is empty")
    return [{_SHORT_FORMS[type(item)][0]: item} if type(item) in _SHORT_FORMS else item for item in items]
