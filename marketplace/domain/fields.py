"""Fields of an offer that renters search by: name, unit, meaning."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class FieldKind(StrEnum):
    """What a field holds."""

    NUMBER = "number"
    TEXT = "text"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Field:
    """One searchable field."""

    name: str
    kind: FieldKind
    meaning: str
    aliases: tuple[str, ...] = ()


def _number(name: str, meaning: str, *aliases: str) -> Field:
    return Field(name, FieldKind.NUMBER, meaning, aliases)


def _text(name: str, meaning: str, *aliases: str) -> Field:
    return Field(name, FieldKind.TEXT, meaning, aliases)


def _flag(name: str, meaning: str, *aliases: str) -> Field:
    return Field(name, FieldKind.FLAG, meaning, aliases)


ALL_FIELDS: Final = (
    _text("gpu_name", "Model of the GPUs; 'cpu' for a machine without", "gpu"),
    _number("num_gpus", "GPUs of the machine", "gpu_count"),
    _number("gpu_ram", "Memory of one GPU, GiB"),
    _number("gpu_total_ram", "Memory of all GPUs, GiB"),
    _number("cpu_cores", "CPU cores", "cpu_cores_effective", "cpu"),
    _number("cpu_ram", "Main memory, GiB", "ram", "memory"),
    _number("disk_space", "Disk for a job, GiB", "disk"),
    _number("inet_down", "Download speed, Mbit/s"),
    _number("inet_up", "Upload speed, Mbit/s"),
    _text("driver_version", "Driver of the GPUs", "driver"),
    _text("torch_version", "PyTorch that jobs run with", "torch"),
    _text("region", "Where the machine stands, as its provider says", "geolocation"),
    _text("isolation", "strong or weak: whether memory and process limits are enforced"),
    _text("hardware_class", "Hash of the hardware probe; equal machines give equal bits"),
    _number("dph", "Price of the machine, tokens per hour", "dph_total", "price"),
    _number("dph_per_gpu", "Price of one GPU, tokens per hour"),
    _text("token", "Address of the token that is paid"),
    _number("fee_bps", "Fee of the market, basis points"),
    _number("duration", "How long the offer still stands, hours"),
    _number("max_segments", "Most segments of one lease"),
    _flag("replay", "Whether segments can be audited by replay"),
    _flag("metered", "Whether unmodified scripts run, paid by vouchers"),
    _number("stake", "Stake of the provider, tokens"),
    _number("free_stake", "Stake that backs no lease yet, tokens"),
    _number("reliability", "Share of the provider's ended leases that ended well, smoothed"),
    _number("leases", "Leases of the provider that ended"),
    _text("provider", "Address of the provider"),
    _text("operator", "Address of the machine's operator key"),
    _text("listing_id", "Id of the listing", "machine_id"),
    _text("digest", "Id of the offer", "id"),
)

FIELDS: Final[dict[str, Field]] = {
    name: field for field in ALL_FIELDS for name in (field.name, *field.aliases)
}
