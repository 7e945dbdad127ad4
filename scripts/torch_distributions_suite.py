"""PyTorch's own tests of its distributions, with genkern's in place of those of the same name.

    python scripts/torch_distributions_suite.py PYTORCH/test/distributions/test_distributions.py [PYTEST ARGUMENTS]

PYTORCH is a checkout or a source archive: wheels have no tests. The suite asks for validation, which is the default of
torch's distributions and not of genkern's.
"""

from __future__ import annotations

import sys

import pytest

from genkern import distributions


class Substitution:
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for name in distributions.__all__:
            replacement = getattr(distributions, name)
            replacement._validate_args = True
            for module in {item.module for item in items if isinstance(item, pytest.Function)}:
                if hasattr(module, name):
                    setattr(module, name, replacement)


if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    sys.exit(pytest.main([path, "-q", "-p", "no:cacheprovider", "-c", "/dev/null", *arguments], [Substitution()]))
