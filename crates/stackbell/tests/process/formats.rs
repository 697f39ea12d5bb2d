//! The running binary sends every sample of a payload to a webhook of each format.
//!
//! With `STACKBELL_DELIVERED=FOLDER` the received messages are written there, for `tests/node/messages.mjs`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use serde_json::value::RawValue;
use stackbell_model::filter::Filter;
use stackbell_testkit::{Client, Receiver, Request, Server};

use crate::support::{compact, hmac_hex, setup};

const SECRET: &str = "a secret for formats";
/// The organization of the samples.
const ORGANIZATION: &str = "crazy-adventures";
/// The formats, and the folders of their golden files.
const FORMATS: [(&str, &str); 3] =
    [("raw", "payloads"), ("slack", "messages/slack"), ("ms_teams", "messages/ms_teams")];

fn golden(folder: &str, filter: Filter) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../payload/golden");
    let path = root.join(folder).join(format!("{}.json", filter.as_str()));
    fs::read_to_string(path).expect("a golden file of each filter")
}

/// A server that sends Slack's messages to `slack`, and trusts its certificate.
async fn start(slack: &Receiver) -> Server {
    let authorities = tempfile::NamedTempFile::new().expect("a file");
    fs::write(authorities.path(), slack.certificate()).expect("written");
    let host = slack.address().to_string();
    let setup = setup().organization(ORGANIZATION).flag("--slack-hosts", &host);
    setup.flag("--outbound-ca-file", authorities.path().to_str().expect("UTF-8")).start().await
}

/// Creates a webhook of the format for every event, with a rate limit that does not slow the test.
async fn register(client: &Client, format: &str, url: &str) {
    let body = json!({
        "organizationName": ORGANIZATION, "name": format, "displayName": format, "payloadUrl": url,
        "active": true, "format": format, "secret": SECRET,
    });
    client.post(&format!("/api/orgs/{ORGANIZATION}/hooks"), &body).await.expect(201);
    let path = format!("/v1/orgs/{ORGANIZATION}/webhooks");
    let webhooks = client.get(&path).await.expect(200).json();
    let mut webhooks = webhooks.as_array().expect("an array").iter();
    let webhook = webhooks.find(|webhook| webhook["name"] == format).expect("registered");
    let id = webhook["id"].as_str().expect("an id");
    client.patch(&format!("{path}/{id}"), &json!({"attemptsPerMinute": 60_000})).await.expect(200);
}

/// Publishes the filter's sample and returns the event's id.
async fn publish(client: &Client, filter: Filter) -> String {
    let text = golden("payloads", filter);
    let payload: &RawValue = serde_json::from_str(&text).expect("a sample in JSON");
    let event = format!(r#"{{"kind":"{}","payload":{payload}}}"#, filter.kind().as_str());
    let path = format!("/v1/orgs/{ORGANIZATION}/events");
    let answer = client.send(http::Method::POST, &path, &[], event.into()).await.expect(202);
    answer.json()["id"].as_str().expect("an id").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "this test has one setting, and no configuration")]
fn delivered_folder() -> Option<PathBuf> {
    std::env::var_os("STACKBELL_DELIVERED").map(PathBuf::from)
}

fn keep(format: &str, filter: Filter, body: &str) {
    let Some(folder) = delivered_folder() else { return };
    let folder = folder.join(format);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{}.json", filter.as_str())), body).expect("written");
}

fn check(request: &Request, filter: Filter, (format, folder): (&str, &str)) {
    let what = format!("{format} {filter}");
    assert_eq!((&*request.method, &*request.path), ("POST", &*format!("/{format}")), "{what}");
    assert_eq!(request.header("Content-Type"), Some("application/json"), "{what}");
    assert_eq!(request.header("Accept"), Some("*/*"), "{what}");
    assert_eq!(request.header("Pulumi-Webhook-Kind"), Some(filter.kind().as_str()), "{what}");
    let signature = hmac_hex(SECRET, &request.body);
    assert_eq!(request.header("Pulumi-Webhook-Signature"), Some(&*signature), "{what}");
    assert_eq!(without_moment(request.text()), without_moment(&compact(&golden(folder, filter))), "{what}");
    keep(format, filter, request.text());
}

/// A chat message without the time at its end, because the time in the golden files is in 1970.
fn without_moment(message: &str) -> String {
    let Some((before, footer)) = message.split_once("Event: ") else { return message.to_owned() };
    let (event, rest) = footer.split_once(" · ").expect("a footer names the event and its moment");
    let (_, after) = rest.split_once('"').expect("the footer ends");
    format!("{before}Event: {event}\"{after}")
}

/// Each sample is compared with its golden files. Source: wire-facts.md#formats.
#[tokio::test]
async fn each_sample_arrives_in_each_format_as_its_golden_file_says() {
    let (plain, slack) = tokio::join!(Receiver::start(), Receiver::start_tls());
    let server = start(&slack).await;
    let client = server.client();
    for (format, _) in FORMATS {
        let receiver = if format == "slack" { &slack } else { &plain };
        register(&client, format, &receiver.url(&format!("/{format}"))).await;
    }
    let mut published = Vec::new();
    for filter in Filter::ALL {
        published.push((*filter, publish(&client, *filter).await));
    }
    assert_eq!(published.len(), 44);
    let mut requests = plain.wait_for(2 * 44).await;
    requests.extend(slack.wait_for(44).await);
    assert_eq!(requests.len(), 3 * 44);
    for (filter, id) in published {
        for (format, folder) in FORMATS {
            let path = format!("/{format}");
            let request = requests.iter().find(|request| request.id() == id && request.path == path);
            check(
                request.unwrap_or_else(|| panic!("{format} {filter} did not come")),
                filter,
                (format, folder),
            );
        }
    }
    server.assert_quiet();
}
