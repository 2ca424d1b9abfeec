"""One provider and the connections to it, in either protocol. Runs in: one process, on one loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.dubbo.binary_endpoint import BinaryEndpoint
from tornado_multi.dubbo.text_endpoint import TextEndpoint

if TYPE_CHECKING:
    from tornado_multi.dubbo.addresses import Address
    from tornado_multi.dubbo.options import Options

Endpoint = BinaryEndpoint | TextEndpoint


def make_endpoint(address: Address, options: Options) -> Endpoint:
    """Return the endpoint for the protocol of *options*; it opens nothing until it is called."""
    if options.protocol == "dubbo":
        return BinaryEndpoint(address, options)
    return TextEndpoint(address, options)
