"""--place NAME: only tests that run operators in a place, and there alone (tests/ops/conftest.py lists places)."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--place", help="run the operators' tests in this place alone, such as cuda")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (wanted := config.getoption("--place")) is None:
        return
    for item in list(items):
        parameters = getattr(item, "callspec", None) and item.callspec.params  # type: ignore[attr-defined]
        if wanted not in (parameters or {}).values():
            items.remove(item)
