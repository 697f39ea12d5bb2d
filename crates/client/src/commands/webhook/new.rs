//! Creates a webhook.

use clap::Args;
use serde_json::{Value, json};
use stackbell_system::Environment;
use ureq::http::Method;
use url::Url;

use super::{FORMATS, show};
use crate::api::Payload;
use crate::commands::scope::ScopeArgs;
use crate::commands::secret::{Secret, SecretArgs};
use crate::output::Output;
use crate::verb::{Verb, object, text_at};

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The organization
    org: String,
    #[command(flatten)]
    scope: ScopeArgs,
    /// The URL that gets deliveries; project/stack for the format pulumi_deployments
    #[arg(long, value_name = "URL")]
    url: String,
    /// Its name, unique in its scope; the server creates one if absent
    #[arg(long)]
    name: Option<String>,
    /// Its name for people; the default is its name or its endpoint's host
    #[arg(long)]
    display_name: Option<String>,
    /// The format of deliveries
    #[arg(long, value_parser = FORMATS, default_value = "raw")]
    format: String,
    /// An event to deliver; repeatable
    #[arg(long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// A group of events to deliver; repeatable
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    #[command(flatten)]
    secret: SecretArgs,
    /// Do not deliver anything until the webhook is resumed
    #[arg(long)]
    inactive: bool,
}

pub(super) fn run(args: &NewArgs, environment: &Environment, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    let secret = args.secret.read(environment)?;
    let body = body(args, secret.as_ref());
    let path = args.scope.hooks(&args.org);
    let mut made = verb.client.call(Method::POST, &path, Payload::Json(&body))?;
    let mut sentence = sentence(args, &made);
    if verb.output == Output::Json {
        made = args.scope.find(verb, &args.org, text_at(&made, "/name"))?;
    }
    if let Some(secret) = &secret
        && secret.is_new
    {
        let text = secret.text.expose();
        sentence.push_str(&format!("\n\nIts secret, shown this once; give it to the receiver:\n\n  {text}"));
        made["secret"] = text.into();
    }
    sentence.push_str(&format!(
        "\n\nSend it a ping:\n\n  stackbell webhook ping {} {}{}",
        args.org,
        text_at(&made, "/name"),
        args.scope.flags()
    ));
    verb.output.one(verb.out, &made, &sentence)?;
    Ok(())
}

fn body(args: &NewArgs, secret: Option<&Secret>) -> Value {
    let within = args.scope.stack.as_ref().or(args.scope.env.as_ref());
    object([
        ("organizationName", Some(json!(args.org))),
        ("projectName", within.map(|within| json!(within.project))),
        ("stackName", args.scope.stack.as_ref().map(|stack| json!(stack.name))),
        ("envName", args.scope.env.as_ref().map(|environment| json!(environment.name))),
        ("name", args.name.as_ref().map(|name| json!(name))),
        ("displayName", Some(json!(display_name(args)))),
        ("payloadUrl", Some(json!(args.url))),
        ("format", Some(json!(args.format))),
        ("filters", Some(json!(args.filters))),
        ("groups", Some(json!(args.groups))),
        ("active", Some(json!(!args.inactive))),
        ("secret", secret.map(|secret| json!(secret.text.expose()))),
    ])
}

fn display_name(args: &NewArgs) -> String {
    let host = || Url::parse(&args.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let given = args.display_name.clone().or_else(|| args.name.clone());
    given.or_else(host).unwrap_or_else(|| args.url.clone())
}

fn sentence(args: &NewArgs, made: &Value) -> String {
    let name = text_at(made, "/name");
    let place = args.scope.place(&args.org);
    let pause = if args.inactive { "It is inactive, and will hear" } else { "It hears" };
    format!("Made the webhook {name} of {place}.\n{pause} of {}.", show::interests(made))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: NewArgs,
    }

    fn check(line: &str, expected: &str) {
        let args = Line::try_parse_from(line.split(' ')).expect(line).args;
        assert_eq!(body(&args, None).to_string(), expected, "{line}");
    }

    #[test]
    fn bodies_have_what_was_asked_for() {
        check(
            "new acme --url https://a.example/secret",
            r#"{"active":true,"displayName":"a.example","filters":[],"format":"raw","groups":[],"organizationName":"acme","payloadUrl":"https://a.example/secret"}"#,
        );
        check(
            "new acme --url p/s --stack q/t --format pulumi_deployments --inactive --filter update_succeeded",
            r#"{"active":false,"displayName":"p/s","filters":["update_succeeded"],"format":"pulumi_deployments","groups":[],"organizationName":"acme","payloadUrl":"p/s","projectName":"q","stackName":"t"}"#,
        );
        check(
            "new acme --url https://a.example --env e --name n --group environments",
            r#"{"active":true,"displayName":"n","envName":"e","filters":[],"format":"raw","groups":["environments"],"name":"n","organizationName":"acme","payloadUrl":"https://a.example","projectName":"default"}"#,
        );
    }
}
