"""What the server holds when it is fuzzed, and the words for it that the fuzzer picks from.

Without them nearly every request would end at an organization that does not exist.
What operations remove is made for that: the stock is the same from the first request to the last.
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

# Of each kind that is published, what its payloads need.
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

# Where webhooks are, and their scopes, by the operation that deletes them.
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

# The webhooks of each scope by name, and what their endpoints answer.
ENDPOINTS = {"good": 200, "bad": 500, "lost": 404}
DOOMED = "doomed"
# Of other formats, and where nothing arrives: there is no way out of the network namespace.
ELSEWHERE = [
    "https://hooks.slack.com/services/T/B/x",
    "website/production",
    "http://203.0.113.1/",
    "https://example.com/",
]

USERS = [f"user-{number}" for number in range(8)]

# Where tokens are, by the operation that revokes them.
TOKENS = {
    "RevokeOwnToken": "/v1/user/tokens",
    "RevokeUserToken": f"/v1/users/{USERS[0]}/tokens",
    "RevokeServiceToken": f"{OURS}/tokens",
}


def fill(server, receiver_url):
    """Puts people, tokens, webhooks, events, deliveries and a recovery there, and gives the words for them."""
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
    """Writes the words as the files that schemathesis.toml names."""
    for name, entries in words.items():
        (folder / f"{name}.dict").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))


def read(name):
    """The words that were written, in the folder where the fuzzer works."""
    return [json.loads(line) for line in pathlib.Path(f"{name}.dict").read_text().splitlines()]


def prepare(server, receiver_url, operation_id, parameters):
    """Makes what an operation is about to remove, so that it does not remove what others need."""
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
    """Takes back what an operation did to all that come after it."""
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
    """A token's id. Where the owner has as many as there may be, the newest of them, which the fuzzer has made."""
    made = _unless_done(server, "POST", path, {"name": "to be revoked", "role": "viewer"})
    return made["id"] if made else max(token["id"] for token in server.call("GET", path))


def _set_deployments(server, receiver_url):
    credential = {"apiUrl": f"{receiver_url}/200", "token": "pul-0123456789", "stacks": ["website/production"]}
    server.call("PUT", f"{OURS}/deployments", credential)


def _unless_done(server, method, path, body=None):
    """Makes a request that is refused with 409 where there is nothing left to do; gives None then."""
    try:
        return server.call(method, path, body)
    except urllib.error.HTTPError as refusal:
        if refusal.code != 409:
            raise
        return None


def _delivered(server, count):
    """The ids of so many deliveries, once the good endpoints have theirs; those that are pending come first.

    The others' may wait for long: steady failure is met with fewer attempts.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = server.call("GET", f"{OURS}/deliveries?pageSize=100")
        good = [delivery for delivery in found if delivery["webhook"]["name"] == "good"]
        if len(found) == count and all(delivery["state"] == "succeeded" for delivery in good):
            return [delivery["id"] for delivery in sorted(found, key=lambda delivery: delivery["state"])]
        time.sleep(0.01)
    raise AssertionError(found)
