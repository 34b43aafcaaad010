"""A market in memory, behind the worker's real HTTP client.

Implements the part of ``/v1`` that workers use, with the same state machines and refusals. It
believes every login: who may see what is tested where it is decided, in the marketplace.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from blake3 import blake3

from client_sdk.protocol.canonical import ZERO_HASH, to_hex
from client_sdk.protocol.draw import draw_audits
from client_sdk.protocol.ids import IdKind, new_id
from contracts.bindings import LeaseStatus, LeaseView
from tests.fakes.chain import FakeChain
from worker_agent.history import LeaseHistory, history_of
from worker_agent.market import Market

Json = dict[str, Any]


@dataclass
class FakeMarket:
    """One market node; tests reach into its dictionaries."""

    chain: FakeChain
    url: str = "http://market.test"
    audit_samples: int = 1
    away: bool = False
    artifacts: dict[str, bytes] = field(default_factory=dict)
    offers: dict[str, Json] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    orders: dict[str, Json] = field(default_factory=dict)
    auditors: dict[str, Json] = field(default_factory=dict)
    audits: dict[str, Json] = field(default_factory=dict)
    frames: dict[str, list[Json]] = field(default_factory=dict)
    progress: dict[str, list[Json]] = field(default_factory=dict)
    listed: dict[str, list[Json]] = field(default_factory=dict)
    endings: dict[str, Json] = field(default_factory=dict)
    vouchers: dict[str, Json] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    _drawn: set[bytes] = field(default_factory=set)

    def connect(self, address: str) -> Market:
        """The worker's client for this market, logged in as an account."""
        return Market(
            self.url,
            lambda facts, nonce: (address, "0x"),
            transport=httpx.MockTransport(self._answer),
        )

    def place_order(self, order: Json, signature: str, artifacts: Json, sealed_key: bytes) -> str:
        """A renter's order; returns its id."""
        order_id = new_id(IdKind.ORDER)
        self.orders[order_id] = {
            "order_id": order_id,
            "job_id": new_id(IdKind.JOB),
            "state": "pending",
            "order": order,
            "signature": signature,
            "artifacts": artifacts,
            "sealed_key": base64.b64encode(sealed_key).decode(),
            "audit": {"mode": "market"},
        }
        return order_id

    def put(self, ciphertext: bytes) -> str:
        """Store a ciphertext; returns its address."""
        address = blake3(ciphertext).hexdigest()
        self.artifacts[address] = ciphertext
        return address

    def dispatch(self) -> None:
        """What the market's tasks do: draw audits after commits, start arbitrations."""
        for lease_id, lease in self._leases():
            events = self.chain.events(0, self.chain.head(), topic=lease_id)
            history = history_of(lease_id, events)
            self._draw(lease_id, history)
            if lease.status is LeaseStatus.DISPUTED:
                self._arbitrate(lease_id, history)

    def _leases(self) -> list[tuple[bytes, LeaseView]]:
        return list(self.chain.state.leases.items())

    def _draw(self, lease_id: bytes, history: LeaseHistory) -> None:
        pool = sorted(a for a, row in self.auditors.items() if row["role"] == "auditor")
        for commit in history.commits:
            beacon = self.chain.beacon(commit.block_number)
            if beacon is None or commit.root in self._drawn or history.terms.metered:
                continue
            self._drawn.add(commit.root)
            terms = history.terms
            draws = draw_audits(
                beacon,
                lease_id,
                commit.root,
                commit.first_segment,
                commit.up_to,
                pool,
                self.audit_samples,
                exclude=(terms.provider, terms.operator, terms.renter),
            )
            for draw in draws:
                self._add_audit("audit", lease_id, draw.segment, draw.auditor, commit, pool)

    def _arbitrate(self, lease_id: bytes, history: LeaseHistory) -> None:
        known = {
            (row["lease_id"], row["segment"])
            for row in self.audits.values()
            if row["kind"] == "arbitration"
        }
        for segment in sorted(history.disputed):
            if ("0x" + lease_id.hex(), segment) not in known:
                commit = next(c for c in history.commits if c.first_segment <= segment < c.up_to)
                arbiter = history.terms.arbiter
                self._add_audit("arbitration", lease_id, segment, arbiter, commit, None)

    def _add_audit(
        self, kind: str, lease_id: bytes, segment: int, auditor: str, commit: Any, pool: Any
    ) -> None:
        row = self.auditors.get(auditor)
        if row is None:
            return
        audit_id = new_id(IdKind.AUDIT)
        self.audits[audit_id] = {
            "audit_id": audit_id,
            "kind": kind,
            "state": "assigned",
            "lease_id": "0x" + lease_id.hex(),
            "segment": segment,
            "auditor": auditor,
            "auditor_key": row["key"],
            "auditor_key_signature": row["signature"],
            "commit": {"up_to": commit.up_to, "root": "0x" + commit.root.hex()},
            "draw": {} if pool is None else {"auditors": pool},
            "inputs": None,
            "reported": False,
            "report": None,
            "opening": None,
            "outcome": None,
        }

    # HTTP

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away", request=request)
        path = request.url.path
        self.requests.append(f"{request.method} {path}")
        token = request.headers.get("authorization", "").removeprefix("Bearer account-")
        body = {}
        if request.method == "POST":
            body = json.loads(request.content or b"{}")
        for method, pattern, handler in self._routes():
            match = re.fullmatch(pattern, path)
            if match and method == request.method:
                return handler(token, *match.groups(), body=body, request=request)
        return _refuse(404, "not_found")

    def _routes(self) -> list[tuple[str, str, Callable[..., httpx.Response]]]:
        lease = r"/v1/leases/0x([0-9a-f]{64})"
        return [
            ("GET", r"/v1/market", self._market),
            ("POST", r"/v1/auth/nonce", lambda *_, **__: _ok({"nonce": "n0nce123"})),
            ("POST", r"/v1/auth/login", self._login),
            ("POST", r"/v1/offers", self._post_offer),
            ("DELETE", r"/v1/offers/(.+)", self._delete_offer),
            ("PUT", r"/v1/artifacts/(.+)", self._put_artifact),
            ("GET", r"/v1/artifacts/(.+)", self._get_artifact),
            ("HEAD", r"/v1/artifacts/(.+)", self._head_artifact),
            ("GET", r"/v1/worker/orders", self._worker_orders),
            ("POST", r"/v1/orders/(.+)/claim", self._claim),
            ("POST", r"/v1/orders/(.+)/terms", self._terms),
            ("POST", r"/v1/orders/(.+)/decline", self._decline),
            ("POST", r"/v1/auditors", self._register),
            ("GET", r"/v1/audits", self._audits),
            ("POST", r"/v1/audits/(.+)/(inputs|report|opening|outcome)", self._exchange),
            ("GET", lease, self._lease),
            ("POST", lease + "/frames", self._frames),
            ("POST", lease + "/progress", self._progress),
            ("POST", lease + "/artifacts", self._announce),
            ("POST", lease + "/ending", self._ending),
            ("GET", lease + "/vouchers/latest", self._voucher),
        ]

    def _market(self, *_: Any, **__: Any) -> httpx.Response:
        policy = {"audit_samples": self.audit_samples}
        return _ok({"chain_id": 31337, "escrow": self.chain.escrow.address, "policy": policy})

    def _login(self, _token: str, *, body: Json, request: httpx.Request) -> httpx.Response:
        return _ok({"token": f"account-{body['message']}"})

    def _post_offer(self, _token: str, *, body: Json, request: httpx.Request) -> httpx.Response:
        from client_sdk.protocol.offers import Offer

        offer = Offer.from_json(body["offer"])
        digest = "0x" + offer.offer_id(self.chain.domain).hex()
        if digest in self.withdrawn:
            return _refuse(409, "offer_ended")
        if not self.chain.view(self.chain.escrow.listing_of(offer.listing_id)).active:
            return _refuse(400, "offer_refused")
        self.offers[digest] = body
        return _ok({"digest": digest})

    def _delete_offer(self, _token: str, digest: str, **_: Any) -> httpx.Response:
        if self.offers.pop(digest, None) is not None:
            self.withdrawn.add(digest)
        if digest not in self.withdrawn:
            return _refuse(404, "offer_unknown")
        return httpx.Response(204)

    def _put_artifact(
        self, _token: str, address: str, *, body: Json, request: httpx.Request
    ) -> httpx.Response:
        content = request.read()
        if blake3(content).hexdigest() != address:
            return _refuse(422, "hash_differs")
        self.artifacts[address] = content
        return _ok({"hash": address, "size": len(content)})

    def _get_artifact(self, _token: str, address: str, **_: Any) -> httpx.Response:
        content = self.artifacts.get(address)
        return (
            _refuse(404, "artifact_unknown")
            if content is None
            else httpx.Response(200, content=content)
        )

    def _head_artifact(self, _token: str, address: str, **_: Any) -> httpx.Response:
        return httpx.Response(200 if address in self.artifacts else 404)

    def _worker_orders(self, _token: str, *, body: Json, request: httpx.Request) -> httpx.Response:
        state = request.url.params.get("state")
        listing = request.url.params.get("listing_id")
        found = [
            view
            for view in self.orders.values()
            if view["state"] == state
            and view.get("order", {}).get("listing_id", listing) in {listing, to_hex(ZERO_HASH)}
        ]
        return _ok({"orders": found})

    def _claim(self, token: str, order_id: str, **_: Any) -> httpx.Response:
        view = self.orders[order_id]
        if view["state"] not in {"pending", "claimed"}:
            return _refuse(409, "order_claimed")
        view["state"] = "claimed"
        return _ok({**view, "lock_token": "lock"})

    def _terms(
        self, _token: str, order_id: str, *, body: Json, request: httpx.Request
    ) -> httpx.Response:
        view = self.orders[order_id]
        view.update(state="terms_signed", terms=body["terms"], terms_signature=body["signature"])
        return _ok(view)

    def _decline(
        self, _token: str, order_id: str, *, body: Json, request: httpx.Request
    ) -> httpx.Response:
        self.orders[order_id].update(state="declined", decline=body)
        return _ok({})

    def _register(self, token: str, *, body: Json, request: httpx.Request) -> httpx.Response:
        self.auditors[token] = {"address": token, **body}
        return _ok({})

    def _audits(self, token: str, *, body: Json, request: httpx.Request) -> httpx.Response:
        params = request.url.params
        role, states, limit = (
            params.get("role"),
            params.get_list("state"),
            int(params.get("limit", "200")),
        )
        found = {
            audit_id: self._shown(row, role or "")
            for audit_id, row in sorted(self.audits.items())
            if (role == "operator" or row["auditor"] == token)
            and (not states or row["state"] in states)
            and audit_id > params.get("after", "")
        }
        page = list(found)[:limit]
        last = page[-1] if len(page) == limit else None
        return _ok({"audits": [found[audit_id] for audit_id in page], "next": last})

    @staticmethod
    def _shown(row: Json, role: str) -> Json:
        hidden = {"report": None} if role == "operator" and not row["opening"] else {}
        return {**row, **hidden}

    def _exchange(
        self, _token: str, audit_id: str, what: str, *, body: Json, request: httpx.Request
    ) -> httpx.Response:
        row = self.audits[audit_id]
        needed = {"inputs": "assigned", "report": "inputs_ready", "opening": "reported"}
        if what in needed and row["state"] != needed[what]:
            return _refuse(409, f"audit_not_{needed[what]}")
        if what == "inputs":
            row.update(state="inputs_ready", inputs=body)
        elif what == "report":
            row.update(state="reported", reported=True, report=body)
        elif what == "opening":
            row.update(state="opened", opening=body["opening"])
        else:
            agreed = body["result"] == "agreed"
            row.update(state="agreed" if agreed else "mismatch", outcome=body)
        return _ok({})

    def _lease(self, _token: str, lease_id: str, **_: Any) -> httpx.Response:
        return _ok({"lease_id": lease_id, "opened": {"block_number": 0}})

    def _frames(
        self, _token: str, lease_id: str, *, body: Json, request: httpx.Request
    ) -> httpx.Response:
        frames = [{**frame, "attempt": body["attempt"]} for frame in body["frames"]]
        self.frames.setdefault(lease_id, []).extend(frames)
        return _ok({"accepted": len(frames)})

    def _progress(
        self, _token: str, lease_id: str, *, body: Json, request: httpx.Request
    ) -> httpx.Response:
        self.progress.setdefault(lease_id, []).append(body)
        return _ok({})

    def _announce(
        self, _token: str, lease_id: str, *, body: Json, request: httpx.Request
    ) -> httpx.Response:
        for item in body["artifacts"]:
            if item["hash"] not in self.artifacts:
                return _refuse(422, "artifact_missing")
            self.listed.setdefault(lease_id, []).append(item)
        return _ok({})

    def _ending(
        self, _token: str, lease_id: str, *, body: Json, request: httpx.Request
    ) -> httpx.Response:
        self.endings.setdefault(lease_id, body)
        return _ok({})

    def _voucher(self, _token: str, lease_id: str, **_: Any) -> httpx.Response:
        found = self.vouchers.get(lease_id)
        return _ok(found) if found else _refuse(404, "voucher_unknown")


def _ok(body: Json) -> httpx.Response:
    return httpx.Response(200, json=body)


def _refuse(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": code}})
