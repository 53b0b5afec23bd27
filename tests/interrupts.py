"""Interrupts of a call at each place where Python can be interrupted."""

import dis
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import leakyrelu

_OURS = str(Path(leakyrelu.__file__).parent)


class Interrupt(BaseException):
    """Comes at a chosen place, as a KeyboardInterrupt comes at a random one."""


def interrupted_everywhere(call: Callable[[], object]) -> Iterator[int]:
    """Make a call with an interrupt at the first place in the code of this package, then at the second, and so on.

    After each interrupt the number of the place is yielded. It ends when the call has run through.
    """
    place = 0
    while _is_interrupted(call, place):
        yield place
        place += 1


def _is_interrupted(call: Callable[[], object], place: int) -> bool:
    left = place

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in _places(frame.f_code):
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@lru_cache(None)
def _places(code: CodeType) -> set[int]:
    """Where an interrupt can be raised: Python looks for one when a function begins, and after each call in it.

    What follows a call may lie outside of the block that the call is in, as the end of a ``with`` statement does. There
    it cannot be raised as Python raises it, within the block; so these places are left out.
    """
    entries = dis.Bytecode(code).exception_entries

    def block(offset: int) -> Any:
        return next((entry for entry in entries if entry.start <= offset < entry.end), None)

    instructions = dis.get_instructions(code)
    return {
        after.offset
        for before, after in pairwise(instructions)
        if before.opname.startswith(("RESUME", "CALL")) and block(before.offset) == block(after.offset)
    }
