"""How long hypothesis looks: a fair while for each change, long where an environment variable asks for it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
settings.register_profile("brief", max_examples=350, derandomize=True, **_COMMON)  # type: ignore[arg-type]
settings.register_profile(
    "long",
    max_examples=int(os.environ.get("TRAYAGENT_HISTORIES", "0")) or 20_000,
    **_COMMON,  # type: ignore[arg-type]
)
settings.load_profile("long" if "TRAYAGENT_HISTORIES" in os.environ else "brief")
