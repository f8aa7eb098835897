"""All lifecycles of the room by name: for the documentation and for tests."""

from collections.abc import Callable, Mapping

from materials_api.cases import lifecycle as case_lifecycle
from materials_api.grants import lifecycle as grant_lifecycle
from materials_api.materials import lifecycle as material_lifecycle

DIAGRAMS: Mapping[str, Callable[[], str]] = {
    "case": case_lifecycle.diagram,
    "material": material_lifecycle.diagram,
    "grant": grant_lifecycle.diagram,
}
