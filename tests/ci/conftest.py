"""A runner of GitHub, and GitHub's API on this machine."""

import io
import json
import threading
from http.server import ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from hub import LABEL, REPOSITORY, TOKEN, GitHub, Handler, outputs_in

from bench_core.ci.runner import Runner


@pytest.fixture
def github():
    """GitHub's API on localhost."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.github = made = GitHub()
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def step(tmp_path, github):
    """A step as GitHub's runner starts it: `runner` with its variables, `event` to set the event, and what it wrote."""
    temporary = tmp_path / "runner"
    temporary.mkdir()
    files = {name: temporary / name for name in ("event.json", "output", "summary")}
    for path in files.values():
        path.touch()
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": github.address,
        "GITHUB_EVENT_PATH": str(files["event.json"]),
        "GITHUB_OUTPUT": str(files["output"]),
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ID": "4711",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_SHA": "c" * 40,
        "GITHUB_STEP_SUMMARY": str(files["summary"]),
        "GITHUB_TOKEN": TOKEN,
        "RUNNER_TEMP": str(temporary),
        "BENCH_CORE_LABEL": LABEL,
    }
    log = io.StringIO()
    return SimpleNamespace(
        variables=variables,
        runner=Runner(variables, log),
        event=lambda content: files["event.json"].write_text(json.dumps(content)),
        outputs=lambda: outputs_in(files["output"].read_text()),
        summary=lambda: files["summary"].read_text(),
        log=log.getvalue,
        folder=temporary / "bench-core",
    )
