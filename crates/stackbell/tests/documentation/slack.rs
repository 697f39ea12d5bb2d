//! The page about Slack: its commands print the documented output, and it shows the message that is really sent.

use serde_json::Value;
use stackbell_testkit::{Reply, Server};

use super::endpoints::Endpoints;
use super::{Block, blocks, read, run};

const DOCUMENT: &str = "docs/slack.md";

/// Slack's responses to the page's requests, after 200 with `ok` to a ping and an event. Source: wire-facts.md#slack.
fn archived() -> Reply {
    Reply::status(410).body("channel_is_archived")
}

/// A command of a `console` block, and its output.
struct Exchange {
    command: String,
    printed: String,
}

fn exchanges(block: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), exchanges.last_mut()) {
            (Some(command), _) => {
                exchanges.push(Exchange { command: command.to_owned(), printed: String::new() });
            }
            (None, Some(exchange)) => exchange.printed.extend([line, "\n"]),
            (None, None) => panic!("a block begins with a command: {line}"),
        }
    }
    exchanges
}

/// The output without the parts that differ in every run: ids and times.
fn lasting(printed: &str) -> String {
    let lasting = |word: &str| {
        let is_id = word.len() == 36 && word.split('-').count() == 5;
        let is_varying = is_id || word.parse::<u64>().is_ok();
        if is_varying { "*".to_owned() } else { word.to_owned() }
    };
    let line = |line: &str| line.split(' ').map(lasting).collect::<Vec<_>>().join(" ");
    printed.lines().map(line).collect::<Vec<_>>().join("\n")
}

async fn check_console(server: &Server, folder: &std::path::Path, endpoints: &Endpoints, block: &Block) {
    for exchange in exchanges(&block.text) {
        let (printed, _) = run(server, folder, &endpoints.replace(&exchange.command), "").await;
        assert_eq!(lasting(&printed), lasting(&exchange.printed), "{}", exchange.command);
        // The first number is a status or a count.
        let count = |text: &str| text.split_whitespace().find_map(|word| word.parse::<u64>().ok());
        assert_eq!(count(&printed), count(&exchange.printed), "{}", exchange.command);
    }
}

/// A message as people see it: `mrkdwn` without its marks, with one line for each text.
fn as_read(message: &Value) -> String {
    let mut lines = Vec::new();
    for block in message["blocks"].as_array().expect("blocks") {
        let many = ["fields", "elements"].into_iter().filter_map(|name| block[name].as_array()).flatten();
        for text in block.get("text").into_iter().chain(many) {
            let Some(text) = text["text"].as_str() else {
                lines.push(format!("[{}]", text["text"]["text"].as_str().expect("a label")));
                continue;
            };
            let text = text.replace("*\n", ": ").replace(":x:", "❌").replace(['*', '>'], "");
            lines.push(match text.split_once('<') {
                Some((before, moment)) if moment.starts_with("!date^") => format!("{before}today at 14:02"),
                // A link shows only its text.
                Some((before, link)) => {
                    format!("{before}{}", link.split_once('|').expect("words").1)
                }
                None => text,
            });
        }
    }
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_slack_run_and_show_the_message_that_is_sent() {
    let endpoints = Endpoints::start(Reply::status(202)).await;
    let server = endpoints.server().await;
    let folder = tempfile::tempdir().expect("a folder");
    endpoints.slack().then([Reply::default(), Reply::default(), archived()]);
    let mut shown = 0;
    for block in blocks(&read(DOCUMENT)) {
        match block.language.as_str() {
            "sh" => {
                let (printed, is_done) =
                    run(&server, folder.path(), &endpoints.replace(&block.text), "").await;
                assert!(is_done, "{}\n{printed}", block.text);
            }
            "console" => check_console(&server, folder.path(), &endpoints, &block).await,
            "text" => {
                // The first request is the ping.
                let requests = endpoints.slack().wait_for(2).await;
                assert_eq!(as_read(&requests[1].json()), block.text.trim_end());
                shown += 1;
            }
            other => panic!("nothing checks a block of {other}"),
        }
    }
    assert_eq!(shown, 1, "the message is shown");
    assert_eq!(endpoints.slack().wait_for(3).await.len(), 3);
}
