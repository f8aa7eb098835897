// Starts Swagger UI on the schema that the page names. Kept apart from the page:
// its content security policy allows no script inside.
"use strict";
window.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("swagger");
  window.SwaggerUIBundle({
    url: place.dataset.openapi,
    domNode: place,
    deepLinking: true,
    docExpansion: "none",
    displayRequestDuration: true,
    // No document leaves for a validator elsewhere, and no credential is kept.
    validatorUrl: null,
    persistAuthorization: false,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
  });
});
