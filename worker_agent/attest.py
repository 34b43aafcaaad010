"""What this machine says of itself, and the listing on the chain that says it to everybody.

The hardware class is measured in the sandbox that jobs will run in, kept in the journal, and
measured again before each lease (stage ``accept``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version

from filelock import FileLock

from client_sdk.protocol.addresses import is_zero_address, same_address
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.machine import Isolation, MachineDocument
from client_sdk.protocol.money import parse_amount
from contracts.bindings import Token
from contracts.events import Listed, Staked
from worker_agent.context import Context
from worker_agent.draining import draining
from worker_agent.errors import SettingsError, Unrecoverable
from worker_agent.hardware.classify import HardwareClass, measure_class
from worker_agent.hardware.document import machine_document
from worker_agent.hardware.facts import MachineFacts, read_facts
from worker_agent.runtime.probe import program_digest
from worker_agent.sandbox.base import Sandbox

log = logging.getLogger(__name__)
_KIND = "machine"
_LISTING = "listing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """This machine's listing."""

    listing_id: bytes
    machine_hash: bytes
    document: MachineDocument


def describe_machine(context: Context, sandbox: Sandbox) -> tuple[MachineFacts, MachineDocument]:
    """Measure this machine, or take from the journal what was measured on the same machine.

    Raises
    ------
    HardwareError
        The probe fails, or gives different bits each time.
    """
    facts = read_facts(context.folder("sandbox"))
    same = _fingerprint(facts)
    known = context.journal.get(_KIND, same)
    if known is not None:
        document = MachineDocument.from_json(known["document"])
        if document.encryption_key == context.encryption_key.public:
            return facts, document
    measured = _measure(context, sandbox, facts, same)
    document = machine_document(
        facts,
        measured,
        Isolation(sandbox.isolation.value),
        encryption_key=context.encryption_key.public,
        region=context.settings.region,
    )
    context.journal.put(_KIND, same, {"document": document.to_json()})
    return facts, document


def _fingerprint(facts: MachineFacts) -> str:
    """What a measurement depends on, as far as it can be read without measuring."""
    parts = (facts.cpu_name, facts.cpu_count, facts.gpu_name, facts.inventory.driver)
    program = (version("torch"), program_digest().hex())
    return "|".join(str(part) for part in (*parts, *program))


def _measure(
    context: Context, sandbox: Sandbox, facts: MachineFacts, fingerprint: str
) -> HardwareClass:
    """Measure, or take what another daemon of this machine has just measured."""
    path = context.settings.machine_file
    if path is None:
        return measure_class(sandbox, facts)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(f"{path}.lock"):
        if path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))
            if known.get("fingerprint") == fingerprint:
                values = {**known["measured"], "digest": bytes.fromhex(known["measured"]["digest"])}
                return HardwareClass(**values)
        measured = measure_class(sandbox, facts)
        values = {**asdict(measured), "digest": measured.digest.hex()}
        temporary = path.with_name(path.name + ".part")
        text = json.dumps({"fingerprint": fingerprint, "measured": values})
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    return measured


def register(context: Context, document: MachineDocument) -> Listing:
    """Make sure that the machine is listed, its operator is this key, and the stake is there.

    Idempotent; asks the chain each time, so that a lost block is noticed. A daemon that takes no
    new leases brings back neither a listing that its owner ended nor stake that it took out.

    Raises
    ------
    SettingsError
        Something is missing that only the owner can do, and its key is not on this machine.
    """
    listing_id = _find_listing(context, document)
    if listing_id is None:
        listing_id = _list(context, document)
    context.journal.put(_LISTING, document.machine_hash().hex(), {"listing_id": listing_id.hex()})
    _ensure_operator(context, listing_id)
    if not draining(context.journal):
        _ensure_stake(context)
    return Listing(listing_id=listing_id, machine_hash=document.machine_hash(), document=document)


def _find_listing(context: Context, document: MachineDocument) -> bytes | None:
    """Our listing of this machine: the journaled one, else the newest usable one on the chain.

    An ended one is enough for a daemon that only finishes what it has.
    """
    chain, machine_hash = context.chain, document.machine_hash()
    ended_too = draining(context.journal)
    for listing_id in _candidates(context, machine_hash):
        found = chain.view(chain.escrow.listing_of(listing_id))
        ours = same_address(found.provider, context.provider)
        right = found.machine_hash == machine_hash
        usable = found.active or ended_too
        if ours and right and usable and same_address(found.token, context.token.address):
            return listing_id
    return None


def _candidates(context: Context, machine_hash: bytes) -> Iterator[bytes]:
    known = context.journal.get(_LISTING, machine_hash.hex())
    if known is not None:
        yield bytes.fromhex(known["listing_id"])
    for event in reversed(_listings(context)):
        if event.machine_hash == machine_hash:
            yield event.listing_id


def _list(context: Context, document: MachineDocument) -> bytes:
    owner = context.owner_sender
    if owner is None:
        raise SettingsError(
            f"this machine (machineHash {to_hex(document.machine_hash())}) is not listed by "
            f"{context.provider}: set owner_key_file, and the worker lists it when it starts"
        )
    settings, decimals = context.settings, context.token.decimals
    quoted = parse_amount(settings.price_per_hour, decimals)
    cap = (
        2 * quoted
        if settings.max_price_per_hour is None
        else parse_amount(settings.max_price_per_hour, decimals)
    )
    call = context.chain.escrow.list_machine(
        document.hardware_class,
        context.token.address,
        max(cap, quoted),
        str(context.account.address),
        document.canonical(),
    )
    # One key for one listing of this machine; a delisted one is listed again under another key.
    count = len(_listings(context))
    receipt = owner.send(call, f"list:{document.machine_hash().hex()}:{count}", retry=True)
    for event in receipt.events:
        if isinstance(event, Listed):
            log.info("listed as %s", to_hex(event.listing_id))
            return event.listing_id
    raise Unrecoverable("the listing's transaction has no Listed event")


def _listings(context: Context) -> list[Listed]:
    """All listings that were ever made, by anybody, in chain order."""
    chain = context.chain
    events = chain.events(chain.deployment.start_block, chain.head())
    return [event for event in events if isinstance(event, Listed)]


def _ensure_operator(context: Context, listing_id: bytes) -> None:
    chain, operator = context.chain, str(context.account.address)
    current = chain.view(chain.escrow.listing_of(listing_id)).operator
    if same_address(current, operator):
        return
    if context.owner_sender is None:
        raise SettingsError(
            f"the listing's operator is {current}, not {operator}: the owner must set it"
        )
    key = f"operator:{listing_id.hex()}:{current}:{operator}"
    context.owner_sender.send(chain.escrow.set_operator(listing_id, operator), key, retry=True)


def _ensure_stake(context: Context) -> None:
    """Top the stake up to the configured amount, from the owner's balance."""
    chain, token = context.chain, context.token
    wanted = parse_amount(context.settings.stake, token.decimals)
    stake = chain.view(chain.escrow.stake_of(context.provider, token.address))
    missing = wanted - (stake.total - stake.unbonding)
    if missing <= 0 or context.owner_sender is None:
        return
    if stake.owed:
        # It would go to whom the provider owes, and back no lease. When, is the owner's to say.
        log.warning("late rulings wait for %d of the stake: nothing is added to it", stake.owed)
        return
    balance = chain.token_balance(token.address, context.provider)
    if balance < missing:
        log.warning("the owner holds %d of the %d that are to be staked", balance, missing)
        return
    # The keys count the top-ups before, since a slash or a claim can bring the stake back to what
    # it was.
    before = context.events_about(context.provider, Staked)
    num_before = sum(same_address(event.token, token.address) for event in before)
    suffix = f"{token.address}:{num_before}:{missing}"
    approve = Token(token.address).approve(chain.escrow.address, missing)
    context.owner_sender.send(approve, f"approve-stake:{suffix}", retry=True)
    stake_call = chain.escrow.stake(token.address, missing)
    context.owner_sender.send(stake_call, f"stake:{suffix}", retry=True)
    log.info("staked %d", missing)


def arbiter_of(context: Context) -> str:
    """The arbiter that this worker's terms name.

    Raises
    ------
    SettingsError
        The deployment names none.
    """
    arbiter = context.chain.deployment.arbiter
    if arbiter is None or is_zero_address(arbiter):
        raise SettingsError("the deployment names no arbiter")
    return arbiter
