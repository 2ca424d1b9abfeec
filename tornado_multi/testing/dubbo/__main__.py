"""Serve com.example.AccountService: ``python -m tornado_multi.testing.dubbo --port 20880``."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from tornado_multi.process.linux import die_with_parent_thread
from tornado_multi.testing.dubbo import DIALECTS, DubboProvider, Faults


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tornado_multi.testing.dubbo",
        description="A Dubbo provider with com.example.AccountService, for demos and tests.",
    )
    parser.add_argument("--port", type=int, default=20880, help="0: any free one")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; a container that others ask needs 0.0.0.0 (default: %(default)s)",
    )
    parser.add_argument("--version", choices=DIALECTS, default="2.6.12", help="whose text to speak")
    parser.add_argument(
        "--delay-ms",
        type=float,
        nargs=2,
        default=(0, 0),
        metavar=("LEAST", "MOST"),
        help="wait so long before each reply",
    )
    parser.add_argument(
        "--split",
        choices=["none", "random", "bytes"],
        default="none",
        help="send replies in pieces",
    )
    parser.add_argument(
        "--leave-with-parent", action="store_true", help="end when the process that started it does"
    )
    return parser


def main() -> None:
    """Serve until TERM or INT."""
    chosen = make_parser().parse_args()
    least, most = chosen.delay_ms
    faults = Faults(delay_s=(least / 1000, most / 1000), split=chosen.split)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    if chosen.leave_with_parent:
        die_with_parent_thread(signal.SIGTERM)
    made = DubboProvider(
        dialect=DIALECTS[chosen.version], faults=faults, host=chosen.host, port=chosen.port
    )
    try:
        made.start()
    except OSError as error:
        sys.exit(
            f"No provider on {chosen.host}:{chosen.port}: {os.strerror(error.errno or 0)}. Take another --port."
        )
    print(f"com.example.AccountService on dubbo://{made.address}", flush=True)
    signal.sigwait(signals)
    made.stop()


if __name__ == "__main__":
    main()
