"""HTTP as every adapter speaks it: sessions with limits."""

from gitops_core.adapters.http.certificates import Authorities as Authorities
from gitops_core.adapters.http.certificates import is_slow as is_slow
from gitops_core.adapters.http.certificates import show_certificate as show_certificate
from gitops_core.adapters.http.proxies import find_proxy as find_proxy
from gitops_core.adapters.http.sessions import BodyTooLarge as BodyTooLarge
from gitops_core.adapters.http.sessions import open_session as open_session
from gitops_core.adapters.http.sessions import parse_retry_after as parse_retry_after
from gitops_core.adapters.http.sessions import pass_body as pass_body
from gitops_core.adapters.http.sessions import read_body as read_body
from gitops_core.adapters.http.socks import SocksFailed as SocksFailed
from gitops_core.adapters.http.socks import is_socks as is_socks
