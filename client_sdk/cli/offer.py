"""`gridlease offers`: what the market has, each offer checked before it is shown."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from client_sdk.cli.context import JsonOption, Setup, connected
from client_sdk.cli.output import error_console, print_json, print_table
from client_sdk.errors import NoOffer
from client_sdk.protocol.money import format_amount
from client_sdk.protocol.units import format_size


def register(app: typer.Typer) -> None:
    """Add the commands of this noun."""
    app.command("offers")(offers)


@connected
def offers(
    setup: Setup,
    query: Annotated[
        list[str] | None,
        typer.Argument(help="Such as: 'gpu_name=RTX_4090 num_gpus>=2 dph<0.8'"),
    ] = None,
    order: Annotated[
        str | None, typer.Option("-o", "--order", help="Field to sort by; dph- for dearest first.")
    ] = "dph",
    limit: Annotated[int, typer.Option(help="Most offers to show.", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Offers that match a query; every one is checked against its signature and the chain."""
    with setup.client(with_account=False) as client:
        found = client.offers(" ".join(query or []), order=order, limit=limit)
        for refused in found.refused:
            error_console().print(f"refused: {refused}", markup=False, style="yellow")
        for url in found.silent:
            error_console().print(f"no answer from {url}", markup=False, style="yellow")
        rows = [_row(offer, client.connection.deployment) for offer in found.offers]
    if as_json:
        print_json({"schema": "gridlease/offers/1", "offers": rows})
        return
    if not rows:
        raise NoOffer(
            "no offer matches" + (f": {found.hint}" if found.hint else ""),
            what_to_do="Loosen the query; `gridlease offers` without one shows all.",
        )
    columns = ["offer", "GPU", "cores", "memory", "price/h", "isolation", "region", "provider"]
    print_table(columns, [_cells(row) for row in rows])


def _row(found: Any, deployment: Any) -> dict[str, Any]:
    machine, offer = found.machine, found.offer
    token = deployment.token(offer.token)
    return {
        "offer": "0x" + found.offer_id.hex(),
        "listing_id": "0x" + offer.listing_id.hex(),
        "provider": offer.provider,
        "gpu_name": machine.gpu_name or None,
        "num_gpus": machine.gpu_count,
        "cpu": machine.cpu_count,
        "memory_bytes": machine.memory_bytes,
        "disk_bytes": machine.disk_bytes,
        "torch": machine.torch,
        "isolation": str(machine.isolation),
        "region": machine.region,
        "hardware_class": "0x" + machine.hardware_class.hex(),
        "price_per_hour": format_amount(offer.price_per_hour, token.decimals),
        "token": token.symbol,
        "verification": sorted(str(mode) for mode in offer.verifications),
        "expires_at": offer.expires_at,
        "stake": format_amount(found.listing.stake_total, token.decimals),
        "markets": [node.url for node in found.nodes],
    }


def _cells(row: dict[str, Any]) -> list[object]:
    gpu = f"{row['num_gpus']} x {row['gpu_name']}" if row["gpu_name"] else "none"
    return [
        row["offer"][:18],
        gpu,
        row["cpu"],
        format_size(row["memory_bytes"]),
        f"{row['price_per_hour']} {row['token']}",
        row["isolation"],
        row["region"],
        row["provider"][:10],
    ]
