"""The binary as a process, and a receiver of its deliveries. For tests only; needs only Python's standard library."""

import collections
import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request

ORGANIZATION = "myorg"
TOKEN = "test-token-of-more-than-32-characters"
# The master key of servers on a database.
MASTER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
DEADLINE_SECONDS = 60


class Running:
    """A server at this URL."""

    def __init__(self, url):
        self.url = url

    def publish(self, event):
        """Publishes an event, and returns the server's response."""
        return self.call("POST", f"/v1/orgs/{ORGANIZATION}/events", event)

    def call(self, method, path, body=None):
        """Makes a request with the admin's token, which must succeed. Returns the JSON of the response, if there is any."""
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as response:
                text = response.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as refusal:
            refusal.add_note(f"{method} {path}: {refusal.read().decode()}")
            raise


class Server(Running):
    """The binary that STACKBELL_BINARY names, on a data folder of its own; `settings` are further variables.

    Its store is in the folder, or the database whose URL is in STACKBELL_TEST_DATABASE.
    """

    def __init__(self, folder, settings=None):
        self.log_path = folder / "log"
        command = [os.environ["STACKBELL_BINARY"], "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]
        command += ["--data", str(folder / "data"), "--outbound-allow", "127.0.0.0/8"]
        environment = {"STACKBELL_BOOTSTRAP_ORG": ORGANIZATION, "STACKBELL_BOOTSTRAP_TOKEN": TOKEN}
        database = os.environ.get("STACKBELL_TEST_DATABASE")
        if database:
            environment |= {"STACKBELL_STORE": database, "STACKBELL_MASTER_KEY": MASTER_KEY}
            subprocess.run([os.environ["STACKBELL_BINARY"], "migrate"], env=environment, check=True)
        environment.update(settings or {})
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log)
        try:
            super().__init__(f"http://{self._wait(self._address)}")
            self._wait(self._is_ready)
        except BaseException:
            self.process.kill()
            raise

    def log(self):
        """The lines of the log; the last one may be incomplete."""
        whole, _, _ = self.log_path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def complaints(self):
        """The errors and panics in its log."""
        lines = self.log_path.read_text().splitlines()
        return [line for line in lines if '"level":"ERROR"' in line or "panicked" in line]

    def stop(self):
        """Stops the server, which must succeed, and checks that it logged no errors."""
        self.process.terminate()
        code, complaints = self.process.wait(DEADLINE_SECONDS), self.complaints()
        assert code == 0, f"the server ended with {code}"
        assert complaints == [], "\n".join(complaints)

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
    """An endpoint on loopback. It records requests and responds 200, or the status at the end of the path, such as `/500`."""

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
                _, _, last = self.path.rpartition("/")
                self.send_response(int(last) if re.fullmatch("[2-5][0-9][0-9]", last) else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"OK")

            def log_message(self, *arguments):
                """Logs nothing: a failing test shows the received requests."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def at(self, path, count):
        """Waits until this many requests came to a path, and returns them."""

        def received():
            return [request for request in self._received if request.path == path]

        with self._arrived:
            assert self._arrived.wait_for(lambda: len(received()) >= count, DEADLINE_SECONDS), received()
            return received()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
