"""How property tests draw their examples.

    suite     the same examples in every run of the same code: a red run is somebody's change, never an unlucky draw
    explore   `make explore`: new examples in every run, and many; what it finds becomes an `@example` or a test

A busy machine fails neither: no example has a time limit of its own, nor has the drawing of examples.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("suite", unhurried, derandomize=True)
settings.register_profile("explore", unhurried, max_examples=2000)
settings.load_profile("suite")
