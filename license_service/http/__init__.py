"""Routes of the licence room."""

from license_service.http.routes import routes

__all__ = ["routes"]
