"""Model and contract side by side: both get every call, and must agree on what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from client_sdk.chain.signing import sign
from client_sdk.chain.wallet import account_from
from client_sdk.protocol.eip712 import Domain, Typed
from client_sdk.protocol.terms import Terms
from contracts.bindings import Call, ContractError, LeaseEscrow, Token, View
from contracts.codec import Artifact, load_artifact
from tests.integration.contracts.model.chain import DevChain, coins_of
from tests.integration.contracts.model.ledger import NATIVE, UNLIMITED
from tests.integration.contracts.model.model import Model, Question
from tests.integration.contracts.model.openings import Authorization, Permit
from tests.integration.contracts.model.state import Refused, State
from tests.integration.contracts.model.token_messages import sign_authorization, sign_permit

NAMES: Final = (
    *("owner", "treasury", "audit_pool", "renter", "other_renter", "provider", "other_provider"),
    *("operator", "other_operator", "arbiter", "challenger", "stranger"),
)
RENTERS: Final = ("renter", "other_renter")
PROVIDERS: Final = ("provider", "other_provider")
OPERATORS: Final = ("operator", "other_operator")

START: Final = 2_000_000_000
"""Block time of the beginning."""

UNBONDING_PERIOD_S: Final = 50
FEE_BPS: Final = 250
PURSE: Final = 10**6
"""What each account has of each token at first."""

STAKE: Final = 2_000
ALLOWANCES: Final = {"other_renter": 400, "treasury": 0, "audit_pool": 0, "stranger": 0}
"""Of the token, in its smallest unit; everybody else's is unlimited."""


class Twin:
    """The model and the contract on a development chain of its own, in the same state."""

    def __init__(self, chain: DevChain, artifact: Artifact | None = None) -> None:
        """`artifact`: of the escrow to compare with, when not the shipped one."""
        self._chain = chain
        self._artifact = artifact or load_artifact("LeaseEscrow")
        self.num_sequences = 0
        self._keys = {name: account_from(bytes([1] * 31 + [i])) for i, name in enumerate(NAMES)}
        self.names = {self.of(name): name for name in NAMES}
        self._views: dict[Question, View[Any]] = {}
        self.tallies: Counter[str] = Counter()
        """How often each call went through, and how often each error came."""

        token, self.escrow, self.model = self._deploy()
        self.token = Token(token)
        self.tokens = (token, NATIVE)
        self._begin()
        self._base = self.model.state.copy()
        self._revision = self._chain.rpc("evm_snapshot")

    def _deploy(self) -> tuple[str, LeaseEscrow, Model]:
        owner, treasury, audit_pool = map(self.of, ("owner", "treasury", "audit_pool"))
        token = self._chain.deploy(load_artifact("TestToken"), owner, START, owner)
        tokens = (token, NATIVE)
        escrow = self._chain.deploy(
            *(self._artifact, owner, START, owner, treasury, audit_pool, FEE_BPS),
            *(list(tokens), UNBONDING_PERIOD_S),
        )
        state = State(owner, treasury, audit_pool, FEE_BPS)
        domain = Domain(self._chain.chain_id, escrow)
        return token, LeaseEscrow(escrow), Model(state, domain, tokens, UNBONDING_PERIOD_S)

    def _begin(self) -> None:
        """Give everybody money; providers stake and list a machine for each token."""
        self.model.now = START
        for name in NAMES:
            account, allowance = self.of(name), ALLOWANCES.get(name, UNLIMITED)
            self._chain.rpc("anvil_setBalance", account, hex(PURSE))
            self._chain.send(self.of("owner"), self.token.mint(account, PURSE), START)
            self._chain.send(account, self.token.approve(self.escrow.address, allowance), START)
            self.model.state.allowances[self.token.address, account] = allowance
            for token in self.tokens:
                self.model.state.balances[token, account] = PURSE
        for provider, operator in zip(PROVIDERS, OPERATORS, strict=True):
            for token in self.tokens:
                self._provide(self.of(provider), token, self.of(operator))

    def _provide(self, provider: str, token: str, operator: str) -> None:
        coins = STAKE if token == NATIVE else 0
        call = self.escrow.stake(token, STAKE, coins)
        assert self.do(provider, call, self.model.stake, token, STAKE, coins)
        listing = (bytes(32), token, 9, operator, b"machine")
        call = self.escrow.list_machine(*listing)
        assert self.do(provider, call, self.model.list_machine, *listing)

    def of(self, name: str) -> str:
        """Address of an account."""
        return str(self._keys[name].address)

    @property
    def accounts(self) -> tuple[str, ...]:
        return tuple(self.names)

    @property
    def domain(self) -> Domain:
        return self.model.domain

    def sign(self, name: str, message: Typed) -> bytes:
        return sign(message, self.domain, self._keys[name])

    def sign_permit(self, name: str, permit: Permit) -> tuple[int, bytes, bytes]:
        return sign_permit(self._keys[name], self.token.address, self.domain, permit)

    def sign_authorization(
        self, name: str, terms: Terms, authorization: Authorization
    ) -> tuple[int, bytes, bytes]:
        return sign_authorization(self._keys[name], self.domain, terms, authorization)

    def restart(self) -> None:
        """Take both back to the state after the beginning."""
        assert self._chain.rpc("evm_revert", self._revision)
        self._revision = self._chain.rpc("evm_snapshot")
        self.model.state, self.model.now = self._base.copy(), START
        self.num_sequences += 1
        self.compare()

    def do(self, caller: str, call: Call, expected: Callable[..., Any], *arguments: Any) -> bool:
        """Have the account `caller` make `call`, of which the model says that it does
        `expected(caller, *arguments)`; True when it went through.
        """
        before = self.model.state.copy()
        refusal: Refused | None = None
        try:
            expected(caller, *arguments)
        except Refused as refused:
            self.model.state, refusal = before, refused
        failure = self._chain.ask(caller, call, self.model.now)
        self._compare_endings(call, refusal, failure)
        if refusal:  # the call was only asked: nothing can have changed
            self.tallies[refusal.name] += 1
            return False
        self._chain.send(caller, call, self.model.now)
        self.tallies[call.name.partition(".")[2]] += 1
        self.compare()
        return True

    def _compare_endings(
        self, call: Call, refusal: Refused | None, failure: ContractError | None
    ) -> None:
        foretold = refusal.name if refusal else "success"
        came = failure.name if failure else "success"
        assert foretold == came, (
            f"{call.name}: the model says {refusal or foretold}, not {failure or came}"
        )
        if refusal and failure:
            args = {name: failure.args.get(name) for name in refusal.arguments}
            assert args == refusal.arguments, f"{call.name}: {refusal} has other arguments: {args}"

    def compare(self) -> None:
        """Every view must answer as the model does, and the money must add up."""
        for token in self.tokens:
            held = self.model.balance(token, self.model.address)
            assert held == self.model.owed(token), "the model itself lost or made money"
        foretold = self.model.answers(self.accounts)
        found = self._chain.read({question: self._view_of(question) for question in foretold})
        differing = {
            question: {"model": answer, "contract": found[question]}
            for question, answer in foretold.items()
            if found[question] != answer
        }
        assert differing == {}, self._legible(differing)

    def _view_of(self, question: Question) -> View[Any]:
        view = self._views.get(question)
        if view is None:
            view = self._views[question] = self._new_view(*question)
        return view

    def _new_view(self, name: Any, *arguments: Any) -> View[Any]:
        if name == "balance_of":
            token, account = arguments
            return coins_of(account) if token == NATIVE else self.token.balance_of(account)
        if name == "allowance":
            return self.token.allowance(arguments[1], self.escrow.address)
        view: View[Any] = getattr(self.escrow, name)(*arguments)
        return view

    def _legible(self, differing: Any) -> str:
        text = "\n".join(f"{question}: {answers}" for question, answers in differing.items())
        for address, name in self.names.items():
            text = text.replace(address, name)
        return f"model and contract differ:\n{text}"
