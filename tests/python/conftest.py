"""A running server, a receiver of deliveries, and the SDK's methods for each scope of webhooks."""

import collections
import http.server
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.request

import pytest
from pulumi_cloud_sdk import ApiClient, Configuration
from pulumi_cloud_sdk.apis.environments_api_ import EnvironmentsApi
from pulumi_cloud_sdk.apis.organizations_api_ import OrganizationsApi
from pulumi_cloud_sdk.apis.stacks_api_ import StacksApi

ORGANIZATION = "myorg"
TOKEN = "test-token-of-more-than-32-characters"
DEADLINE_SECONDS = 60


class Server:
    """The binary that STACKBELL_BINARY names, on a data folder of its own."""

    def __init__(self, folder):
        self.log_path = folder / "log"
        command = [os.environ["STACKBELL_BINARY"], "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]
        command += ["--data", str(folder / "data"), "--outbound-allow", "127.0.0.0/8"]
        environment = {"STACKBELL_BOOTSTRAP_ORG": ORGANIZATION, "STACKBELL_BOOTSTRAP_TOKEN": TOKEN}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log)
        try:
            self.url = f"http://{self._wait(self._address)}"
            self._wait(self._is_ready)
        except BaseException:
            self.process.kill()
            raise

    def log(self):
        """The lines of the log; the last one may be under way."""
        whole, _, _ = self.log_path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def publish(self, event):
        """Publishes an event and gives what the server says of it."""
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        body = json.dumps(event).encode()
        request = urllib.request.Request(f"{self.url}/v1/orgs/{ORGANIZATION}/events", body, headers)
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as response:
            return json.load(response)

    def stop(self):
        """Stops it, which must succeed, and checks that it had nothing to complain of."""
        self.process.terminate()
        assert self.process.wait(DEADLINE_SECONDS) == 0
        assert [line for line in self.log() if line["level"] == "ERROR"] == []

    def _address(self):
        serving = [line["listen"] for line in self.log() if line["message"] == "stackbell serves"]
        return serving[0] if serving else None

    def _is_ready(self):
        with urllib.request.urlopen(f"{self.url}/readyz", timeout=DEADLINE_SECONDS) as response:
            return response.status == 200

    def _wait(self, look):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log_path.read_text()
            found = look()
            if found:
                return found
            time.sleep(0.01)
        raise AssertionError(self.log_path.read_text())


Received = collections.namedtuple("Received", "path headers body")


class Receiver:
    """An endpoint on loopback that answers 200 and remembers."""

    def __init__(self):
        self._arrived = threading.Condition()
        self._received = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._arrived:
                    receiver._received.append(Received(self.path, dict(self.headers.items()), body))
                    receiver._arrived.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"OK")

            def log_message(self, *arguments):
                """Says nothing: a test that fails shows what arrived."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def at(self, path, count):
        """Waits until so many requests came to this path, and gives them."""

        def received():
            return [request for request in self._received if request.path == path]

        with self._arrived:
            assert self._arrived.wait_for(lambda: len(received()) >= count, DEADLINE_SECONDS), received()
            return received()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Hooks:
    """The SDK's eight methods for the webhooks of one scope."""

    def __init__(self, api, place, names, scope, filter_for_it):
        self._call = {verb: getattr(api, name) for verb, name in names.items()}
        self._place = place
        self.scope = scope
        self.filter = filter_for_it

    def __getattr__(self, verb):
        return lambda *arguments: self._call[verb](*self._place, *arguments)


def _organization_or_stack(noun):
    return {
        "create": f"create_{noun}_webhook",
        "update": f"update_{noun}_webhook",
        "list": f"list_{noun}_webhooks",
        "get": f"get_{noun}_webhook",
        "delete": f"delete_{noun}_webhook",
        "ping": f"ping_{noun}_webhook",
        "deliveries": f"get_{noun}_webhook_deliveries",
        "redeliver": f"redeliver_{noun}_webhook_event",
    }


def _environment(suffix):
    return {
        "create": f"create_webhook_{suffix}",
        "update": f"update_webhook_{suffix}",
        "list": f"list_webhooks_{suffix}",
        "get": f"get_webhook_{suffix}",
        "delete": f"delete_webhook_{suffix}",
        "ping": f"ping_webhook_{suffix}",
        "deliveries": f"get_webhook_deliveries_{suffix}",
        "redeliver": f"redeliver_webhook_event_{suffix}",
    }


STACK = {"project_name": "myproject", "stack_name": "production"}
ESC = {"project_name": "myproject", "env_name": "development"}
# The deprecated routes have no project. Source: wire-facts.md#preview-environments
PREVIEW = {"project_name": "default", "env_name": "preview"}

SCOPES = {
    "organization": (OrganizationsApi, (), _organization_or_stack("organization"), {}, "update_succeeded"),
    "stack": (StacksApi, ("myproject", "production"), _organization_or_stack("stack"), STACK, "update_succeeded"),
    "esc": (
        EnvironmentsApi,
        ("myproject", "development"),
        _environment("esc_environments"),
        ESC,
        "environment_revision_created",
    ),
    "p7_preview": (
        EnvironmentsApi,
        ("preview",),
        _environment("preview_environments"),
        PREVIEW,
        "environment_revision_created",
    ),
}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(pathlib.Path(tmp_path_factory.mktemp("server")))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture(params=SCOPES)
def hooks(request, server):
    """The methods of each scope in turn; what a test leaves is deleted."""
    api, place, names, scope, filter_for_it = SCOPES[request.param]
    configuration = Configuration()
    configuration.host = server.url
    configuration.access_token = TOKEN
    hooks = Hooks(api(ApiClient(configuration)), (ORGANIZATION, *place), names, scope, filter_for_it)
    yield hooks
    for left in hooks.list():
        hooks.delete(left.name)
