"""All lifecycles of the room by name: for the documentation and for tests."""

from collections.abc import Callable, Mapping

from materials_api import case_lifecycle, grant_lifecycle, material_lifecycle

DIAGRAMS: Mapping[str, Callable[[], str]] = {
    "case": case_lifecycle.diagram,
    "material": material_lifecycle.diagram,
    "grant": grant_lifecycle.diagram,
}
