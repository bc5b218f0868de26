"""A `sitecustomize` that does something in each worker, at its very beginning."""

from __future__ import annotations

from textwrap import indent


def in_workers(code: str) -> str:
    """The text of a `sitecustomize` that runs `code` in workers, and in no other interpreter.

    That is at the start of one's own interpreter, or when it has left the session of the zygote,
    which nothing else does in that process.
    """
    return f"""\
import os, sys
def code():
{indent(code, "    ")}
if "trio_lb.supervise.worker" in sys.orig_argv:
    code()
if "trio_lb.supervise.zygote" in sys.orig_argv:
    leave = os.setsid
    def leave_and_run():
        leave()
        code()
    os.setsid = leave_and_run
"""
