"""A Dubbo provider in Python that speaks as the Java ones do, with their faults, for tests and demos."""

from tornado_multi.testing.dubbo.dialects import DIALECTS, Dialect
from tornado_multi.testing.dubbo.provider import DubboProvider, Faults
from tornado_multi.testing.dubbo.services import AccountService, JavaException, java

__all__ = [
    "DIALECTS",
    "AccountService",
    "Dialect",
    "DubboProvider",
    "Faults",
    "JavaException",
    "java",
]
