"""GitHub's API on this machine, and what its runner reads of a step."""

import contextlib
import io
import json
import zipfile
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from bench_core.ci.outcome import KINDS, SCHEMA, Outcome, Row

REPOSITORY = "owner/project"
TOKEN = "the-token"
OWN, FORK = 7, 8
"""The ids of the repository and of a fork."""

LABEL = "benchmark-ok"
BOT = {"login": "github-actions[bot]", "type": "Bot"}


class GitHub:
    """What GitHub knows of one repository, and the requests that it was sent.

    Attributes:
        refused: paths that it answers with 403.
    """

    def __init__(self):
        self.pulls, self.comments, self.events, self.runs, self.artifacts, self.files = [], [], [], [], {}, []
        self.requests, self.storage, self.refused = [], {}, set()

    def open(self, number=12, head="a" * 40, base="b" * 40, fork=False, branch="faster", **more):
        """Open a pull request, and return GitHub's description of it."""
        source = {"id": FORK if fork else OWN, "owner": {"login": "stranger" if fork else "owner"}}
        made = {
            "number": number,
            "state": "open",
            "head": {"sha": head, "ref": branch, "repo": source},
            "base": {"sha": base, "ref": "main", "repo": {"id": OWN}},
            **more,
        }
        self.pulls.append(made)
        return made

    def comment(self, body, user=BOT):
        self.comments.append({"id": len(self.comments) + 1, "user": user, "body": body})

    def label(self, on, by="maintainer", date="2026-01-02T03:04:05Z", name=LABEL, action="labeled", repository=OWN):
        """Put a label on a pull request whose last commit is `on`. GitHub then starts a run."""
        self.events.append({"event": action, "label": {"name": name}, "actor": {"login": by}, "created_at": date})
        self.run(on, date, repository)

    def run(self, sha, date, repository=OWN, branch="faster"):
        run = {"head_sha": sha, "created_at": date, "head_branch": branch, "head_repository": {"id": repository}}
        self.runs.insert(0, run)  # the newest first, as GitHub lists them

    def leave(self, run, files, name="bench-core-outcome", size=None):
        """Let a run leave an artifact with these files."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        number = 100 + len(self.storage)
        self.storage[number] = packed.getvalue()
        entry = {"id": number, "name": name, "size_in_bytes": len(packed.getvalue()) if size is None else size}
        self.artifacts.setdefault(run, []).append(entry)

    def answer(self, method, path, query, content):
        """The status and the answer to a request below the repository."""
        parts = path.split("/")
        if any(path.startswith(one) for one in self.refused):
            return 403, {"message": "Resource not accessible by integration"}
        match method, parts:
            case "GET", ["pulls"]:
                return 200, self._page([one for one in self.pulls if self._is_asked(one, query)], query)
            case "GET", ["pulls", _, "files"]:
                return 200, self._page([{"filename": name} for name in self.files], query)
            case "GET", ["issues", _, "comments"]:
                return 200, self._page(self.comments, query)
            case "POST", ["issues", _, "comments"]:
                self.comment(content["body"])
                return 201, self.comments[-1]
            case "PATCH", ["issues", "comments", number]:
                self.comments[int(number) - 1]["body"] = content["body"]
                return 200, self.comments[int(number) - 1]
            case "GET", ["issues", _, "events"]:
                return 200, self._page(self.events, query)
            case "GET", ["actions", "runs"]:
                since = query["created"].removeprefix(">=")
                runs = [one for one in self.runs if one["created_at"] >= since]
                return 200, {"workflow_runs": self._page(runs, query)}
            case "GET", ["actions", "runs", run, "artifacts"]:
                return 200, {"artifacts": self._page(self.artifacts.get(run, []), query)}
        return 404, {"message": "Not Found"}

    @staticmethod
    def _is_asked(pull, query):
        head = pull["head"]
        same = query.get("head") in (None, f"{head['repo']['owner']['login']}:{head['ref']}")
        return same and pull["state"] == query["state"]

    @staticmethod
    def _page(entries, query):
        size, page = int(query["per_page"]), int(query.get("page", 1))
        return entries[(page - 1) * size : page * size]


class Handler(BaseHTTPRequestHandler):
    def _answered(self):
        there = self.server.github
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        content = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        there.requests.append((self.command, address.path, self.headers.get("Authorization")))
        if address.path.startswith("/storage/"):
            self._send(200, there.storage[int(address.path.rpartition("/")[2])])
            return
        path = address.path.removeprefix(f"/repos/{REPOSITORY}/")
        if path.endswith("/zip"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/storage/{path.split('/')[2]}")
            self.end_headers()
            return
        status, answer = there.answer(self.command, path, query, content)
        self._send(status, json.dumps(answer).encode())

    do_GET = do_POST = do_PATCH = _answered  # noqa: N815 - named by http.server

    def _send(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client reads no more than it wants
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def outputs_in(text):
    """The outputs in a file of GitHub's runner, as the runner reads it."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, _, end = line.partition("<<")
        value = []
        for each in lines:
            if each == end:
                break
            value.append(each)
        found[name] = "\n".join(value)
    return found


def row(kind, name, change="+9.1 % (+8.1 … +9.7 %)", base="31.3 µs", head="34.1 µs", why=""):
    return Row(kind, name, change, base, head, why)


def of(*rows, verdict="pass", exit_code=0, base="b" * 40, head="a" * 40, **more):
    """An outcome with these rows."""
    counts = tuple(sum(one.kind == kind for one in rows) for kind in KINDS)
    usual = {"suite": "", "reason": "1 of 4 cells slower", "seconds": 19.2, "unaffected": 2, "notes": ("no noise",)}
    found = {**usual, "counts": counts, **more}
    return Outcome(
        schema=SCHEMA, tool="0.1.0", verdict=verdict, exit_code=exit_code, base=base, head=head, rows=rows, **found
    )


SLOWER = row("slower", "counting.Count.time_count(cpu, 100)", why="64 more calls of words.count (1 → 65)")
PASSED = row("passed", "counting.Count.time_other", "+0.1 % (at most +1.8 %)")
UNKNOWN = row("unknown", "counting.Count.time_noise", why="noise: pairs scatter by 4.0 %")
BROKEN = row("broken", "counting.Count.time_gone", "", "", "", "head: KeyError: 'gone'")
RED = of(SLOWER, UNKNOWN, PASSED, verdict="regression", exit_code=1)
GREEN = of(PASSED)
