"""The registry on a real chain: a quorum, bonds, the record for the draw, and signed digests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eth_account.signers.local import LocalAccount

from client_sdk.chain.chain import Chain
from client_sdk.chain.sender import Sender
from client_sdk.protocol.eip712 import Domain, digest
from client_sdk.protocol.rulings import AuditVerdict, Rejection, Retrieval, Verdict
from contracts.bindings import Call, Token
from contracts.quorum import ArbiterQuorum
from contracts.registry import AuditFault, AuditorRegistry

MIN_BOND = 1_000_000
HARDWARE_CLASS, ENCRYPTION_KEY = b"\x0c" * 32, b"\x0e" * 32


def test_when_an_auditor_bonds_and_enrolls_then_the_draw_finds_it(
    chain: Chain, accounts: Any, sender_of: Callable[[LocalAccount], Sender]
) -> None:
    registry = AuditorRegistry(chain.deployment.registry or "")
    sender = sender_of(accounts.auditor)

    def do(call: Call, key: str) -> Any:
        sender.submit(call, f"registry/{key}")
        return sender.wait(f"registry/{key}", confirmations=0)

    receipt = do(registry.create_quorum([accounts.arbiter.address], 1, MIN_BOND), "quorum")
    created = next(log for log in receipt.logs if log.address.lower() == registry.address.lower())
    quorum = ArbiterQuorum("0x" + bytes(created.topics[1])[12:].hex())
    token = Token(chain.deployment.tokens[0].address)
    do(token.approve(registry.address, MIN_BOND), "approve")
    do(registry.bond(quorum.address, MIN_BOND), "bond")
    block = do(registry.enroll(quorum.address, HARDWARE_CLASS, ENCRYPTION_KEY), "enroll")
    do(registry.unbond(quorum.address, 1), "unbond")

    page = registry.auditors_at(quorum.address, HARDWARE_CLASS, block.block_number, 0, 10)
    assert chain.view(page) == {accounts.auditor.address: MIN_BOND}
    assert not chain.view(registry.is_bonded(quorum.address, accounts.auditor.address))
    domain = Domain(chain.deployment.chain_id, quorum.address)
    ruling = Verdict(lease_id=b"\1" * 32, root=b"\2" * 32, disputed_at=3, fraud=True, segment=4)
    assert chain.view(quorum.verdict_digest(*ruling.abi_tuple())) == digest(ruling, domain)
    retrieval = Retrieval(lease_id=b"\1" * 32, root=b"\2" * 32, committed_at=3, good_segments=4)
    assert chain.view(quorum.retrieval_digest(*retrieval.abi_tuple())) == digest(retrieval, domain)
    rejection = Rejection(lease_id=b"\1" * 32, report=b"\2" * 32)
    assert chain.view(quorum.rejection_digest(*rejection.abi_tuple())) == digest(rejection, domain)
    audit = AuditVerdict(
        lease_id=b"\1" * 32,
        segment=2,
        auditor=accounts.auditor.address,
        fault=AuditFault.NO_REPORT,
    )
    assert chain.view(quorum.audit_verdict_digest(*audit.abi_tuple())) == digest(audit, domain)
