"""The address at which a process is to be reached."""

import errno
import socket

from runtime.errors import AddressInUse, AddressRefused


def take_address(host: str, port: int) -> socket.socket:
    """A socket that has the address, IPv4 or IPv6, and does not listen yet; port 0: any.

    `AddressInUse`; `AddressRefused`: this computer has no such address, or the port wants
    rights that the process does not have.
    """
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(address=shown(host, port), reason=_reason(error)) from None
    family, kind, protocol, _, address = known[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(address=shown(host, port)) from None
        raise AddressRefused(address=shown(host, port), reason=_reason(error)) from None
    return listener


def listen(listener: socket.socket) -> None:
    """`AddressInUse`: another process took the same address and was faster."""
    try:
        listener.listen(1024)
    except OSError:
        raise AddressInUse(address=shown(*listener.getsockname()[:2])) from None


def shown(host: str, port: int) -> str:
    """As in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError | UnicodeError) -> str:
    """The system's own words, which operators look for."""
    return (error.strerror or "").lower() if isinstance(error, OSError) else "not a name"
