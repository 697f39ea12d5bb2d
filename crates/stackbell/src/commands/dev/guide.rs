//! The output of `dev`: addresses and token, and the next steps. Each command line can be pasted into a shell.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;
use stackbell_model::names::OrganizationName;
use stackbell_system::SecretText;
use url::Url;

use super::first_event::{KIND, WEBHOOK, sample};

pub(super) struct Guide<'a> {
    pub(super) url: &'a Url,
    pub(super) organization: &'a OrganizationName,
    pub(super) token: &'a SecretText,
    pub(super) receiver: &'a str,
    /// The data folder, if it is kept.
    pub(super) kept: Option<&'a Path>,
}

impl Guide<'_> {
    pub(super) fn print_head(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Stackbell {} is running; Ctrl-C ends it.\n", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "  url           {}", self.base())?;
        writeln!(out, "  organization  {}", self.organization)?;
        writeln!(out, "  token         {} (for as long as this runs)", self.token.expose())?;
        match self.kept {
            Some(folder) => writeln!(out, "  data          {}, which stays", folder.display())?,
            None => writeln!(
                out,
                "  data          in a temporary folder, gone when this ends; --data DIR keeps it"
            )?,
        }
        writeln!(out, "  receiver      {} (webhook {WEBHOOK})\n", self.receiver)
    }

    pub(super) fn print_next(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\nPublish another event, and see it received here:\n\n  {}\n", self.publish())?;
        writeln!(out, "List the deliveries of the receiver's webhook:\n\n  {}\n", self.deliveries())?;
        writeln!(
            out,
            "Register an endpoint of your own (put its URL in place of this one):\n\n  {}\n",
            self.register()
        )?;
        writeln!(
            out,
            "Or see deliveries in another terminal, with a webhook and a secret made for it:\n\n  {}\n",
            self.listen()
        )
    }

    /// The server's URL without its last slash, as a prefix of paths.
    fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    fn publish(&self) -> String {
        let event = json!({ "kind": KIND, "payload": sample() });
        self.curl(&format!("/v1/orgs/{}/events", self.organization), Some(&event.to_string()))
    }

    fn deliveries(&self) -> String {
        self.curl(&format!("/api/orgs/{}/hooks/{WEBHOOK}/deliveries", self.organization), None)
    }

    fn register(&self) -> String {
        let webhook = json!({
            "organizationName": self.organization.as_str(),
            "displayName": "My endpoint",
            "payloadUrl": "http://127.0.0.1:3000/",
            "active": true,
            "secret": "choose one",
        });
        self.curl(&format!("/api/orgs/{}/hooks", self.organization), Some(&webhook.to_string()))
    }

    fn listen(&self) -> String {
        let (url, token) = (self.base(), self.token.expose());
        format!(
            "STACKBELL_URL={url} STACKBELL_TOKEN='{token}' stackbell listen --register {}",
            self.organization
        )
    }

    /// A command line for a shell. Names, tokens and our bodies contain no single quote, so single quotes are safe.
    fn curl(&self, path: &str, body: Option<&str>) -> String {
        let token = self.token.expose();
        let body =
            body.map(|body| format!(" -H 'Content-Type: application/json' -d '{body}'")).unwrap_or_default();
        format!("curl -sS -H 'Authorization: token {token}'{body} {}{path}", self.base())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted() {
        let url = Url::parse("http://127.0.0.1:8722/").expect("a URL");
        let organization = OrganizationName::parse("acme").expect("a name");
        let token = SecretText::new("sbl_0".to_owned());
        let guide = Guide {
            url: &url,
            organization: &organization,
            token: &token,
            receiver: "http://127.0.0.1:1/",
            kept: None,
        };
        let publish = guide.publish();
        let (head, rest) = publish.split_once(" -d '").expect("a body");
        let (body, url) = rest.split_once("' ").expect("the body's end");
        assert_eq!(head, "curl -sS -H 'Authorization: token sbl_0' -H 'Content-Type: application/json'");
        assert_eq!(url, "http://127.0.0.1:8722/v1/orgs/acme/events");
        let event: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(event["kind"], KIND);
        assert!(
            guide
                .deliveries()
                .ends_with(" http://127.0.0.1:8722/api/orgs/acme/hooks/dev-receiver/deliveries")
        );
        let head = |guide: &Guide<'_>| {
            let mut printed = Vec::new();
            guide.print_head(&mut printed).expect("written");
            String::from_utf8(printed).expect("text")
        };
        let gone = "  data          in a temporary folder, gone when this ends; --data DIR keeps it\n";
        assert!(head(&guide).contains(gone), "{}", head(&guide));
        let kept = Guide { kept: Some(Path::new("folder")), ..guide };
        assert!(head(&kept).contains("  data          folder, which stays\n"), "{}", head(&kept));
        assert_eq!(
            kept.listen(),
            "STACKBELL_URL=http://127.0.0.1:8722 STACKBELL_TOKEN='sbl_0' stackbell listen --register acme"
        );
    }
}
