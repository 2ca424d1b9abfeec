"""The accounts: reading a request, and the three JSON routes."""

import json
import os

import pytest
from tornado.httpclient import AsyncHTTPClient

from demo_app.accounts import (
    MAX_ACCOUNT_ID,
    MAX_BALANCE_CENTS,
    MAX_OWNER_CHARACTERS,
    NewAccount,
    parse_new_account,
)
from demo_app.handler import RequestRefusedError


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"owner": "Ada", "balance_cents": 5}', NewAccount("Ada", 5)),
        (b'{"owner": " Ada "}', NewAccount("Ada", 0)),
        (b'{"owner": "Ada", "balance_cents": -7}', NewAccount("Ada", -7)),
        ('{"owner": "Zoë"}'.encode(), NewAccount("Zoë", 0)),
        (
            json.dumps({"owner": "x" * MAX_OWNER_CHARACTERS}).encode(),
            NewAccount("x" * MAX_OWNER_CHARACTERS, 0),
        ),
        (
            json.dumps({"owner": "Ada", "balance_cents": MAX_BALANCE_CENTS}).encode(),
            NewAccount("Ada", MAX_BALANCE_CENTS),
        ),
    ],
)
def test_a_good_request_is_read(body: bytes, expected: NewAccount) -> None:
    """The owner is stripped, the balance is 0 if left out, and both bounds are allowed."""
    assert expected == parse_new_account(body)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "owner: must be"),
        (b'{"owner": 1}', "owner: must be"),
        (b'{"owner": "  "}', "owner: must be"),
        (json.dumps({"owner": "x" * (MAX_OWNER_CHARACTERS + 1)}).encode(), "owner: must be"),
        (b'{"owner": "Ada", "balance_cents": "5"}', "balance_cents: must be"),
        (b'{"owner": "Ada", "balance_cents": 5.5}', "balance_cents: must be"),
        (b'{"owner": "Ada", "balance_cents": true}', "balance_cents: must be"),
        (b'{"owner": "Ada", "balance_cents": null}', "balance_cents: must be"),
        (b'{"owner": "Ada", "balance_cents": 1000000000000001}', "balance_cents: must be"),
        (b'{"owner": "Ada", "balance_cents": -1000000000000001}', "balance_cents: must be"),
        (b'{"owner": "Ada", "iban": "", "bic": ""}', "unknown fields bic, iban"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(body: bytes, complaint: str) -> None:
    """What is not an owner with integer cents is a 400 that names the wrong part."""
    with pytest.raises(RequestRefusedError) as refusal:
        parse_new_account(body)

    assert 400 == refusal.value.status_code
    assert complaint in refusal.value.message


@pytest.mark.gen_test
async def test_all_accounts_are_listed_with_the_worker(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """The list holds the examples in order, and says which process holds them."""
    response = await http_client.fetch(f"{base_url}/api/accounts")

    answer = json.loads(response.body)

    assert "application/json; charset=UTF-8" == response.headers["Content-Type"]
    assert ["Ada", "Grace", "Edsger"] == [account["owner"] for account in answer["accounts"]]
    assert (os.getpid(), None) == (answer["pid"], answer["fork_id"])


@pytest.mark.gen_test
async def test_one_account_is_told_in_cents(http_client: AsyncHTTPClient, base_url: str) -> None:
    """An account is its number, its owner, and an integer amount."""
    response = await http_client.fetch(f"{base_url}/api/accounts/1")

    expected = {"account_id": 1, "owner": "Ada", "balance_cents": 125000}

    assert expected == json.loads(response.body)


@pytest.mark.gen_test
async def test_a_posted_account_can_be_read_again(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """201 comes with the account and with the path under which it stays."""
    body = json.dumps({"owner": "Barbara", "balance_cents": 500})
    posted = await http_client.fetch(f"{base_url}/api/accounts", method="POST", body=body)

    read = await http_client.fetch(base_url + posted.headers["Location"])

    assert 201 == posted.code
    assert {"account_id": 4, "owner": "Barbara", "balance_cents": 500} == json.loads(posted.body)
    assert posted.body == read.body


@pytest.mark.gen_test
async def test_a_refused_post_adds_nothing(http_client: AsyncHTTPClient, base_url: str) -> None:
    """A 400 is JSON with the reason, and the accounts stay as they were."""
    refused = await http_client.fetch(
        f"{base_url}/api/accounts", method="POST", body="{", raise_error=False
    )
    listed = await http_client.fetch(f"{base_url}/api/accounts")

    answer = json.loads(refused.body)

    assert (400, 400) == (refused.code, answer["status"])
    assert "body is not JSON" in answer["error"]
    assert 3 == len(json.loads(listed.body)["accounts"])


@pytest.mark.gen_test
async def test_an_unknown_account_is_404_and_names_the_worker(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """The message says whose memory was asked, since another worker may know the account."""
    response = await http_client.fetch(f"{base_url}/api/accounts/99", raise_error=False)

    answer = json.loads(response.body)

    assert (404, 404) == (response.code, answer["status"])
    assert f"account 99 is unknown to this worker (pid {os.getpid()}," in answer["error"]


@pytest.mark.parametrize(
    "account_id", ["abc", "0", "-1", "1.5", str(MAX_ACCOUNT_ID + 1), "9" * 5000]
)
@pytest.mark.gen_test
async def test_what_is_no_account_number_is_400(
    http_client: AsyncHTTPClient, base_url: str, account_id: str
) -> None:
    """A number that no account can have is a wrong request, not a missing account."""
    response = await http_client.fetch(f"{base_url}/api/accounts/{account_id}", raise_error=False)

    answer = json.loads(response.body)

    assert 400 == response.code
    assert f"must be an integer from 1 to {MAX_ACCOUNT_ID}" in answer["error"]


@pytest.mark.gen_test
async def test_a_method_that_is_not_there_is_405_in_json(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """Tornado's own refusals are JSON below /api, too."""
    response = await http_client.fetch(
        f"{base_url}/api/accounts", method="DELETE", raise_error=False
    )

    assert {"status": 405, "error": "Method Not Allowed"} == json.loads(response.body)
