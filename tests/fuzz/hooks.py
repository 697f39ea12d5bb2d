"""Hooks of Schemathesis for this API: words to use, data to protect, exceptions from failures, and counts."""

import atexit
import collections
import json
import os
import pathlib
import re
import tomllib
import urllib.parse

import jsonschema_rs
import schemathesis
import stock
from processes import Running
from schemathesis.core.failures import AcceptedNegativeData

SERVER = Running(os.environ["FUZZ_URL"])
RECEIVER_URL = os.environ["FUZZ_RECEIVER_URL"]
OWN_LOGIN = os.environ["FUZZ_LOGIN"]
OWN_TOKEN_ID = os.environ["FUZZ_TOKEN_ID"]

NDJSON = "application/x-ndjson"

# One phase sends a request for each example.
EXAMPLES_MAX = 3

tally = collections.Counter()
# The fields of a webhook's body, from the document.
webhook_fields = {}


@atexit.register
def write_tally():
    """Writes the number of responses by operation and status."""
    with open(os.environ["FUZZ_TALLY"], "w") as file:
        json.dump([[*key, count] for key, count in sorted(tally.items())], file)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Adds the words of schemathesis.toml to parameters and properties as examples.

    Some phases use only examples. Without these, their requests would all name an organization that does not exist.
    """
    schemas = raw_schema["components"]["schemas"]
    webhook_fields.update(schemas["Webhook"]["properties"])
    settings = tomllib.loads(pathlib.Path("schemathesis.toml").read_text())
    words = {name: _few_words(name, place) for name, place in settings["dictionaries"].items()}
    for path, item in raw_schema["paths"].items():
        bindings = dict(settings["parameters"])
        for group in settings["operations"]:
            if re.search(group["include-path-regex"], path):
                bindings.update(group["parameters"])
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if binding := bindings.get(f"{parameter['in']}.{parameter['name']}"):
                    parameter["examples"] = {str(word): {"value": word} for word in words[binding["dictionary"]]}
    for schema in schemas.values():
        for name, property in schema.get("properties", {}).items():
            if binding := settings["parameters"].get(f"body.{name}"):
                property["examples"] = words[binding["dictionary"]]
            elif binding := settings["parameters"].get(f"body.{name}[*]"):
                property["examples"] = [[word] for word in words[binding["dictionary"]]]


def _few_words(name, place):
    """The first words of a dictionary."""
    return (place["values"] if "values" in place else stock.read(name))[:EXAMPLES_MAX]


@schemathesis.serializer(NDJSON)
def ndjson(context, value):
    """Writes a value as one line, and an array as one line for each value."""
    lines = value if isinstance(value, list) else [value]
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


@schemathesis.hook
def map_body(context, body):
    """Adds the fields that an event's kind needs to the generated ones, because the fuzzer cannot guess them.

    A payload without any field is left unchanged.
    """
    for event in body if isinstance(body, list) else [body]:
        if isinstance(event, dict) and event.get("payload") and isinstance(event["payload"], dict):
            event["payload"] = {**stock.PAYLOADS.get(str(event.get("kind")), {}), **event["payload"]}
    return body


@schemathesis.hook
def before_call(context, case, kwargs):
    """Redirects requests that would destroy what the run depends on: its own role, its own token, and the stock.

    No operation is skipped: such requests get another target, or one that is created to be removed.
    """
    operation_id, parameters = case.operation.definition.raw["operationId"], case.path_parameters or {}
    if operation_id in ("SetMember", "RemoveMember") and parameters["login"] == OWN_LOGIN:
        parameters["login"] = f"not-{OWN_LOGIN}"
    if parameters.get("tokenId") == OWN_TOKEN_ID:
        parameters["tokenId"] = OWN_TOKEN_ID[::-1]
    if case.method == case.operation.method.upper():
        stock.prepare(SERVER, RECEIVER_URL, operation_id, parameters)


@schemathesis.hook
def after_call(context, case, response):
    """Counts the request, and restores what it held or removed."""
    operation_id = case.operation.definition.raw["operationId"]
    tally[(operation_id, response.status_code)] += 1
    stock.restore(SERVER, RECEIVER_URL, operation_id)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Returns whether a finding is a failure. There are three exceptions:

    NDJSON gets a 202 once the body was read. The response says for each line whether it was refused.

    The schemas below /api are Pulumi's, and they are stricter than its clients. The clients send null for omitted fields,
    and a PATCH with only some of the fields.

    An empty parameter counts as absent, which the document cannot express.
    """
    if not isinstance(failure, AcceptedNegativeData):
        return True
    sent = urllib.parse.urlsplit(response.request.url).query
    if "" in dict(urllib.parse.parse_qsl(sent, keep_blank_values=True)).values():
        return False
    if case.media_type == NDJSON:
        return not _refused_a_line(response.text)
    if case.operation.path.startswith("/api/") and isinstance(case.body, dict):
        required = [] if case.method == "PATCH" else ["organizationName", "displayName", "payloadUrl", "active"]
        schema = {"properties": webhook_fields, "required": required}
        sent = {name: value for name, value in case.body.items() if value is not None}
        return not jsonschema_rs.is_valid(schema, sent)
    return True


def _refused_a_line(text):
    answers = [json.loads(line) for line in text.splitlines()]
    return any(answer.get("refused") or answer.get("result") == "refused" for answer in answers)
