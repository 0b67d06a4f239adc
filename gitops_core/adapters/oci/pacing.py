"""How often a host is asked: a bucket of tokens each, and silence when it says so.

    every request takes a token            `rate` come back a second, up to `burst`
    429                                    half the rate, which grows again with each good answer
    429, 503 with Retry-After              nobody asks that host until then
    RateLimit-Remaining, RateLimit-Reset   no more than remain until the reset; none remain: nobody asks until then

Time is the event loop's.

Source: RFC 9110 10.2.3; draft-ietf-httpapi-ratelimit-headers, version 6, which is what registries send.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from gitops_core.adapters.http import parse_retry_after
from gitops_core.errors import RegistryUnavailable

SLOWEST = 0.5
"""Requests a second that are left however often a host says 429."""
LONGEST_RESET = 3600.0
MOST_HOSTS = 1000

_NUMBER = re.compile(r"\s*(\d{1,9})(?=\s*(?:[;,]|$))")


class Pace:
    """One host's bucket.

    Args:
        rate: tokens a second.
        burst: tokens that a full bucket holds.
        longest: seconds that a request waits for its token.
    """

    def __init__(self, host: str, rate: float, burst: float, longest: float) -> None:
        self._host, self._full_rate, self._burst, self._longest = host, rate, burst, longest
        self._rate, self._tokens, self._filled = rate, burst, _now()
        self._scarce_until = 0.0
        self._silent_until, self._why = 0.0, ""

    async def take_turn(self) -> None:
        """Take a token, or wait for one.

        Raises:
            RegistryUnavailable: the host asked for silence, or too many wait already; `retry_after` says how long.
        """
        self._refuse_while_silent()
        self._fill()
        self._tokens -= 1
        if self._tokens >= 0:
            return
        wait = -self._tokens / self._rate + max(0.0, self._scarce_until - _now())
        try:
            self._refuse_long(wait)
            await asyncio.sleep(wait)
            self._refuse_while_silent()
        except BaseException:
            self._tokens += 1
            raise

    def learn(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer's status how fast the next requests may be."""
        if status < HTTPStatus.BAD_REQUEST:
            self._rate = min(self._full_rate, self._rate + self._full_rate / 100)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._fill()
            self._rate = max(self._rate / 2, SLOWEST)
            self._tokens = min(self._tokens, self._rate)
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            delay = parse_retry_after(headers.get("Retry-After"), datetime.now(UTC))
            if delay:
                self._be_silent(delay, f"it answered {status} and named a time to wait")
        remaining, reset = _parse_number(headers, "RateLimit-Remaining"), _parse_number(headers, "RateLimit-Reset")
        if remaining is not None and reset and reset <= LONGEST_RESET:
            self._divide(remaining, reset)

    @property
    def is_usual(self) -> bool:
        """Tell whether nothing would be lost by forgetting this pace."""
        self._fill()
        now = _now()
        full = self._tokens >= self._burst and self._rate >= self._full_rate
        return full and now >= self._silent_until and now >= self._scarce_until

    def _divide(self, remaining: float, reset: float) -> None:
        if not remaining:
            self._be_silent(reset, "its rate limit is used up")
        elif remaining < self._burst:
            self._fill()
            self._tokens = min(self._tokens, remaining)
            self._scarce_until = _now() + reset

    def _fill(self) -> None:
        now = _now()
        since = max(self._filled, min(self._scarce_until, now))  # what remains until the reset is all there is
        self._tokens = min(self._burst, self._tokens + (now - since) * self._rate)
        self._filled = now

    def _be_silent(self, delay: float, why: str) -> None:
        until = _now() + delay
        if until > self._silent_until:
            self._silent_until, self._why = until, why

    def _refuse_long(self, wait: float) -> None:
        if wait > self._longest:
            message = f"registry {self._host}: too many requests wait for their turn"
            raise RegistryUnavailable(message, retry_after=wait)

    def _refuse_while_silent(self) -> None:
        left = self._silent_until - _now()
        if left > 0:
            message = f"registry {self._host} is not asked anything now: {self._why}"
            raise RegistryUnavailable(message, retry_after=left)


class Paces:
    """The bucket of each host.

    Args: see Pace.
    """

    def __init__(self, rate: float, burst: float, longest: float) -> None:
        self._rate, self._burst, self._longest = rate, burst, longest
        self._hosts: dict[str, Pace] = {}

    def get(self, host: str) -> Pace:
        pace = self._hosts.get(host)
        if pace is None:
            if len(self._hosts) >= MOST_HOSTS:
                self._hosts = {name: known for name, known in self._hosts.items() if not known.is_usual}
            pace = self._hosts[host] = Pace(host, self._rate, self._burst, self._longest)
        return pace


def _parse_number(headers: Mapping[str, str], name: str) -> float | None:
    match = _NUMBER.match(headers.get(name, ""))
    return float(match[1]) if match else None


def _now() -> float:
    return asyncio.get_running_loop().time()
