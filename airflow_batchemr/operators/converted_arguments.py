"""Values of a mapped task that come from another task: Airflow does not render templates in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


class ConvertedArguments(BaseOperator):
    """An operator that stores some of its arguments in another form, such as text split into a list.

    Airflow renders a mapped argument only if the Dag's author wrote it: the output of another task is data, in which
    `{{ … }}` must not be executed. It recognizes that output by the identity of the object, so that a copy would be
    rendered.
    """

    def convert(self, name: str, given: Any, value: Any) -> None:
        """Store the converted form of an argument.

        Args:
            name: Name of the argument and of the attribute.
            given: Argument as Airflow passed it.
            value: What to store.
        """
        setattr(self, name, value)
        if given is not None and given is not value:
            # Both are kept, because an identity is unique only among objects that exist
            self.__dict__.setdefault("_converted", {})[name] = (given, value)

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as Airflow does, except for converted output of another task."""
        for given, value in self.__dict__.get("_converted", {}).values():
            if value is content and id(given) in (seen_oids or ()):
                return content
        return super().render_template(content, context, jinja_env, seen_oids)
