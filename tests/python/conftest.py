"""A running server, a receiver of deliveries, and the SDK's methods for each scope of webhooks."""

import pathlib

import pytest
from processes import ORGANIZATION, TOKEN, Receiver, Server
from pulumi_cloud_sdk import ApiClient, Configuration
from pulumi_cloud_sdk.apis.environments_api_ import EnvironmentsApi
from pulumi_cloud_sdk.apis.organizations_api_ import OrganizationsApi
from pulumi_cloud_sdk.apis.stacks_api_ import StacksApi


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
    """The methods of each scope in turn. Webhooks that a test leaves are deleted."""
    api, place, names, scope, filter_for_it = SCOPES[request.param]
    configuration = Configuration()
    configuration.host = server.url
    configuration.access_token = TOKEN
    hooks = Hooks(api(ApiClient(configuration)), (ORGANIZATION, *place), names, scope, filter_for_it)
    yield hooks
    for left in hooks.list():
        hooks.delete(left.name)
