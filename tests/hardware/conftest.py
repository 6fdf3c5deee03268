"""The end of a test with a BMC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.conftest import LIMIT_S


@pytest.fixture(autouse=True)
async def ended() -> AsyncIterator[None]:
    """What a test closed says goodbye to its BMC before the next test begins."""
    yield
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=LIMIT_S)
