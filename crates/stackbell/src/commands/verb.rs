//! What all verbs of the public API share.

use std::io::Write;

use serde_json::{Map, Value};
use url::Url;

use crate::client::{Client, ClientSettings, parse_url};
use crate::config::{ConfigError, Environment};
use crate::output::Output;

/// Whom to ask, and how to answer.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientArgs {
    /// The server [env: STACKBELL_URL, then PULUMI_BACKEND_URL] [default: http://127.0.0.1:8722]
    #[arg(long, value_name = "URL", value_parser = parse_url, global = true)]
    url: Option<Url>,
    /// How to answer
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
}

/// A verb at work.
pub(crate) struct Verb<'a> {
    /// Who asks.
    pub(crate) client: Client,
    /// How to answer.
    pub(crate) output: Output,
    /// Where to answer.
    pub(crate) out: &'a mut dyn Write,
}

impl<'a> Verb<'a> {
    /// A verb with these arguments.
    ///
    /// # Errors
    /// [`ConfigError`], when there is no telling whom to ask, and as whom.
    pub(crate) fn new(
        args: &ClientArgs,
        environment: &Environment,
        out: &'a mut dyn Write,
    ) -> Result<Self, ConfigError> {
        let settings = ClientSettings::find(args.url.as_ref(), environment)?;
        Ok(Self { client: Client::new(settings), output: args.output, out })
    }
}

/// An object of the fields that there are.
pub(crate) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

/// A text of an answer; empty when it is not there.
pub(crate) fn text_at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
