"""The catalogue as data: matters, material types and registers, and the rules they carry.

`loader` reads the files; everything else here is pure.
"""

from materials_api.catalogue.loader import load_catalogue
from materials_api.catalogue.model import Catalogue

__all__ = ["Catalogue", "load_catalogue"]
