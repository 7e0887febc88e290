"""The label that accepts a regression.

The label counts for the commit that it was put on. A later push needs it again, so that nobody can have something small
accepted and then push something large. GitHub does not say which commit a label was put on. But the label starts a run
of the workflow, and a run has its commit: the first run of the branch since then is on that commit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench_core.ci.event import Pull
from bench_core.ci.github import Api, ApiError


@dataclass(frozen=True)
class Acceptance:
    """Who has accepted a regression.

    Attributes:
        by: the user of GitHub.
        date: when, ISO 8601, UTC.
        label: by which label.
        commit: the full hash of the commit that it was put on.
    """

    by: str
    date: str
    label: str
    commit: str


@dataclass(frozen=True)
class Refused:
    """Why a label that is there does not count, in a sentence."""

    reason: str


def acceptance(api: Api, pull: Pull, head: str, label: str) -> Acceptance | Refused | None:
    """Who has accepted the regression of the commit `head`; None if the pull request does not have the label.

    Everything comes from GitHub, and nothing from the job that measures.

    Raises:
        ApiError: if GitHub does not answer.
    """
    last = None
    for one in api.listed(f"issues/{pull.number}/events"):
        if one.get("event") in ("labeled", "unlabeled") and (one.get("label") or {}).get("name") == label:
            last = one
    if last is None or last["event"] == "unlabeled":
        return None
    by, date = str((last.get("actor") or {}).get("login")), str(last.get("created_at"))
    if not _LOGIN.fullmatch(by) or not _DATE.fullmatch(date):
        return Refused("GitHub does not say who put the label, and when.")
    on = _commit_of(api, pull, date)
    if not on:
        return Refused(
            "No run of the workflow has followed the label. Let the workflow run on `labeled` too, and put the label "
            "again."
        )
    if on != head:
        return Refused("The label was put on an earlier commit. To accept this one, remove the label and put it again.")
    return Acceptance(by, date, label, head)


_LOGIN = re.compile(r"[A-Za-z0-9-]{1,39}(\[bot\])?")

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def _commit_of(api: Api, pull: Pull, date: str) -> str:
    """The commit of the first run of the pull request's branch from that moment on; "" without one."""
    runs = api.listed("actions/runs", "workflow_runs", event="pull_request", branch=pull.branch, created=f">={date}")
    own = [
        (str(run.get("created_at")), str(run.get("head_sha")))
        for run in runs
        if (run.get("head_repository") or {}).get("id") == pull.repository and str(run.get("created_at")) >= date
    ]
    return min(own)[1] if own else ""


def explained(error: ApiError) -> str:
    """An error with the permissions that reading a label needs."""
    if error.status not in (401, 403, 404):
        return str(error)
    return f"{error} To read who put a label, the job needs the permissions `actions: read` and `pull-requests: read`."
