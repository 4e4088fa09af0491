"""Master keys of the tests: an old one, which the service of `store_fixture` has, and a new one."""

from receiver.domain.clock import Clock
from receiver.security.tokens import MasterKeys

OLD, NEW = "m" * 32, "n" * 32
MASTERS = MasterKeys([OLD], Clock().entropy)


def both() -> MasterKeys:
    """Return the keys of a replica that was restarted with the new key."""
    return MasterKeys([NEW, OLD], Clock().entropy)
