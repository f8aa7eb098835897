"""Routes of this room: uploads, cases, materials, documents, tasks, grants, verifications."""

from fastapi import APIRouter

from materials_api.http import (
    cases,
    catalogue,
    documents,
    downloads,
    exemptions,
    grants,
    material_form,
    materials,
    receipts,
    registers,
    tasks,
    uploads,
    uses,
    verifications,
)
from materials_api.room import MaterialsRoom
from parties.http import Access


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """All routers of the room in one."""
    router = APIRouter()
    for module in (
        # First, because routes are matched in order and this one is asked most.
        verifications,
        uploads,
        cases,
        # Before `materials`: `…/materials/form` is no material's id.
        material_form,
        materials,
        documents,
        tasks,
        exemptions,
        grants,
        downloads,
        uses,
        receipts,
        registers,
        catalogue,
    ):
        router.include_router(module.routes(room, access))
    return router
