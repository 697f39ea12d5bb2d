use anyhow::{Context, anyhow, bail, ensure};
use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use standardwebhooks::Webhook;

/// What is asked of a request. That is ours to say: were it the request's, a replay would just leave the time out.
pub(crate) enum Verifier {
    /// The headers of Standard Webhooks, which sign id and time, too.
    Standard(Webhook),
    /// Pulumi's own header. It signs neither, so this cannot tell a replay.
    Pulumi(Hmac<Sha256>),
}

impl Verifier {
    pub(crate) fn new(scheme: &str, secret: &str) -> anyhow::Result<Self> {
        // An empty key could be had by anybody.
        ensure!(!matches!(secret, "" | "whsec_"), "WEBHOOK_SECRET is empty");
        match scheme {
            "standard" if secret.starts_with("whsec_") => {
                let key = Webhook::new(secret)
                    .context("WEBHOOK_SECRET begins with whsec_, and what follows is not base64")?;
                Ok(Self::Standard(key))
            }
            "standard" => Ok(Self::Standard(Webhook::from_bytes(secret.into())?)),
            "pulumi" => Ok(Self::Pulumi(Hmac::new_from_slice(secret.as_bytes())?)),
            _ => bail!("{scheme} is neither standard nor pulumi"),
        }
    }

    /// Gives the event's id, which is the same however often the event is sent.
    pub(crate) fn verify(&self, headers: &HeaderMap, body: &[u8]) -> anyhow::Result<String> {
        match self {
            Self::Standard(key) => {
                // Several signatures are fine, as after a rotation; five minutes are what clocks may differ.
                key.verify(body, headers).map_err(|error| anyhow!("Standard Webhooks: {error}"))?;
                text(headers, "webhook-id")
            }
            Self::Pulumi(key) => {
                let signature = hex::decode(text(headers, "Pulumi-Webhook-Signature")?)
                    .context("the signature is not hex")?;
                // Takes as long for a near miss as for a far one, so nobody can guess byte by byte.
                key.clone().chain_update(body).verify_slice(&signature).context("wrong signature")?;
                text(headers, "Pulumi-Webhook-Id")
            }
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> anyhow::Result<String> {
    let value = headers.get(name).with_context(|| format!("not signed: {name} is needed"))?;
    Ok(value.to_str()?.to_owned())
}
