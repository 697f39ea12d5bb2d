"""Receives webhooks, and rejects every request without a valid signature.

    WEBHOOK_SECRET='a secret' python3 receiver.py PORT [standard|pulumi]

Needs nothing but Python 3.9 or later. Each event becomes a line of JSON on standard output.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import http.server
import json
import os
import sys
import threading
import time

# Stackbell sends at most 256 KiB, unless its `payload_bytes_max` is set higher.
BODY_BYTES_MAX = 1024 * 1024
# The tolerance of the Standard Webhooks libraries: enough for clocks that differ, too little for replays.
TOLERANCE_SECONDS = 5 * 60
# More ids than can arrive within the tolerance, so a replay has either a known id or an old time.
IDS_MAX = 10_000
# The timeout for a silent client. Stackbell itself gives up after 15 seconds.
SILENCE_SECONDS = 15


class Refused(Exception):
    """The reason why a request is rejected."""


def standard_key(secret):
    """Returns the key of Standard Webhooks: the decoded `whsec_` secret, or the bytes of any other secret."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        key = base64.b64decode(secret[len("whsec_") :], validate=True)
    except binascii.Error:
        key = b""
    if not key:
        sys.exit("WEBHOOK_SECRET begins with whsec_, and what follows is not base64")
    return key


def verify_standard(key, headers, body):
    """Verifies signature and time. Returns the id, which is signed too."""
    event_id, sent_at = headers.get("webhook-id"), headers.get("webhook-timestamp")
    signatures = headers.get("webhook-signature")
    if not (event_id and sent_at and signatures):
        raise Refused("not signed: webhook-id, webhook-timestamp and webhook-signature are needed")
    signed = b".".join([event_id.encode(), sent_at.encode(), body])
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    right = b"v1," + base64.b64encode(digest)
    # After a rotation there are two signatures: one by the new secret and, for a day, one by the old.
    # compare_digest takes constant time, so that nobody can guess a signature byte by byte.
    if not any(hmac.compare_digest(right, one.encode()) for one in signatures.split(" ")):
        raise Refused("wrong signature")
    # The time is signed, so the sender set it.
    if abs(time.time() - int(sent_at)) > TOLERANCE_SECONDS:
        raise Refused("signed too long ago, or for the future: a replay, or a clock that is wrong")
    return event_id


def verify_pulumi(key, headers, body):
    """Verifies the signature. It covers neither time nor id, so a replay is not detected."""
    signature, event_id = headers.get("Pulumi-Webhook-Signature"), headers.get("Pulumi-Webhook-Id")
    if not (signature and event_id):
        raise Refused("not signed: Pulumi-Webhook-Id and Pulumi-Webhook-Signature are needed")
    right = hmac.new(key, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right.encode(), signature.encode()):
        raise Refused("wrong signature")
    return event_id


# The receiver sets the required scheme. If the request could choose, a replay would simply omit the time.
SCHEMES = {"standard": (standard_key, verify_standard), "pulumi": (str.encode, verify_pulumi)}


class Ids:
    """The newest ids. They are lost when the process ends; a receiver that must not act twice stores them."""

    def __init__(self):
        self._lock = threading.Lock()
        self._ids = {}

    def add(self, event_id):
        """Returns true if the id is new."""
        with self._lock:
            if event_id in self._ids:
                return False
            self._ids[event_id] = None
            if len(self._ids) > IDS_MAX:
                # A dictionary keeps the order of insertion, so this id is the oldest.
                del self._ids[next(iter(self._ids))]
            return True


def summary(kind, payload):
    """Returns one line of JSON, so that a payload cannot start a line of its own."""
    name = payload.get("stackName") or payload.get("environmentName")
    names = [payload["projectName"], name] if "projectName" in payload and name else []
    found = (payload[field] for field in ("result", "status", "action", "level") if field in payload)
    return json.dumps({"kind": kind, "name": "/".join(names) or None, "result": next(found, None)})


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = SILENCE_SECONDS

    def do_POST(self):
        try:
            length = int(self.headers["Content-Length"])
        except (TypeError, ValueError):
            return self.answer(411, "the body's length is needed")
        if not 0 <= length <= BODY_BYTES_MAX:
            return self.answer(413, f"the body has more than {BODY_BYTES_MAX} bytes")
        # The signature covers the received bytes. JSON that was parsed and serialized again may differ.
        body = self.rfile.read(length)
        try:
            event_id = self.server.verify(self.server.key, self.headers, body)
        except Refused as refused:
            return self.answer(401, str(refused))
        # The body is parsed only after the signature was verified. The signature does not cover the kind
        # header, so decide by the body.
        try:
            line = summary(self.headers.get("Pulumi-Webhook-Kind"), json.loads(body))
        except ValueError:
            return self.answer(400, "the body is not JSON")
        # A duplicate gets the response of the first request, or it would be sent again.
        if self.server.ids.add(event_id):
            print(line, flush=True)
        self.answer(204)

    def answer(self, status, text=""):
        self.send_response(status)
        if text:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        """Logs nothing, so that only events are printed."""


def main():
    parser = argparse.ArgumentParser(description="Receives webhooks, and believes none that is not signed.")
    parser.add_argument("port", type=int)
    parser.add_argument("scheme", nargs="?", choices=SCHEMES, default="standard")
    arguments = parser.parse_args()
    secret = os.environ.get("WEBHOOK_SECRET")
    if not secret:
        sys.exit("WEBHOOK_SECRET is not set")
    make_key, verify = SCHEMES[arguments.scheme]
    # The address is on loopback. To be reachable from outside, put a proxy with TLS in front of it.
    server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.key, server.verify, server.ids = make_key(secret), verify, Ids()
    print(f"listening on http://127.0.0.1:{server.server_port}/", file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
