"""How a command goes through the proxy of a GitAccess: to its environment, as all else that is secret.

    http, https, socks5   git's own `http.proxy`, by GIT_CONFIG_*; a name is resolved by the proxy
    ssh                   `tunnel.py` as ProxyCommand, which is told where to by its environment too

The operator's own proxies, and what NO_PROXY leaves out of them, do not count then.

Source: git-scm.com/docs/git-config (http.proxy), curl(1), ssh_config(5).
"""

from __future__ import annotations

import base64
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from gitops_core.errors import GitAccessDenied
from gitops_core.meta import Sensitive

PORTS = {"http": 80, "https": 443, "socks5": 1080}
TUNNEL = Path(__file__).with_name("tunnel.py")


@dataclass(frozen=True)
class Proxy:
    """A proxy's place, and the user and password that it wants."""

    scheme: str
    host: str
    port: int
    username: str = ""
    password: Sensitive = field(default=Sensitive(b""))

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    def write_url(self, scheme: str) -> str:
        user = quote(self.username, safe="")
        login = f"{user}:{quote(self.password.reveal_text(), safe='')}@" if user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{login}{host}:{self.port}"

    def mute(self, text: str) -> str:
        """Remove the password from `text`, as it is, as a URL and as a header has it."""
        secret = self.password.reveal_text()
        header = base64.b64encode(f"{self.username}:{secret}".encode()).decode()
        for spelled in (secret, quote(secret, safe=""), header) if secret else ():
            text = text.replace(spelled, "***")
        return text


def parse_proxy(address: Sensitive) -> Proxy:
    """Parse a proxy's URL. Raises GitAccessDenied, which quotes nothing of it."""
    parts = urlsplit(address.reveal_text())
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if re.search(r"[\x00-\x1f\x7f]", f"{username}{password}") or ":" in username:
        raise GitAccessDenied("the proxy's user or password holds a colon or a line break")
    if not re.fullmatch(r"[0-9A-Za-z._:-]+", parts.hostname or ""):
        raise GitAccessDenied("the proxy's address names no host")
    port = parts.port or PORTS[parts.scheme]
    return Proxy(parts.scheme, str(parts.hostname), port, username, Sensitive(password))


def go_by_http(proxy: Proxy, config: dict[str, str], environment: dict[str, str]) -> None:
    config["http.proxy"] = proxy.write_url("socks5h" if proxy.scheme == "socks5" else proxy.scheme)
    config["http.proxyAuthMethod"] = "basic"  # asked once, not first refused
    if "http.sslCAInfo" in config:
        config["http.proxySSLCAInfo"] = config["http.sslCAInfo"]
    environment |= {"NO_PROXY": "", "no_proxy": ""}


def go_by_ssh(proxy: Proxy, host: str, port: int, environment: dict[str, str]) -> str:
    """Return the option of ssh."""
    environment |= {"SEALOOP_PROXY": proxy.write_url(proxy.scheme), "SEALOOP_TARGET": f"{host}:{port}"}
    return f"ProxyCommand={shlex.join([sys.executable, '-I', '-S', str(TUNNEL)])}"
