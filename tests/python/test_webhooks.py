"""Cases P1 to P7: the official SDK against the webhooks of all four scopes; P7 is the fourth, of preview environments."""

import hashlib
import hmac
import json
import re
import urllib.error

import pytest
from processes import ORGANIZATION
from pulumi_cloud_sdk.models.webhook_ import Webhook

# Each field must be present and not null. Source: wire-facts.md#webhook-delivery
DELIVERY_FIELDS = (
    "id kind payload timestamp duration request_url request_headers response_code response_headers response_body"
).split()


def webhook(url, **further):
    """A webhook for a request. Fields without a value are sent as null."""
    return Webhook(ORGANIZATION, "My Webhook", url, True, **further)


def as_dict(found):
    fields = "organization_name project_name stack_name env_name name display_name payload_url active format"
    fields += " filters groups has_secret secret_ciphertext"
    return {field: getattr(found, field) for field in fields.split()}


def event(hooks):
    """An event that webhooks of the scope receive."""
    if "env_name" in hooks.scope:
        payload = {"action": "created", "revision": 3}
        names = {"projectName": hooks.scope["project_name"], "environmentName": hooks.scope["env_name"]}
        return {"kind": "environment_revision", "payload": {**names, **payload}}
    payload = {"projectName": "myproject", "stackName": "production", "kind": "update", "result": "succeeded"}
    return {"kind": "stack_update", "payload": payload}


def test_p1_create(hooks, receiver):
    created = hooks.create(webhook(receiver.url))
    assert re.fullmatch("[0-9a-f]{8}", created.name)
    none = {"project_name": None, "stack_name": None, "env_name": None}
    assert as_dict(created) == {
        **none,
        **hooks.scope,
        "organization_name": ORGANIZATION,
        "name": created.name,
        "display_name": "My Webhook",
        "payload_url": receiver.url,
        "active": True,
        "format": "raw",
        "filters": [],
        "groups": [],
        "has_secret": False,
        "secret_ciphertext": "",
    }


def test_p1_create_with_everything(hooks, receiver):
    further = {"name": "My.Name_1", "secret": "shh", "format": "raw", "filters": [hooks.filter]}
    created = hooks.create(webhook(receiver.url, **hooks.scope, **further))
    assert (created.name, created.filters, created.has_secret) == ("My.Name_1", [hooks.filter], True)
    assert re.fullmatch("[0-9a-f]{64}", created.secret_ciphertext)
    assert created.secret is None
    with pytest.raises(urllib.error.HTTPError) as refused:
        hooks.create(webhook(receiver.url, name="My.Name_1"))
    assert refused.value.code == 409
    assert json.load(refused.value)["code"] == 409


def test_p2_update(hooks, receiver):
    """A null list empties the list. A null format or secret leaves the stored value."""
    created = hooks.create(webhook(receiver.url, secret="shh", format="ms_teams", filters=[hooks.filter]))
    changed = Webhook(ORGANIZATION, "Other", receiver.url + "/other", False)
    updated = hooks.update(created.name, changed)
    expected = {**as_dict(created), "display_name": "Other", "payload_url": receiver.url + "/other"}
    expected |= {"active": False, "filters": []}
    assert as_dict(updated) == expected
    assert as_dict(hooks.get(created.name)) == expected


def test_p2_update_of_the_secret(hooks, receiver):
    created = hooks.create(webhook(receiver.url, secret="shh"))
    rotated = hooks.update(created.name, webhook(receiver.url, secret="other"))
    assert rotated.has_secret and rotated.secret_ciphertext != created.secret_ciphertext
    removed = hooks.update(created.name, webhook(receiver.url, secret="__remove-secret"))
    assert (removed.has_secret, removed.secret_ciphertext) == (False, "")


def test_p3_list_and_get(hooks, receiver):
    assert hooks.list() == []
    created = [hooks.create(webhook(receiver.url)) for _ in range(3)]
    assert [as_dict(found) for found in hooks.list()] == [as_dict(found) for found in created]
    for found in created:
        assert as_dict(hooks.get(found.name)) == as_dict(found)
    with pytest.raises(urllib.error.HTTPError) as missing:
        hooks.get("missing")
    assert missing.value.code == 404


def test_p4_delete(hooks, receiver):
    created = hooks.create(webhook(receiver.url))
    for _ in range(2):
        assert not hooks.delete(created.name), "an empty body"
    assert hooks.list() == []


def test_p5_ping(hooks, receiver):
    path = f"/ping/{'-'.join(hooks.scope.values())}"
    created = hooks.create(webhook(receiver.url + path, secret="test"))
    ping = hooks.ping(created.name)
    assert None not in [getattr(ping, field) for field in DELIVERY_FIELDS]
    assert (ping.kind, ping.response_code, ping.response_body) == ("ping", 200, "OK")
    (arrived,) = receiver.at(path, 1)
    assert arrived.body.decode() == ping.payload
    assert json.loads(ping.payload)["timestamp"] == ping.timestamp
    assert arrived.headers["Pulumi-Webhook-Id"] == ping.id
    signature = hmac.new(b"test", arrived.body, hashlib.sha256).hexdigest()
    assert arrived.headers["Pulumi-Webhook-Signature"] == signature


def test_p5_ping_of_what_does_not_answer(hooks):
    created = hooks.create(webhook("http://127.0.0.1:1/"))
    ping = hooks.ping(created.name)
    assert None not in [getattr(ping, field) for field in DELIVERY_FIELDS]
    assert (ping.response_code, ping.response_headers) == (0, "")


def test_p5_redeliver(hooks, server, receiver):
    path = f"/redeliver/{'-'.join(hooks.scope.values())}"
    created = hooks.create(webhook(receiver.url + path))
    accepted = server.publish(event(hooks))
    (first,) = receiver.at(path, 1)
    again = hooks.redeliver(created.name, accepted["id"])
    assert None not in [getattr(again, field) for field in DELIVERY_FIELDS]
    assert (again.id, again.kind, again.response_code) == (accepted["id"], accepted["kind"], 200)
    _, second = receiver.at(path, 2)
    assert (second.body, second.headers["Pulumi-Webhook-Id"]) == (first.body, accepted["id"])
    with pytest.raises(urllib.error.HTTPError) as missing:
        hooks.redeliver(created.name, "22222222-2222-4222-8222-222222222222")
    assert missing.value.code == 404


def test_p6_deliveries(hooks, receiver):
    created = hooks.create(webhook(receiver.url))
    assert hooks.deliveries(created.name) == []
    pings = [hooks.ping(created.name) for _ in range(3)]
    listed = hooks.deliveries(created.name)
    assert [found.id for found in listed] == [ping.id for ping in reversed(pings)]
    for found in listed:
        assert None not in [getattr(found, field) for field in DELIVERY_FIELDS]
    assert hooks.deliveries("missing") == []
