"""What can go wrong with a call, by what the caller may do next.

``NotSentError``: try again, elsewhere too. ``OutcomeUnknownError``: the provider may have done it.
``RefusedError``: the same call is refused again until somebody changes something. ``RemoteError``:
the method was called and raised. ``BadReplyError``: the outcome is unknown because what came back
can't be trusted.
"""

from __future__ import annotations

import re

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""All but tab and newline, with what turns the direction of writing and halves of surrogate pairs."""


class DubboError(Exception):
    """Any failed call; a full sentence.

    What a provider says stands in it and goes to terminals and log files, so its control characters
    are written as escapes.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(_CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text))


class NotSentError(DubboError):
    """Not a byte of the call has left: it can be tried again without doing anything twice."""


class UnreachableError(NotSentError):
    """No connection to a provider could be had."""


class BusyError(NotSentError):
    """All connections to the provider were in use for as long as the call could wait."""


class BadArgumentError(DubboError, ValueError):
    """The call can't be put into the protocol; nothing was sent."""


class OutcomeUnknownError(DubboError):
    """The call was sent, and no whole answer came: the provider may have done it or not."""


class CallTimeoutError(OutcomeUnknownError, TimeoutError):
    """The call was sent, and no answer came in time."""


class RefusedError(DubboError):
    """The provider has not called the method, and would not the next time either."""


class NoSuchServiceError(RefusedError):
    """The provider does not export the service, or not in this version or group."""


class NoSuchMethodError(RefusedError):
    """The service has no such method for these arguments, or more than one."""


class NotAllowedError(RefusedError):
    """The provider does not let us: a command that is switched off, or our address."""


class OverloadedError(RefusedError):
    """The provider has no thread left for the call. Another provider may have."""


class BadReplyError(OutcomeUnknownError):
    """The answer is none in this protocol, or too large; the connection was closed."""


class RemoteError(DubboError):
    """The method raised.

    Attributes: class_name: of the Java exception, or "" if the provider did not tell. message: what
        it said. trace: lines of the Java stack trace, "" if the protocol brings none.
    """

    def __init__(self, class_name: str, message: str, trace: str = "") -> None:
        super().__init__(f"{class_name or 'An exception'}: {message}" if message else class_name)
        self.class_name = class_name
        self.message = message
        self.trace = trace

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str, str]]:
        """Let it pass between processes, as an exception does whose text is its only argument."""
        return type(self), (self.class_name, self.message, self.trace)
