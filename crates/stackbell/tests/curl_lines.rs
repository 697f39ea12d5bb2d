//! The curl commands of Pulumi's documentation page for the webhooks REST API, run with the real curl. Only host, names and
//! endpoint are replaced. The cases D1 to D8 each get the documented response. Source: wire-facts.md#transport,
//! wire-facts.md#update-rule.

use std::process::Command;

use serde_json::{Value, json};
use stackbell_testkit::{Receiver, Server, ServerSetup};

const ORGANIZATION: &str = "api/orgs/{organization}";
const STACK: &str = "api/stacks/{organization}/{project}/{stack}";

struct Page {
    server: Server,
    receiver: Receiver,
}

/// The response that curl received.
struct Got {
    status: String,
    body: String,
}

impl Got {
    #[track_caller]
    fn json(&self, status: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Page {
    async fn open() -> Self {
        let setup = ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).organization("myorg");
        let (server, receiver) = tokio::join!(setup.start(), Receiver::start());
        Self { server, receiver }
    }

    /// Runs a command of the page: its three headers, `options`, and the URL with this path.
    async fn curl(&self, options: &str, path: &str, name: &str) -> Got {
        let line = format!(
            "curl --silent --show-error --write-out '\\n%{{http_code}}' \\
               -H \"Accept: application/vnd.pulumi+8\" \\
               -H \"Content-Type: application/json\" \\
               -H \"Authorization: token $PULUMI_ACCESS_TOKEN\" \\
               {options} https://api.pulumi.com/{path}"
        );
        let line = line
            .replace("https://api.pulumi.com", &self.server.url())
            .replace("https://example.com/webhook", &self.receiver.url("/webhook"))
            .replace("{organization}", "myorg")
            .replace("{project}", "myproject")
            .replace("{stack}", "production")
            .replace("{webhookname}", name);
        let mut command = Command::new("sh");
        command.args(["-c", &line]).env("PULUMI_ACCESS_TOKEN", self.server.token());
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let output = output.expect("sh and curl are there");
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let (body, status) = text.rsplit_once('\n').expect("a status");
        Got { status: status.to_owned(), body: body.to_owned() }
    }

    async fn create(&self, data: &str, prefix: &str) -> Got {
        self.curl(&format!("--request POST --data '{data}'"), &format!("{prefix}/hooks"), "").await
    }

    /// Creates the page's organization webhook and returns its name.
    async fn organization_webhook(&self) -> String {
        name_of(&self.create(FOR_ORGANIZATION, ORGANIZATION).await)
    }

    async fn stack_webhook(&self) -> String {
        name_of(&self.create(FOR_STACK, STACK).await)
    }
}

const FOR_ORGANIZATION: &str = r#"{"active": true, "displayName": "My Webhook", "organizationName": "myorg", "payloadUrl": "https://example.com/webhook"}"#;
const FOR_STACK: &str = r#"{"active": true, "displayName": "Stack Webhook", "organizationName": "myorg", "projectName": "myproject", "stackName": "production", "payloadUrl": "https://example.com/webhook"}"#;

/// The name of the webhook in a response. Source: wire-facts.md#webhook-name.
#[track_caller]
fn name_of(got: &Got) -> String {
    let created = got.json("201");
    let name = created["name"].as_str().expect("a name").to_owned();
    assert!(name.len() == 8 && name.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{name}");
    assert_eq!(created["format"], "raw");
    name
}

#[tokio::test]
async fn d1_creates_an_organization_webhook() {
    let page = Page::open().await;
    let created = page.create(FOR_ORGANIZATION, ORGANIZATION).await.json("201");
    let expected = json!({
        "organizationName": "myorg", "name": created["name"], "displayName": "My Webhook",
        "payloadUrl": page.receiver.url("/webhook"), "active": true, "format": "raw",
        "filters": [], "groups": [], "hasSecret": false, "secretCiphertext": "",
    });
    assert_eq!(created, expected);
}

#[tokio::test]
async fn d2_creates_a_stack_webhook() {
    let page = Page::open().await;
    let created = page.create(FOR_STACK, STACK).await.json("201");
    assert_eq!((&created["projectName"], &created["stackName"]), (&json!("myproject"), &json!("production")));
}

#[tokio::test]
async fn d3_creates_webhooks_of_other_formats() {
    let page = Page::open().await;
    let stack = |further: &str| {
        format!(
            r##"{{"organizationName":"myorg","projectName":"myproject","stackName":"production","displayName":"#failures","active":true,{further}}}"##
        )
    };
    let filters =
        r#"["preview_failed", "update_failed", "destroy_failed", "refresh_failed", "deployment_failed"]"#;
    let slack = stack(&format!(
        r#""format":"slack","payloadUrl":"https://hooks.slack.com/services/...","filters":{filters}"#
    ));
    let created = page.create(&slack, STACK).await.json("201");
    assert_eq!(created["format"], "slack");
    assert_eq!(created["filters"], serde_json::from_str::<Value>(filters).expect("JSON"));
    let deployments = stack(r#""format":"pulumi_deployments","payloadUrl":"{project}/{stack}""#);
    let created = page.create(&deployments, STACK).await.json("201");
    assert_eq!(created["payloadUrl"], "myproject/production");
    let secret = stack(r#""secret":"mysecret","payloadUrl":"https://example.com/webhook""#);
    let created = page.create(&secret, STACK).await.json("201");
    assert_eq!((&created["hasSecret"], created.get("secret")), (&json!(true), None));
}

#[tokio::test]
async fn d4_lists_and_gets() {
    let page = Page::open().await;
    for (prefix, name) in
        [(ORGANIZATION, page.organization_webhook().await), (STACK, page.stack_webhook().await)]
    {
        let listed = page.curl("", &format!("{prefix}/hooks"), &name).await.json("200");
        let got = page.curl("", &format!("{prefix}/hooks/{{webhookname}}"), &name).await.json("200");
        assert_eq!(listed, json!([got]));
        assert_eq!(got["name"], name);
        let continued = page.curl("", &format!("{prefix}/hooks?continuationToken="), &name).await.json("200");
        assert_eq!(continued, listed);
    }
}

#[tokio::test]
async fn d5_updates_what_it_names_alone() {
    let page = Page::open().await;
    let name = page.organization_webhook().await;
    let path = format!("{ORGANIZATION}/hooks/{{webhookname}}");
    let mut expected = page.curl("", &path, &name).await.json("200");
    let patch = r#"--request PATCH --data '{"active": false, "displayName": "Updated Webhook Name"}'"#;
    let updated = page.curl(patch, &path, &name).await.json("200");
    expected["active"] = false.into();
    expected["displayName"] = "Updated Webhook Name".into();
    assert_eq!(updated, expected);
    assert_eq!(page.curl("", &path, &name).await.json("200"), expected);
}

/// The last path has a misprint that is on the page. Source: wire-facts.md#transport.
#[tokio::test]
async fn d6_deletes() {
    let page = Page::open().await;
    let misprinted = "api/{organization}/{project}/{stack}/hooks/{webhookname}";
    for (prefix, path, name) in [
        (ORGANIZATION, format!("{ORGANIZATION}/hooks/{{webhookname}}"), page.organization_webhook().await),
        (STACK, format!("{STACK}/hooks/{{webhookname}}"), page.stack_webhook().await),
        (STACK, misprinted.to_owned(), page.stack_webhook().await),
    ] {
        for _ in 0..2 {
            let got = page.curl("--request DELETE", &path, &name).await;
            assert_eq!((got.status.as_str(), got.body.as_str()), ("204", ""), "{path}");
        }
        let got = page.curl("", &format!("{prefix}/hooks/{{webhookname}}"), &name).await.json("404");
        assert_eq!(got["code"], 404);
    }
}

/// This misprint is on older pages.
#[tokio::test]
async fn d2_misprinted_creates_a_stack_webhook_too() {
    let page = Page::open().await;
    let created = page.create(FOR_STACK, "api/orgs/{organization}/{project}/{stack}").await.json("201");
    let name = created["name"].as_str().expect("a name");
    page.curl("", &format!("{STACK}/hooks/{{webhookname}}"), name).await.json("200");
}

#[tokio::test]
async fn d7_pings_and_d8_lists_it() {
    let page = Page::open().await;
    for (prefix, name) in
        [(ORGANIZATION, page.organization_webhook().await), (STACK, page.stack_webhook().await)]
    {
        let hook = format!("{prefix}/hooks/{{webhookname}}");
        let ping = page.curl("--request POST", &format!("{hook}/ping"), &name).await.json("200");
        assert_eq!(
            (&ping["kind"], &ping["responseCode"], &ping["responseBody"]),
            (&json!("ping"), &json!(200), &json!("ok"))
        );
        let listed = page.curl("", &format!("{hook}/deliveries"), &name).await.json("200");
        assert_eq!(listed, json!([ping]));
        let fields: Vec<&str> = ping.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected = [
            "id",
            "kind",
            "payload",
            "timestamp",
            "duration",
            "requestUrl",
            "requestHeaders",
            "responseCode",
            "responseHeaders",
            "responseBody",
        ];
        expected.sort_unstable();
        let mut fields = fields;
        fields.sort_unstable();
        assert_eq!(fields, expected);
    }
    assert_eq!(page.receiver.count(), 2);
}
