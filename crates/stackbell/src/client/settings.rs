//! Whom to ask, and as whom.

use std::path::{Path, PathBuf};

use url::Url;

use crate::config::{ConfigError, Environment, LISTEN_DEFAULT, SecretText, read_secret, without_mark};

/// A server, and how to ask it.
#[derive(Clone, Debug)]
pub(crate) struct ClientSettings {
    /// The server.
    pub(crate) url: Url,
    /// The token; `None` when there is none to be found.
    pub(crate) token: Option<SecretText>,
    /// Authorities that are trusted besides the usual ones, in PEM.
    pub(crate) ca_file: Option<PathBuf>,
}

impl ClientSettings {
    /// The server from the flag, `STACKBELL_URL` or `PULUMI_BACKEND_URL`; the token from `STACKBELL_TOKEN`,
    /// `STACKBELL_TOKEN_FILE` or `PULUMI_ACCESS_TOKEN`; further authorities from the flag or `STACKBELL_CA_FILE`.
    ///
    /// # Errors
    /// [`ConfigError`], when one of them cannot be used.
    pub(crate) fn find(
        flag: Option<&Url>,
        ca_file: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let token = match (environment.get("STACKBELL_TOKEN"), environment.get("STACKBELL_TOKEN_FILE")) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::Both {
                    origin: "environment".to_owned(),
                    name: "STACKBELL_TOKEN".to_owned(),
                    file_name: "STACKBELL_TOKEN_FILE".to_owned(),
                });
            }
            (Some(token), None) => Some((token.to_owned(), "STACKBELL_TOKEN")),
            (None, Some(path)) => {
                Some((read_secret(path.as_ref(), "STACKBELL_TOKEN_FILE")?, "STACKBELL_TOKEN_FILE"))
            }
            (None, None) => {
                environment.get("PULUMI_ACCESS_TOKEN").map(|token| (token.to_owned(), "PULUMI_ACCESS_TOKEN"))
            }
        };
        let token = token.map(|(text, origin)| parse_token(&text, origin)).transpose()?;
        let url = match flag {
            Some(url) => url.clone(),
            None => Self::url(environment)?,
        };
        let ca_file = ca_file.or_else(|| environment.get("STACKBELL_CA_FILE").map(Path::new));
        Ok(Self { url, token, ca_file: ca_file.map(Path::to_owned) })
    }

    fn url(environment: &Environment) -> Result<Url, ConfigError> {
        for variable in ["STACKBELL_URL", "PULUMI_BACKEND_URL"] {
            if let Some(text) = environment.get(variable) {
                return parse_server(text).map_err(|source| ConfigError::Invalid {
                    key: "url",
                    origin: variable.to_owned(),
                    source: source.into(),
                });
            }
        }
        Ok(parse_server(&format!("http://{LISTEN_DEFAULT}")).expect("the default is a URL"))
    }
}

/// Reads a token. White space around it, such as a line end, is dropped.
fn parse_token(text: &str, origin: &str) -> Result<SecretText, ConfigError> {
    let text = without_mark(text).trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(SecretText::new(text.to_owned()));
    }
    let source =
        "must be a token: visible ASCII characters, without spaces and line ends between them".into();
    Err(ConfigError::Invalid { key: "token", origin: origin.to_owned(), source })
}

/// Reads a server's URL: `http` or `https`, with a host, and without parts that would not be used.
///
/// # Errors
/// In words, when it is none. The text is not repeated.
pub(crate) fn parse_server(text: &str) -> Result<Url, String> {
    let url = parse_url(text)?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() {
        return Err("must be an http or https URL without user, password, query and fragment: \
                    the token belongs into STACKBELL_TOKEN or STACKBELL_TOKEN_FILE"
            .to_owned());
    }
    Ok(url)
}

/// Reads a URL: `http` or `https`, with a host.
///
/// # Errors
/// In words, when it is none.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => Err("must be an http or https URL with a host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], url: &str, token: Option<&str>) {
        let settings = ClientSettings::find(None, None, &variables.iter().copied().collect()).expect("valid");
        assert_eq!(settings.url.as_str(), url, "{variables:?}");
        assert_eq!(settings.token.as_ref().map(SecretText::expose), token, "{variables:?}");
    }

    #[test]
    fn our_variables_come_before_pulumis() {
        check(&[], "http://127.0.0.1:8722/", None);
        let theirs = [("PULUMI_BACKEND_URL", "https://p.example"), ("PULUMI_ACCESS_TOKEN", "theirs")];
        check(&theirs, "https://p.example/", Some("theirs"));
        let ours = [("STACKBELL_URL", "http://s.example/x"), ("STACKBELL_TOKEN", "ours")];
        check(&[theirs, ours].concat(), "http://s.example/x", Some("ours"));
    }

    #[test]
    fn white_space_around_a_token_is_dropped() {
        for end in ["\n", "\r\n", "\n\n", " "] {
            let token = format!("{end}a-token{end}");
            check(&[("STACKBELL_TOKEN", &token)], "http://127.0.0.1:8722/", Some("a-token"));
            check(&[("PULUMI_ACCESS_TOKEN", &token)], "http://127.0.0.1:8722/", Some("a-token"));
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("token");
            std::fs::write(&path, &token).expect("written");
            let path = path.to_str().expect("text");
            check(&[("STACKBELL_TOKEN_FILE", path)], "http://127.0.0.1:8722/", Some("a-token"));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let check = |variables: &[(&str, &str)]| {
            assert!(
                ClientSettings::find(None, None, &variables.iter().copied().collect()).is_err(),
                "{variables:?}"
            );
        };
        check(&[("STACKBELL_URL", "s.example")]);
        check(&[("PULUMI_BACKEND_URL", "file://~")]);
        check(&[("STACKBELL_TOKEN", "a"), ("STACKBELL_TOKEN_FILE", "b")]);
        check(&[("STACKBELL_TOKEN_FILE", "/nowhere/at/all")]);
    }

    #[test]
    fn refusals_repeat_no_credential() {
        for text in
            ["https://u:hunter2@s.example", "https://s.example/?token=hunter2", "https://s.example/#hunter2"]
        {
            let refused = parse_server(text).expect_err("refused");
            assert!(refused.contains("STACKBELL_TOKEN") && !refused.contains("hunter2"), "{refused}");
        }
        let refused =
            ClientSettings::find(None, None, &[("STACKBELL_TOKEN", "hunter2 hunter2")].into_iter().collect());
        let refused = format!("{:#}", anyhow::Error::new(refused.expect_err("refused")));
        assert!(refused.starts_with("token (STACKBELL_TOKEN) is not valid: must be"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
