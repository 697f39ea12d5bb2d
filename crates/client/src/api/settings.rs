//! The server that a command calls, and its token.

use std::io;
use std::path::{Path, PathBuf};

use stackbell_system::{Environment, SecretText, read_secret, redacted, without_mark};
use url::Url;

/// The default server of commands: this machine, with the default of `--listen`.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8722";

/// A server, and the credentials for it.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The server.
    pub url: Url,
    /// The token, if one was found.
    pub token: Option<SecretText>,
    /// A PEM file of authorities to trust in addition to the usual ones.
    pub ca_file: Option<PathBuf>,
}

/// A flag or a variable of the client that cannot be used. No message of this error repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The token is given twice.
    #[error("environment: both STACKBELL_TOKEN and STACKBELL_TOKEN_FILE are set; set one")]
    BothTokens,
    /// The file of the token cannot be read.
    #[error("STACKBELL_TOKEN_FILE: cannot read {}", redacted(&path.to_string_lossy()))]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The token cannot be part of a header.
    #[error("token ({origin}) is not valid")]
    Token {
        /// The variable.
        origin: &'static str,
        /// The reason.
        #[source]
        source: NotAToken,
    },
    /// The URL of the server is not valid.
    #[error("url ({origin}) is not valid")]
    Url {
        /// The variable.
        origin: &'static str,
        /// The reason.
        #[source]
        source: NotAServer,
    },
}

/// The text is not a token.
#[derive(Debug, thiserror::Error)]
#[error("must be a token: visible ASCII characters, without spaces and line ends between them")]
pub struct NotAToken;

/// The text is not the URL of a server; the value is the reason in words. The text is not repeated.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAServer(&'static str);

impl ClientSettings {
    /// Finds the settings. The server is in the flag, `STACKBELL_URL` or `PULUMI_BACKEND_URL`; the token is in
    /// `STACKBELL_TOKEN`, `STACKBELL_TOKEN_FILE` or `PULUMI_ACCESS_TOKEN`; the authorities are in the flag or
    /// `STACKBELL_CA_FILE`.
    ///
    /// # Errors
    /// [`SettingsError`], if one of them cannot be used.
    pub fn find(
        flag: Option<&Url>,
        ca_file: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, SettingsError> {
        let url = match flag {
            Some(url) => url.clone(),
            None => Self::url(environment)?,
        };
        let ca_file = ca_file.or_else(|| environment.get("STACKBELL_CA_FILE").map(Path::new));
        Ok(Self { url, token: Self::token(environment)?, ca_file: ca_file.map(Path::to_owned) })
    }

    fn token(environment: &Environment) -> Result<Option<SecretText>, SettingsError> {
        match (environment.get("STACKBELL_TOKEN"), environment.get("STACKBELL_TOKEN_FILE")) {
            (Some(_), Some(_)) => Err(SettingsError::BothTokens),
            (Some(text), None) => parse_token(text, "STACKBELL_TOKEN").map(Some),
            (None, Some(path)) => {
                let text = read_secret(path.as_ref())
                    .map_err(|source| SettingsError::TokenFile { path: path.into(), source })?;
                parse_token(&text, "STACKBELL_TOKEN_FILE").map(Some)
            }
            (None, None) => {
                let text = environment.get("PULUMI_ACCESS_TOKEN");
                text.map(|text| parse_token(text, "PULUMI_ACCESS_TOKEN")).transpose()
            }
        }
    }

    fn url(environment: &Environment) -> Result<Url, SettingsError> {
        for origin in ["STACKBELL_URL", "PULUMI_BACKEND_URL"] {
            if let Some(text) = environment.get(origin) {
                return parse_server(text).map_err(|source| SettingsError::Url { origin, source });
            }
        }
        Ok(parse_server(DEFAULT_SERVER).expect("the default is a URL"))
    }
}

/// Parses a token. White space around it, such as a line end, is dropped.
fn parse_token(text: &str, origin: &'static str) -> Result<SecretText, SettingsError> {
    let text = without_mark(text).trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(SecretText::new(text.to_owned()));
    }
    Err(SettingsError::Token { origin, source: NotAToken })
}

/// Parses the URL of a server: `http` or `https`, with a host. User, query and fragment are refused, because they would have
/// no effect.
///
/// # Errors
/// `NotAServer`.
pub fn parse_server(text: &str) -> Result<Url, NotAServer> {
    let url = parse_url(text)?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() {
        return Err(NotAServer(
            "must be an http or https URL without user, password, query and fragment: \
             the token belongs in STACKBELL_TOKEN or STACKBELL_TOKEN_FILE",
        ));
    }
    Ok(url)
}

/// Parses a URL: `http` or `https`, with a host.
///
/// # Errors
/// [`NotAServer`].
pub(crate) fn parse_url(text: &str) -> Result<Url, NotAServer> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => Err(NotAServer("must be an http or https URL with a host")),
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
    fn our_variables_win_over_pulumis() {
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
    fn unusable_settings_are_refused() {
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
            let refused = parse_server(text).expect_err("refused").to_string();
            assert!(refused.contains("STACKBELL_TOKEN") && !refused.contains("hunter2"), "{refused}");
        }
        let refused =
            ClientSettings::find(None, None, &[("STACKBELL_TOKEN", "hunter2 hunter2")].into_iter().collect());
        let refused = format!("{:#}", anyhow::Error::new(refused.expect_err("refused")));
        assert!(refused.starts_with("token (STACKBELL_TOKEN) is not valid: must be"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
