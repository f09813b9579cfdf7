"""--place NAME: only tests that run operators in a place, and there alone (tests/ops/conftest.py lists places).

Given several times, in each of these places."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--place", action="append", help="run the operators' tests in this place alone, such as cuda")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (wanted := config.getoption("--place")) is None:
        return
    for item in list(items):
        parameters = getattr(item, "callspec", None) and item.callspec.params  # type: ignore[attr-defined]
        if not any(place in (parameters or {}).values() for place in wanted):
            items.remove(item)
