"""The data of the fuzzed server, and the words for it that the fuzzer picks from.

Without them nearly every request would name an organization that does not exist.
Operations remove only data that is created to be removed, so the stock stays constant during the run.
"""

import json
import pathlib
import time
import urllib.error

from processes import DEADLINE_SECONDS, ORGANIZATION

OURS = f"/v1/orgs/{ORGANIZATION}"

STACK = {"projectName": "website", "stackName": "production"}
ENVIRONMENT = {"projectName": "website", "environmentName": "development"}
PREVIEW_ENVIRONMENT = {"projectName": "default", "environmentName": "preview"}

# The required fields of each published kind's payload.
PAYLOADS = {
    "stack_update": {**STACK, "kind": "update", "result": "succeeded"},
    "environment_revision": {**ENVIRONMENT, "action": "created"},
    "environment": {**PREVIEW_ENVIRONMENT, "action": "created"},
    "stack": {**STACK, "action": "created"},
    "stack_preview": {**STACK, "result": "failed", "isPreview": True},
    "deployment": {**STACK, "status": "running"},
    "drift_detection": {**STACK, "driftDetected": True, "status": "succeeded"},
    "policy_violation": {**STACK, "level": "advisory"},
}

# The routes and scopes of webhooks, by the operation that deletes them.
HOOKS = {
    "DeleteOrganizationWebhook": (f"/api/orgs/{ORGANIZATION}/hooks", {}),
    "DeleteStackWebhook": (f"/api/stacks/{ORGANIZATION}/website/production/hooks", STACK),
    "DeleteWebhook_esc_environments": (
        f"/api/esc/environments/{ORGANIZATION}/website/development/hooks",
        {"projectName": "website", "envName": "development"},
    ),
    "DeleteWebhook_preview_environments": (
        f"/api/preview/environments/{ORGANIZATION}/preview/hooks",
        {"projectName": "default", "envName": "preview"},
    ),
}

# The webhooks of each scope by name, and the status of their endpoints' responses.
ENDPOINTS = {"good": 200, "bad": 500, "lost": 404}
DOOMED = "doomed"
# Payload URLs of other formats, and unreachable ones: no packet leaves the network namespace.
ELSEWHERE = [
    "https://hooks.slack.com/services/T/B/x",
    "website/production",
    "http://203.0.113.1/",
    "https://example.com/",
]

USERS = [f"user-{number}" for number in range(8)]

# The routes of tokens, by the operation that revokes them.
TOKENS = {
    "RevokeOwnToken": "/v1/user/tokens",
    "RevokeUserToken": f"/v1/users/{USERS[0]}/tokens",
    "RevokeServiceToken": f"{OURS}/tokens",
}


def fill(server, receiver_url):
    """Creates users, tokens, webhooks, events, deliveries and a recovery, and returns the words for them."""
    for login in USERS:
        server.call("POST", "/v1/users", {"login": login})
        _make_member(server, login)
    _set_deployments(server, receiver_url)
    for operation_id in HOOKS:
        for name in ENDPOINTS:
            _make_webhook(server, receiver_url, operation_id, name)
    events = {kind: server.publish({"kind": kind, "payload": payload})["id"] for kind, payload in PAYLOADS.items()}
    deliveries = _delivered(server, len(ENDPOINTS) * 2 * len(events))
    webhooks = [webhook["id"] for webhook in server.call("GET", f"{OURS}/webhooks")]
    since = {"since": "2020-01-01T00:00:00Z"}
    recovery = server.call("POST", f"{OURS}/webhooks/{webhooks[0]}/recoveries", since)
    return {
        "organizations": [ORGANIZATION],
        "logins": USERS,
        "tokens": [_make_token(server, path) for path in TOKENS.values()],
        "events": list(events.values()),
        "stack-events": [events["stack_update"], events["deployment"]],
        "environment-events": [events["environment_revision"]],
        "preview-events": [events["environment"]],
        "deliveries": deliveries,
        "webhooks": webhooks,
        "recoveries": [recovery["id"]],
        "payload-urls": [f"{receiver_url}/{status}" for status in ENDPOINTS.values()] + ELSEWHERE,
        "api-urls": [f"{receiver_url}/200", "https://example.com/"],
    }


def write(words, folder):
    """Writes the words to the files that schemathesis.toml names."""
    for name, entries in words.items():
        (folder / f"{name}.dict").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))


def read(name):
    """Reads words from the fuzzer's working folder."""
    return [json.loads(line) for line in pathlib.Path(f"{name}.dict").read_text().splitlines()]


def prepare(server, receiver_url, operation_id, parameters):
    """Creates data for an operation to remove, so that it does not remove data that other operations need."""
    if operation_id in HOOKS and parameters["hookName"] in ENDPOINTS:
        parameters["hookName"] = DOOMED
        _make_webhook(server, receiver_url, operation_id, DOOMED)
    elif operation_id in TOKENS and parameters["tokenId"] in read("tokens"):
        parameters["tokenId"] = _make_token(server, TOKENS[operation_id])
    elif operation_id == "RemoveMember" and parameters["login"] in USERS:
        _make_member(server, parameters["login"])
    elif operation_id == "ResumeSending":
        _unless_done(server, "POST", "/v1/instance/sending/hold", {"reason": "to be resumed"})


def restore(server, receiver_url, operation_id):
    """Undoes the effect of an operation that would affect all later ones."""
    if operation_id in ("HoldSending", "ResumeSending"):
        _unless_done(server, "POST", "/v1/instance/sending/resume")
    elif operation_id == "RemoveDeployments":
        _set_deployments(server, receiver_url)


def _make_webhook(server, receiver_url, operation_id, name):
    path, scope = HOOKS[operation_id]
    names = {"organizationName": ORGANIZATION, "name": name, "displayName": name, **scope}
    url = f"{receiver_url}/{ENDPOINTS.get(name, 200)}"
    _unless_done(server, "POST", path, {**names, "payloadUrl": url, "active": True, "secret": "a secret"})


def _make_member(server, login):
    server.call("PUT", f"{OURS}/members/{login}", {"role": "member"})


def _make_token(server, path):
    """Creates a token and returns its id. If the owner has the most tokens allowed, returns the newest, which the fuzzer made."""
    made = _unless_done(server, "POST", path, {"name": "to be revoked", "role": "viewer"})
    return made["id"] if made else max(token["id"] for token in server.call("GET", path))


def _set_deployments(server, receiver_url):
    credential = {"apiUrl": f"{receiver_url}/200", "token": "pul-0123456789", "stacks": ["website/production"]}
    server.call("PUT", f"{OURS}/deployments", credential)


def _unless_done(server, method, path, body=None):
    """Makes a request. Returns None if it is refused with 409, because nothing is left to do."""
    try:
        return server.call(method, path, body)
    except urllib.error.HTTPError as refusal:
        if refusal.code != 409:
            raise
        return None


def _delivered(server, count):
    """Waits until the good endpoints have their deliveries. Returns the ids of all `count` deliveries, pending ones first.

    Deliveries to the other endpoints may be pending for long, because endpoints that keep failing get fewer attempts.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = server.call("GET", f"{OURS}/deliveries?pageSize=100")
        good = [delivery for delivery in found if delivery["webhook"]["name"] == "good"]
        if len(found) == count and all(delivery["state"] == "succeeded" for delivery in good):
            return [delivery["id"] for delivery in sorted(found, key=lambda delivery: delivery["state"])]
        time.sleep(0.01)
    raise AssertionError(found)
