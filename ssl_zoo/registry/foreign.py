"""Classes of other libraries as parts: the parameters of their constructors are the options."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, create_model

from ssl_zoo.errors import UserError


def with_options_of(
    build: Callable[..., Any],
    cls: type,
    *,
    takes: Collection[str] = (),
    leave_out: Collection[str] = (),
    types: Mapping[str, Any] | None = None,
    extra: Mapping[str, tuple[Any, Any]] | None = None,
    doc: str = "",
) -> Callable[..., Any]:
    """Return a factory that calls `build`, with the constructor's parameters of a class as its options.

    What the class has in the installed version is read from its signature, so that no version has to be known.

    Args:
        build: called with the parameters in `takes` by position, and all options by name.
        cls: of another library.
        takes: positional parameters, which come from the framework.
        leave_out: parameters that are no options.
        types: types of options in place of the annotated ones.
        extra: options that the class does not have, as {name: (type, default)}.
        doc: of the part.
    """

    def factory(*args: Any, **options: Any) -> Any:
        return build(*args, **options)

    fields = {**_fields(cls, leave_out, types or {}), **(extra or {})}
    positional = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in takes]
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_empty(default), annotation=annotation)
        for name, (annotation, default) in fields.items()
    ]
    vars(factory)["__signature__"] = inspect.Signature([*positional, *named])
    factory.__annotations__ = {name: annotation for name, (annotation, _) in fields.items()}
    factory.__name__ = factory.__qualname__ = cls.__name__
    factory.__module__, factory.__doc__ = build.__module__, doc
    return factory


class _Object(BaseModel):
    """Options of an object that is an option of another one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    made_by: ClassVar[type]


def installed(module: Any, name: str, part: str) -> Any:
    """Return what a foreign module calls by a name.

    Args:
        module: the module.
        name: of the class.
        part: what a recipe calls it, for the message: `term 'lightly/NAME'`.

    Raises:
        UserError: the installed version has none.
    """
    found = getattr(module, name, None)
    if found is None:
        package = module.__name__.partition(".")[0]
        raise UserError(f"{part}: the installed {package} has none; pip install --upgrade {package}.")
    return found


def construct(cls: type, options: Mapping[str, Any]) -> Any:
    """Return an instance of a class for its options, as `with_options_of` hands them on."""
    made = {name: _made(value) if isinstance(value, _Object) else value for name, value in options.items()}
    return cls(**made)


def _made(value: _Object) -> Any:
    return construct(value.made_by, {name: getattr(value, name) for name in type(value).model_fields})


def has(cls: type, parameter: str) -> bool:
    """Return whether the constructor of a class has a parameter."""
    return parameter in inspect.signature(cls).parameters


def _empty(default: Any) -> Any:
    return inspect.Parameter.empty if default is ... else default


def _fields(cls: type, leave_out: Collection[str], types: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    found = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if name in leave_out or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = types.get(name) or _described(hints.get(name, Any), cls)
        found[name] = (annotation, ... if parameter.default is parameter.empty else parameter.default)
    return found


def _described(annotation: Any, owner: type) -> Any:
    """Return the type of an option; where it is a class of the same library, a mapping of that class's options."""
    library = owner.__module__.partition(".")[0]
    for each in (annotation, *typing.get_args(annotation)):
        if inspect.isclass(each) and each.__module__.partition(".")[0] == library:
            model = create_model(each.__name__, __base__=_Object, **_fields(each, (), {}))  # type: ignore[call-overload]
            model.made_by = each
            return model | None
    return annotation
