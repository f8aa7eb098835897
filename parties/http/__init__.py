"""Routes of this room, and what the routes of every room need: access and wire types."""

from parties.http.access import Access, Monitoring, RouteAccess, access_of
from parties.http.capacities import PartiesRoom, routes

__all__ = ["Access", "Monitoring", "PartiesRoom", "RouteAccess", "access_of", "routes"]
