"""Accounts: a store in memory, and the JSON routes on top of it.

Must not know: pages. Amounts are integer cents everywhere, never floating point.
"""

import json
from dataclasses import asdict, dataclass

from demo_app.handler import DemoHandler, RequestRefusedError, parse_number
from demo_app.identity import identity

MAX_ACCOUNT_ID = 2**31 - 1

MAX_OWNER_CHARACTERS = 100

MAX_BALANCE_CENTS = 10**15
"""Either sign. Below 2**53, so that JavaScript reads it without rounding (ECMA-262, Number)."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one user has."""

    account_id: int
    owner: str
    balance_cents: int


@dataclass(frozen=True, slots=True)
class NewAccount:
    """A checked request for an account."""

    owner: str
    balance_cents: int


EXAMPLES = (
    NewAccount(owner="Ada", balance_cents=1_250_00),
    NewAccount(owner="Grace", balance_cents=98_45),
    NewAccount(owner="Edsger", balance_cents=-12_00),
)


class AccountStore:
    """The accounts of one worker, in its memory; a new worker starts with the examples again.

    Confessed limit: it only grows. A service that lives would keep accounts in a database.
    """

    def __init__(self) -> None:
        """Start with the examples, numbered from 1."""
        self._accounts: dict[int, Account] = {}  # account_id -> Account
        for example in EXAMPLES:
            self.add(example)

    def all(self) -> list[Account]:
        """Return every account, oldest first."""
        return list(self._accounts.values())

    def get(self, account_id: int) -> Account | None:
        """Return one account, or None if this worker does not know it."""
        return self._accounts.get(account_id)

    def add(self, new: NewAccount) -> Account:
        """Keep *new* under the next free number."""
        account = Account(len(self._accounts) + 1, new.owner, new.balance_cents)
        self._accounts[account.account_id] = account
        return account


def parse_new_account(body: bytes) -> NewAccount:
    """Read ``{"owner": str, "balance_cents": int}``; balance_cents may be left out and is then 0.

    Raises:
        RequestRefusedError: 400, with the part that is wrong and what is allowed.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"body is not JSON ({error}); send an object with owner and balance_cents"
        raise RequestRefusedError(400, message) from error
    if not isinstance(fields, dict):
        message = "body is not a JSON object; send an object with owner and balance_cents"
        raise RequestRefusedError(400, message)
    if unknown := sorted(fields.keys() - {"owner", "balance_cents"}):
        message = f"unknown fields {', '.join(unknown)}: only owner and balance_cents are allowed"
        raise RequestRefusedError(400, message)

    owner = fields.get("owner")
    if not isinstance(owner, str) or not 1 <= len(owner.strip()) <= MAX_OWNER_CHARACTERS:
        message = f"owner: must be a text of 1 to {MAX_OWNER_CHARACTERS} characters"
        raise RequestRefusedError(400, message)
    balance_cents = fields.get("balance_cents", 0)
    # bool is an int to Python, but true is not an amount.
    if type(balance_cents) is not int or abs(balance_cents) > MAX_BALANCE_CENTS:
        message = (
            f"balance_cents: must be an integer from {-MAX_BALANCE_CENTS} to {MAX_BALANCE_CENTS}"
        )
        raise RequestRefusedError(400, message)
    return NewAccount(owner.strip(), balance_cents)


class StoreHandler(DemoHandler):
    """A handler that is given the store of its application."""

    def initialize(self, store: AccountStore) -> None:
        """Take the store from the route."""
        self.store = store


class AccountsHandler(StoreHandler):
    """GET and POST /api/accounts."""

    def get(self) -> None:
        """Answer all accounts of this worker, and which worker that is.

        JSON shape: ``{"accounts": [account, …], "pid": int, "fork_id": int | null}``.
        """
        accounts = [asdict(account) for account in self.store.all()]
        self.write({"accounts": accounts, **identity()})

    def post(self) -> None:
        """Add one account: 201, its JSON, and its path in Location."""
        account = self.store.add(parse_new_account(self.request.body))
        self.set_status(201)
        self.set_header("Location", f"/api/accounts/{account.account_id}")
        self.write(asdict(account))


class AccountHandler(StoreHandler):
    """GET /api/accounts/<account_id>."""

    def get(self, account_id_text: str) -> None:
        """Answer one account, ``{"account_id": int, "owner": str, "balance_cents": int}``."""
        account_id = parse_number(
            account_id_text, int, name="account_id", lowest=1, highest=MAX_ACCOUNT_ID
        )
        account = self.store.get(account_id)
        if account is None:
            here = identity()
            message = (
                f"account {account_id} is unknown to this worker "
                f"(pid {here['pid']}, fork_id {here['fork_id']}); each worker has its own memory"
            )
            raise RequestRefusedError(404, message)
        self.write(asdict(account))
