"""The program of a zygote process: puts the zygote and worker rooms together.

Started by the supervisor as ``python -m tornado_multi.zygote_process FD``; not for people. It joins
the rooms, so that neither imports the other.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the zygote on the channel whose fd number is the only argument, or what it forks."""
    from tornado_multi.assignment import HookErrand
    from tornado_multi.worker.run import run_worker
    from tornado_multi.zygote.errand import run_errand
    from tornado_multi.zygote.run import run_zygote

    errand = run_zygote(int(sys.argv[1]))
    if isinstance(errand, HookErrand):
        run_errand(errand)
    run_worker(errand)


if __name__ == "__main__":
    main()
