"""Tests that share a costly thing run in one process: the group is in what xdist schedules by."""

import os

import pytest

pytestmark = pytest.mark.xdist_group("groups")


def test_a_group_reaches_the_scheduler(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ and request.config.getoption("loadgroup", False):
        assert request.node.nodeid.endswith("@groups")
    else:
        assert "@" not in request.node.nodeid  # one process: nothing is scheduled
