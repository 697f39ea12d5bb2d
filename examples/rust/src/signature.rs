use anyhow::{Context, anyhow, bail, ensure};
use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use standardwebhooks::Webhook;

/// The required scheme. The receiver sets it: if the request could choose, a replay would simply omit the
/// time.
pub(crate) enum Verifier {
    /// The headers of Standard Webhooks, which sign id and time too.
    Standard(Webhook),
    /// Pulumi's own header. It signs neither, so a replay is not detected.
    Pulumi(Hmac<Sha256>),
}

impl Verifier {
    pub(crate) fn new(scheme: &str, secret: &str) -> anyhow::Result<Self> {
        // Anybody could sign with an empty key.
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

    /// Returns the event's id, which is equal in every delivery of the event.
    pub(crate) fn verify(&self, headers: &HeaderMap, body: &[u8]) -> anyhow::Result<String> {
        match self {
            Self::Standard(key) => {
                // There may be several signatures, for example after a rotation. The tolerance for times is
                // five minutes.
                key.verify(body, headers).map_err(|error| anyhow!("Standard Webhooks: {error}"))?;
                text(headers, "webhook-id")
            }
            Self::Pulumi(key) => {
                let signature = hex::decode(text(headers, "Pulumi-Webhook-Signature")?)
                    .context("the signature is not hex")?;
                // The comparison takes constant time, so that nobody can guess a signature byte by byte.
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
