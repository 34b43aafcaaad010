"""Escrows with a single fault, compiled from the sources as `contracts.mutation` changes them."""

from __future__ import annotations

from dataclasses import replace

import solcx

from contracts.build import COMPILER, collect_sources, compiler_settings
from contracts.codec import Artifact, load_artifact
from contracts.mutation.catalogue import FAULTS
from contracts.mutation.project import FOLDER, locate, sources

_SOURCE = "src/LeaseEscrow.sol"


def faulty_escrow(breaks: str) -> Artifact:
    """The escrow with the one fault of the catalogue that breaks this rule."""
    (fault,) = (fault for fault in FAULTS if fault.breaks == breaks)
    settings = compiler_settings()
    texts = collect_sources([_SOURCE], settings["remappings"])
    place = f"src/{locate(fault, sources(FOLDER))}"
    texts[place] = texts[place].replace(fault.text, fault.replacement)
    # A fault can add code: as it is shipped, there is hardly room for any.
    settings["optimizer"]["runs"] = 200
    settings["outputSelection"] = {_SOURCE: {"LeaseEscrow": ["evm.bytecode.object"]}}
    output = solcx.compile_standard(
        {
            "language": "Solidity",
            "sources": {name: {"content": text} for name, text in texts.items()},
            "settings": settings,
        },
        solc_binary=COMPILER,
    )
    compiled = output["contracts"][_SOURCE]["LeaseEscrow"]["evm"]["bytecode"]["object"]
    return replace(load_artifact("LeaseEscrow"), bytecode=bytes.fromhex(compiled))
