"""GitHub's API. No other module speaks to it. Answers are bounded in size and number, and redirects are not followed: a
token goes to the API alone."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench_core.errors import BenchCoreError

LARGEST = 8 * 2**20
"""The most bytes of an answer. 100 comments of the longest kind have 6.5 MB."""

MOST_PAGES = 20
"""The most pages of a list, of 100 entries each."""

PAGE = 100
"""The entries of a page, GitHub's largest number."""

TIMEOUT = 30.0
"""The seconds without an answer after which a request fails."""

LOCAL = ("localhost", "127.0.0.1", "::1")
"""The hosts that may be asked without encryption."""


class ApiError(BenchCoreError):
    """GitHub refuses a request, or cannot be reached.

    Attributes:
        status: the status of the answer; 0 without one.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the token to the new address, too."""

    def redirect_request(self, *asked: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True)
class Api:
    """The API as seen from one repository.

    Attributes:
        address: such as ``https://api.github.com``.
        repository: owner and name.
        token: it is not part of any text.
    """

    address: str
    repository: str
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise BenchCoreError(
                f"GITHUB_API_URL is {self.address!r}, which is not encrypted: it must begin with https."
            )
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.repository, re.ASCII):
            raise BenchCoreError(f"GITHUB_REPOSITORY is {self.repository!r}, not OWNER/NAME.")
        if not self.token:
            raise BenchCoreError("GITHUB_TOKEN is not set: pass `${{ github.token }}` to the action as `token`.")

    def get(self, path: str, **query: str | int) -> Any:
        """The answer to a request below the repository, such as ``pulls/12``.

        Raises:
            ApiError: if GitHub refuses it, or its answer is too long or no JSON.
        """
        return self._answer("GET", f"{path}?{urlencode(query)}" if query else path)

    def listed(self, path: str, key: str = "", **query: str | int) -> Iterator[Mapping[str, Any]]:
        """The entries of a list, page by page. `key` holds the list, if an answer is an object.

        Raises:
            ApiError: as in `get`, and if there are more than `MOST_PAGES` pages.
        """
        for page in range(1, MOST_PAGES + 1):
            found = self.get(path, **query, per_page=PAGE, page=page)
            entries = found.get(key) if key and isinstance(found, dict) else found
            if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
                raise ApiError(f"GitHub's answer about {path} is no list of objects.")
            yield from entries
            if len(entries) < PAGE:
                return
        raise ApiError(f"GitHub lists more than {MOST_PAGES * PAGE:,} entries for {path}.")

    def send(self, method: str, path: str, content: Mapping[str, Any]) -> Any:
        """Create (``POST``) or change (``PATCH``) something. Raises the same as `get`."""
        return self._answer(method, path, json.dumps(content).encode())

    def _answer(self, method: str, path: str, data: bytes | None = None) -> Any:
        with self._opened(method, path, data) as answer:
            content = bounded(answer, LARGEST, path)
        try:
            return json.loads(content or b"null")
        except (ValueError, RecursionError) as error:
            raise ApiError(f"GitHub's answer about {path} is no JSON: {error}.") from error

    def download(self, path: str, largest: int) -> bytes:
        """A file that the API redirects to, such as an artifact. The other host does not get the token.

        Raises:
            ApiError: if it cannot be had, or has more than `largest` bytes.
        """
        try:
            with self._opened("GET", path) as answer:
                return bounded(answer, largest, path)
        except _RedirectedError as there:
            address = there.address
        parts = urlsplit(address)
        if parts.scheme != "https" and parts.hostname not in LOCAL:
            raise ApiError(f"GitHub sends {path} to an address that is not encrypted.")
        with _opened(urllib.request.Request(address), path) as answer:
            return bounded(answer, largest, path)

    def _opened(self, method: str, path: str, data: bytes | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.address.rstrip('/')}/repos/{self.repository}/{path}",
            data=data,
            method=method,
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                "User-Agent": "bench-core",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        return _opened(request, path)


class _RedirectedError(Exception):
    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


def _opened(request: urllib.request.Request, path: str) -> Any:
    """The answer, whose content is not yet read."""
    try:
        return _OPENER.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            address = error.headers.get("Location")
            if error.code in (301, 302, 303, 307, 308) and address:
                raise _RedirectedError(address) from None
            raise ApiError(_refused(error, path), error.code) from None
    except (OSError, HTTPException) as error:
        raise ApiError(f"GitHub's API cannot be reached for {path}: {error}.") from error


def _refused(error: urllib.error.HTTPError, path: str) -> str:
    try:
        said = json.loads(error.read(10_000)).get("message")
    except (OSError, HTTPException, ValueError, AttributeError):
        said = None
    reason = f": {said[:200]}" if isinstance(said, str) and said.isprintable() else ""
    return f"GitHub answers {error.code} about {path}{reason}."


def bounded(answer: Any, largest: int, what: str) -> bytes:
    """What can be read of an answer.

    Raises:
        ApiError: if it has more than `largest` bytes, or the connection ends.
    """
    try:
        content: bytes = answer.read(largest + 1)
    except (OSError, HTTPException) as error:
        raise ApiError(f"the connection ended while {what} was read: {error}.") from error
    if len(content) > largest:
        raise ApiError(f"{what} has more than {largest:,} bytes.")
    return content
