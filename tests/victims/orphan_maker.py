"""A program that leaves COUNT orphans, which all end at once, with statuses 3 and 4 in turn."""

from __future__ import annotations

import os
import sys

read_fd, write_fd = os.pipe()
for number in range(int(sys.argv[1])):
    if os.fork() == 0:
        os.close(write_fd)
        os.read(read_fd, 1)  # end of file when the parent is gone
        os._exit(3 + number % 2)
os._exit(0)
