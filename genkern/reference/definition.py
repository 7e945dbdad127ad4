"""The form of a definition, which serves as an operation in plain torch and as its fake kernel."""

from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any, Generic, ParamSpec

Arguments = ParamSpec("Arguments")


class Definition(Generic[Arguments]):
    """A function in plain torch that can be asked what comes out before it computes.

    It decorates a generator of two things: behind the checks of the arguments the `Result` of each output, then their
    values.
    """

    def __init__(self, steps: Callable[Arguments, Iterator[Any]]) -> None:
        self._steps = steps
        update_wrapper(self, steps)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
        """The values."""
        _, values = self._steps(*args, **kwargs)
        return values

    def results(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
        """The `Result` of each output, a tuple if there are several. Nothing is computed."""
        return next(self._steps(*args, **kwargs))
