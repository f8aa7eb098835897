"""What the web framework's own telemetry does here: nothing."""

from fastapi.telemetry import TelemetryConfig

# It would send paths, queries and texts of errors wherever an environment variable says.
# Ours: `runtime.tracing`.
NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
