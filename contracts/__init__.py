"""The contracts of Gridlease: generated ABI, typed bindings, deployments and the deploy command."""

from __future__ import annotations

import contextlib
import sys

# py_ecc, which comes with eth-account, sets the recursion limit to 100,000 on import. Deeply nested
# JSON from a stranger would then overflow the C stack and kill the process, where it should raise
# RecursionError. We use none of its pairings, which are what needs the depth: import it now, and
# undo that.
with contextlib.suppress(ImportError):
    import py_ecc  # noqa: F401 - for its effect, see above
if sys.getrecursionlimit() == 100_000:
    sys.setrecursionlimit(1000)
