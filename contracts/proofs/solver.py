"""Answer one SMT query with whichever of two solvers is first: `solver.py QUERY.smt2`.

yices turns numbers into bits and is fast at everything but products and quotients of unknowns;
cvc5 takes them as integers and is good at just these. Each is complete in itself, so that an answer
of either counts. Runs in the tools' own environment, as the solver command of halmos.

Standard library, and cvc5 in the process that asks it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

_DEFINITE: Final = ("sat", "unsat")
_HEAD_START_S: Final = 1.0
"""What yices gets alone: most queries need less."""


def main(query: str) -> int:
    """Print the first definite answer, with its model; `unknown` when there is none."""
    binaries = Path(sys.executable).parent
    yices = [str(binaries / "yices-smt2"), "--smt2-model-format", "--bvconst-in-decimal", query]
    cvc5 = [sys.executable, __file__, "--cvc5", query]
    running = subprocess.Popen(yices, stdout=subprocess.PIPE, text=True)
    try:
        answer, _ = running.communicate(timeout=_HEAD_START_S)
        if _is_definite(answer):
            return _say(answer)
    except subprocess.TimeoutExpired:
        pass
    second = subprocess.Popen(cvc5, stdout=subprocess.PIPE, text=True)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(process.communicate) for process in (running, second)]
        for done in as_completed(waiting):
            answer, _ = done.result()
            if _is_definite(answer):
                running.kill()
                second.kill()
                return _say(answer)
    return _say("unknown\n")


def ask_cvc5(query: str) -> int:
    """Print what cvc5 says when it takes bit vectors as integers."""
    import cvc5

    terms = cvc5.TermManager()
    solver = cvc5.Solver(terms)
    solver.setOption("solve-bv-as-int", "sum")
    solver.setOption("produce-models", "true")
    symbols = cvc5.SymbolManager(terms)
    parser = cvc5.InputParser(solver, symbols)
    parser.setFileInput(cvc5.InputLanguage.SMT_LIB_2_6, query)
    while not (command := parser.nextCommand()).isNull():
        sys.stdout.write(command.invoke(solver, symbols))
    return 0


def _is_definite(answer: str) -> bool:
    return answer.partition("\n")[0] in _DEFINITE


def _say(answer: str) -> int:
    sys.stdout.write(answer)
    sys.stdout.flush()
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(ask_cvc5(sys.argv[2]) if sys.argv[1] == "--cvc5" else main(sys.argv[1]))
