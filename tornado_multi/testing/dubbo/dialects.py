"""How versions of Dubbo differ in what they write as text. Pure. Runs in: tests and demos."""

from __future__ import annotations

from dataclasses import dataclass

BANNER = """\
   ___   __  __ ___   ___   ____
  / _ \\ / / / // _ ) / _ ) / __ \\
 / // // /_/ // _  |/ _  |/ /_/ /
/____/ \\____//____//____/ \\____/
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a provider's text looks like; see ``DIALECTS`` for those of known versions."""

    charset: str = "utf-8"
    prompt: str = "dubbo>"
    has_result_prefix: bool = False
    """2.7.1 and later write ``result: `` and name the service before it."""
    ends_arguments_at_first_bracket: bool = False
    """2.7.16 to 2.7.23."""
    cuts_at_first_space: bool = False
    """QoS of 3.0.2 to 3.1.1."""
    fails_at_null_arguments: bool = False
    """2.5.7 to 2.6.3 answer ``null`` and nothing else."""
    has_bytes_as_list: bool = False
    """3.3 writes byte[] so; earlier versions as base64."""
    has_invoke: bool = True
    refusal: str = "Unsupported command: {command}"
    """What it says of a command that it does not have."""
    is_qos: bool = False
    banner_after_s: float = 0.5
    least_bytes: int = 0
    """3.3 looks at nothing shorter on its service port."""
    most_line_bytes: int | None = None
    """QoS drops a longer line without a word."""


DIALECTS = {
    "2.5.3": Dialect(charset="gbk"),
    "2.5.8": Dialect(charset="gbk", fails_at_null_arguments=True),
    "2.6.3": Dialect(fails_at_null_arguments=True),
    "2.6.12": Dialect(),
    "2.7.0": Dialect(),
    "2.7.8": Dialect(has_result_prefix=True),
    "2.7.15": Dialect(
        has_invoke=False,
        has_result_prefix=True,
        refusal="Command: {command} disabled for security reasons, please enable support by listing "
        "the commands through 'telnet'",
    ),
    "2.7.23": Dialect(has_result_prefix=True, ends_arguments_at_first_bracket=True),
    "3.0.1": Dialect(has_result_prefix=True),
    "3.3.1": Dialect(has_invoke=False, least_bytes=5),
    "3.0.2 qos": Dialect(
        is_qos=True, has_result_prefix=True, cuts_at_first_space=True, most_line_bytes=2048
    ),
    "3.3.1 qos": Dialect(
        is_qos=True, has_result_prefix=True, has_bytes_as_list=True, most_line_bytes=2048
    ),
}
"""Version -> how its service port, or its QoS port, writes."""
