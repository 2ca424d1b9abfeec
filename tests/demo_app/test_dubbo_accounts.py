"""Accounts that a Dubbo service keeps."""

import json
import os

import pytest
from tornado.httpclient import AsyncHTTPClient

from tornado_multi.testing.dubbo import DubboProvider, Faults


@pytest.mark.usefixtures("account_provider")
@pytest.mark.gen_test
async def test_an_account_is_asked_for(http_client: AsyncHTTPClient, base_url: str) -> None:
    """Numbers beyond those of JavaScript as well: a Java long is one."""
    for number in (0, 7, 2**63 - 1):
        response = await http_client.fetch(f"{base_url}/account/{number}")
        answer = json.loads(response.body)

        assert number == answer["account"]["id"]
        assert f"Owner {number}" == answer["account"]["name"]
        assert {"pid": os.getpid(), "fork_id": None}.items() <= answer.items()


@pytest.mark.usefixtures("account_provider")
@pytest.mark.parametrize("wrong", ["x", "-1", str(2**63), "1.5"])
@pytest.mark.gen_test
async def test_a_number_that_is_no_account_is_refused(
    http_client: AsyncHTTPClient, base_url: str, wrong: str
) -> None:
    """Before the service is asked."""
    response = await http_client.fetch(f"{base_url}/account/{wrong}", raise_error=False)

    assert 400 == response.code
    assert "account_id" in json.loads(response.body)["error"]


@pytest.mark.gen_test
async def test_a_service_that_fails_is_said(
    http_client: AsyncHTTPClient, base_url: str, account_provider: DubboProvider
) -> None:
    """502: it was asked and gave no answer. Not: 200 with something else."""
    account_provider.faults = Faults(cut_after_bytes=7)
    response = await http_client.fetch(f"{base_url}/account/7", raise_error=False)

    assert 502 == response.code
    assert "OutcomeUnknownError" in json.loads(response.body)["error"]
