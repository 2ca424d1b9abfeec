"""How a provider's prompt is learned: it says nothing until it is asked, but QoS does. Pure.

An empty line is answered by the prompt alone. The usual one is known at sight; another one is what
comes twice in the same form. QoS sends a banner half a second after the connection, whatever has
been asked before: it is waited for, else it would be taken for a reply.
"""

from __future__ import annotations

from tornado_multi.dubbo.errors import BadReplyError
from tornado_multi.dubbo.telnet.replies import DEFAULT_PROMPT, take_events

QUIET_S = 0.1
"""So long nothing comes, and an unusual prompt is taken to be whole."""
MOST_BYTES = 16 * 1024
FOREIGN = b"Foreign Ip Not Permitted"
HOW_TO_BE_LET_IN = (
    "QoS does not let this address in: look at dubbo.application.qos-accept-foreign-ip-whitelist."
)


class Greeting:
    """What has come before the first command.

    ``prompt`` is None while it is not known. Ask ``wants_line`` what to do and tell what was done;
    ``quiet_s`` says after how long a silence means something, None: not at all.
    """

    def __init__(self, prompt: bytes | None = None, *, has_banner: bool = False) -> None:
        self._expected = DEFAULT_PROMPT if prompt is None and has_banner else prompt
        self._has_banner = has_banner
        self._held = bytearray()
        self._first: bytes | None = None
        self._lines_sent = 0
        self.prompt: bytes | None = None

    @property
    def wants_line(self) -> bool:
        """Tell whether an empty line is to be sent now."""
        if self._has_banner:
            return False
        return self._lines_sent == 0 or (self._first is not None and self._lines_sent == 1)

    @property
    def quiet_s(self) -> float | None:
        return QUIET_S if self._held and not self._has_banner else None

    def line_sent(self) -> None:
        """Note that an empty line was sent."""
        self._lines_sent += 1

    def feed(self, data: bytes) -> None:
        """Take in what arrived.

        Raises: BadReplyError: it can't be a prompt.
        """
        self._held += data
        take_events(self._held)
        if self._held.startswith(b"HTTP/"):
            raise BadReplyError("It answers in HTTP: this is no Dubbo port.")
        if FOREIGN in self._held:
            raise BadReplyError(HOW_TO_BE_LET_IN)
        if len(self._held) > MOST_BYTES:
            raise BadReplyError(f"More than {MOST_BYTES} bytes came in answer to an empty line.")
        expected = self._expected
        if self._has_banner:
            assert expected is not None
            if self._held.endswith(b"\n" + expected):
                self.prompt = expected
        elif self._held == (DEFAULT_PROMPT if expected is None else expected):
            self.prompt = bytes(self._held)

    def was_quiet(self) -> None:
        """Note that nothing has come for ``quiet_s``.

        Raises: BadReplyError: two empty lines were answered in different ways.
        """
        said, self._held = bytes(self._held), bytearray()
        if self._expected is not None:
            raise BadReplyError(f"The prompt is {said!r:.80}, not {self._expected!r:.80}.")
        if self._first is None:
            self._first = said
        elif self._first == said:
            self.prompt = said
        else:
            text = f"Two empty lines were answered by {self._first!r:.80} and {said!r:.80}."
            raise BadReplyError(text)

    def explain(self) -> str:
        """Say what is known when there is no prompt."""
        if self._held:
            return f"it said {bytes(self._held)!r:.80}."
        return "It says nothing: the prompt may be empty (set none), or this is no Dubbo port."
