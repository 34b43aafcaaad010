"""Who may see what: every route on an object, as its owner, another tenant, and anonymous."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from client_sdk.protocol.states import AuditState
from marketplace.audits import assignments as audits
from marketplace.clock import now
from marketplace.outbox.kinds import RELAY_STOP
from marketplace.relays import service as relays
from marketplace.relays.service import Asked
from tests.support.market import (
    AUDITOR,
    OPERATOR,
    OTHER,
    PROVIDER,
    RENTER,
    STRANGER,
    Rented,
    World,
    hex32,
    rent,
)

OBJECT_ROUTES = {
    ("GET", "/orders/{order_id}"),
    ("DELETE", "/orders/{order_id}"),
    ("POST", "/orders/{order_id}/claim"),
    ("POST", "/orders/{order_id}/terms"),
    ("POST", "/orders/{order_id}/decline"),
    ("GET", "/jobs/{job_id}"),
    ("GET", "/jobs/{job_id}/logs"),
    ("GET", "/jobs/{job_id}/artifacts"),
    ("GET", "/jobs/{job_id}/receipt"),
    ("POST", "/leases/{lease_id}/progress"),
    ("POST", "/leases/{lease_id}/frames"),
    ("POST", "/leases/{lease_id}/artifacts"),
    ("POST", "/leases/{lease_id}/ending"),
    ("POST", "/leases/{lease_id}/vouchers"),
    ("GET", "/leases/{lease_id}/vouchers/latest"),
    ("GET", "/artifacts/{digest}"),
    ("HEAD", "/artifacts/{digest}"),
    ("GET", "/audits/{audit_id}"),
    ("POST", "/audits/{audit_id}/inputs"),
    ("POST", "/audits/{audit_id}/report"),
    ("POST", "/audits/{audit_id}/opening"),
    ("POST", "/audits/{audit_id}/outcome"),
    ("DELETE", "/offers/{digest}"),
    ("GET", "/relays/{request_id}"),
}
"""Routes on an object that is not for everybody."""
PUBLIC_ROUTES = {
    ("GET", "/listings/{listing_id}"),
    ("GET", "/offers/{digest}"),
    ("GET", "/leases/{lease_id}"),
    ("GET", "/faucet/{request_id}"),
    ("PUT", "/artifacts/{digest}"),  # stores under the caller's own account
}


async def _audit(world: World, rented: Rented) -> str:
    await world.apply(
        world.event(
            "Committed",
            lease_id=rented.lease_id,
            up_to=5,
            trace_root=hex32(7),
            root=hex32(8),
        )
    )
    await world.register_auditor(AUDITOR)
    async with world.market.database.writing() as session:
        place = (world.block, world.log_index)
        drawn = await audits.draw(
            session, world.market, place, hex32(world.block), bytes(32), now()
        )
    assert drawn == 1
    found = (await world.request(AUDITOR, "GET", "/audits")).json()["audits"]
    assert [a["state"] for a in found] == [AuditState.ASSIGNED]
    return str(found[0]["audit_id"])


async def _objects(world: World) -> dict[str, str]:
    rented = await rent(world)
    order = (await world.request(OPERATOR, "POST", f"/orders/{rented.order_id}/claim")).json()
    assert order["error"]["code"] == "order_over"
    inputs = (await world.request(RENTER, "GET", f"/jobs/{rented.job_id}/artifacts")).json()
    return {
        "order_id": rented.order_id,
        "job_id": rented.job_id,
        "lease_id": rented.lease_id,
        "audit_id": await _audit(world, rented),
        "digest": inputs["artifacts"][0]["hash"],
        "offer": "0x" + rented.offer.offer_id(world.market.domain).hex(),
        "request_id": await _relayed(world),
    }


async def _relayed(world: World) -> str:
    asked = Asked(RELAY_STOP, "stop", "1", {"account": RENTER.address.lower()})
    async with world.market.database.writing() as session:
        return (await relays.add(session, world.market, asked, now())).request_id


def _body(world: World, method: str, route: str) -> dict[str, Any]:
    """A well-formed body, so that only the right to use it is asked for."""
    signature = "0x" + "11" * 65
    hashes = {"manifest": "0" * 64, "bundle": "0" * 64}
    bodies: dict[str, Any] = {
        "/orders/{order_id}/terms": None,
        "/orders/{order_id}/decline": {"code": "no", "reason": "no"},
        "/leases/{lease_id}/frames": {
            "attempt": "att_1",
            "frames": [{"seq": 0, "kind": "log", "sealed": base64.b64encode(b"x").decode()}],
        },
        "/leases/{lease_id}/artifacts": {
            "artifacts": [{"kind": "output", "hash": "0" * 64, "size": 1}]
        },
        "/leases/{lease_id}/ending": {"verdict": "completed", "attempt": "att_1"},
        "/audits/{audit_id}/inputs": {"sealed_key": "AAAA", "artifacts": hashes},
        "/audits/{audit_id}/outcome": {"result": "agreed"},
    }
    del world, method, signature
    return bodies.get(route) or {}


def _signed_body(world: World, route: str, account: Any, ids: dict[str, str]) -> Any:
    """Bodies that the caller signs itself, so that the signature is not what refuses them."""
    from client_sdk.protocol.messages import AuditReport, Progress
    from client_sdk.protocol.terms import Voucher

    lease = bytes.fromhex(ids["lease_id"][2:])
    objects: dict[str, tuple[str, Any, dict[str, Any]]] = {
        "/leases/{lease_id}/progress": (
            "progress",
            Progress(lease_id=lease, segments=1, trace_root=bytes([1]) * 32, at=1),
            {"attempt": "att_1"},
        ),
        "/leases/{lease_id}/vouchers": ("voucher", Voucher(lease_id=lease, segments=1), {}),
        "/audits/{audit_id}/report": (
            "report",
            AuditReport(lease_id=lease, segment=0, state_hash=bytes(32), at=1),
            {},
        ),
    }
    if route not in objects:
        return None
    name, obj, extra = objects[route]
    return {name: obj.to_json(), "signature": world.signed(obj, account), **extra}


def _path(method: str, route: str, ids: dict[str, str]) -> str:
    if route == "/offers/{digest}":
        return f"/offers/{ids['offer']}"
    return route.format(**ids)


async def test_when_the_api_has_a_route_on_an_object_then_this_matrix_knows_it(
    world: World,
) -> None:
    paths = (await world.client.get("/v1/openapi.json")).json()["paths"]
    routes = {
        (method.upper(), path.removeprefix("/v1"))
        for path, operations in paths.items()
        for method in operations
        if "{" in path
    }
    assert routes == OBJECT_ROUTES | PUBLIC_ROUTES


async def test_when_nobody_is_logged_in_then_no_object_is_shown(world: World) -> None:
    ids = await _objects(world)
    for method, route in sorted(OBJECT_ROUTES):
        answer = await world.request(
            None, method, _path(method, route, ids), json=_body(world, method, route)
        )
        assert answer.status_code in (401, 422), (method, route, answer.text)
        if answer.status_code == 422:
            # Its shape is read first; a complete body is refused for want of a login.
            body = _signed_body(world, route, STRANGER, ids)
            assert body is not None or "terms" in route or "opening" in route, (method, route)


async def test_when_another_tenant_asks_then_every_object_looks_as_if_it_were_not(
    world: World,
) -> None:
    ids = await _objects(world)
    missing = {
        "order_id": "ord_0", "job_id": "job_0", "lease_id": hex32(404), "audit_id": "aud_0",
        "digest": "0" * 64, "offer": hex32(404), "request_id": "evt_0",
    }  # fmt: skip
    for account in (OTHER, STRANGER):
        for method, route in sorted(OBJECT_ROUTES):
            if "opening" in route or "terms" in route:
                continue  # they take signed objects of their own; tested with the exchange
            body = _signed_body(world, route, account, ids) or _body(world, method, route)
            path = _path(method, route, ids)
            answer = await world.request(account, method, path, json=body)
            assert answer.status_code == 404, (method, route, answer.text)
            other = _signed_body(world, route, account, missing) or body
            nothing = await world.request(
                account, method, _path(method, route, missing), json=other
            )
            assert nothing.content == answer.content, (method, route)


@pytest.mark.parametrize(
    ("account", "routes"),
    [
        (
            RENTER,
            [
                "/orders/{order_id}",
                "/jobs/{job_id}",
                "/jobs/{job_id}/artifacts",
                "/relays/{request_id}",
            ],
        ),
        (OPERATOR, ["/orders/{order_id}", "/jobs/{job_id}", "/audits/{audit_id}"]),
        (PROVIDER, ["/jobs/{job_id}", "/audits/{audit_id}"]),
        (AUDITOR, ["/audits/{audit_id}"]),
    ],
)
async def test_when_a_party_asks_for_its_own_then_it_is_shown(
    world: World, account: Any, routes: list[str]
) -> None:
    ids = await _objects(world)
    for route in routes:
        answer = await world.request(account, "GET", _path("GET", route, ids))
        assert answer.status_code == 200, (route, answer.text)


async def test_when_a_renter_lists_jobs_then_only_its_own_are_there(world: World) -> None:
    rented = await rent(world)
    mine = (await world.request(RENTER, "GET", "/jobs")).json()["jobs"]
    assert [job["job_id"] for job in mine] == [rented.job_id]
    assert (await world.request(OTHER, "GET", "/jobs")).json()["jobs"] == []


async def test_when_the_auditor_was_not_given_inputs_then_it_reads_none(world: World) -> None:
    ids = await _objects(world)
    answer = await world.request(AUDITOR, "GET", f"/artifacts/{ids['digest']}")
    assert answer.status_code == 404
    for account in (RENTER, OPERATOR):
        answer = await world.request(account, "GET", f"/artifacts/{ids['digest']}")
        assert answer.status_code == 200
