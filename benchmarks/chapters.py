"""The chapters that the report tells, in their order."""

from __future__ import annotations

from benchmarks import drop_in, end_to_end, growth, instructions, memory, odd_sizes, single_cell
from benchmarks.chapter import Chapter

CHAPTERS: dict[Chapter, str] = {
    script.CHAPTER: (script.__doc__ or "").partition("\n")[0]
    for script in (end_to_end, drop_in, single_cell, memory, growth, odd_sizes, instructions)
}
"""And what each measures, in a sentence."""
