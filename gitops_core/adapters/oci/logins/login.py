"""What a cloud's login ends with."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from gitops_core.oci.credentials import Credentials


class Login(NamedTuple):
    credentials: Credentials
    expires: datetime
