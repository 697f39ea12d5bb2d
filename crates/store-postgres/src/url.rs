//! The database's URL.
//!
//! `postgres://user:password@host:port,host:port/database?sslmode=…`. `sslmode` is `verify-full` or `disable`. The default is
//! `verify-full`, unless every host is this machine. The modes between do not protect the password from an attacker in the
//! network.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::error::OpenError;

/// The timeout of a connection attempt, for each address.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// The maximum time without an acknowledgement of sent data, and the idle time after which a keepalive is sent. It limits how
/// long a lost database or node stays undetected.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The location and credentials of a database. Never prints the password.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: Config,
    has_tls: bool,
}

impl DatabaseUrl {
    /// The hosts, ports and name of the database, for users.
    pub fn label(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate().map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        });
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres");
        format!("postgres://{}/{database}", hosts.collect::<Vec<_>>().join(","))
    }

    /// Whether connections use TLS and check the server's certificate.
    pub fn has_tls(&self) -> bool {
        self.has_tls
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.label())
    }
}

impl FromStr for DatabaseUrl {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let refused = |problem: &str| OpenError::Url(problem.to_owned());
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Err(refused("must begin with postgres://"));
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut kept = url::form_urlencoded::Serializer::new(String::new());
        let mut mode = None;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if name == "sslmode" {
                mode = Some(value.into_owned());
            } else {
                kept.append_pair(&name, &value);
            }
        }
        let kept = kept.finish().replace('+', "%20");
        // The driver's error may quote parts of the URL.
        let mut config: Config = format!("{base}?{kept}")
            .parse()
            .map_err(|_| refused("is invalid: the form is postgres://USER:PASSWORD@HOST:PORT/DATABASE"))?;
        if config.get_hosts().is_empty() {
            return Err(refused("names no host"));
        }
        let has_tls = match mode.as_deref() {
            None => !config.get_hosts().iter().all(is_local),
            Some("verify-full") => true,
            Some("disable") => false,
            Some(_) => {
                return Err(refused(
                    "may have sslmode=verify-full or sslmode=disable: other modes do not protect the connection",
                ));
            }
        };
        config.ssl_mode(if has_tls { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT_TIME_MAX).tcp_user_timeout(SILENCE_MAX);
        config.keepalives(true).keepalives_idle(SILENCE_MAX).keepalives_interval(Duration::from_secs(2));
        config.keepalives_retries(3).target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("stackbell");
        }
        Ok(Self { config, has_tls })
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, label: &str, has_tls: bool) {
        let url: DatabaseUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((&*url.label(), url.has_tls()), (label, has_tls), "{text}");
        assert!(!format!("{url:?} {}", url.label()).contains("secret"), "{text}");
    }

    fn check_refused(text: &str, expected: &str) {
        let error = text.parse::<DatabaseUrl>().expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn tls_is_the_default_except_for_this_machine() {
        check("postgres://u:secret@db.example.com/bell", "postgres://db.example.com:5432/bell", true);
        check("postgresql://u:secret@127.0.0.1:5433/bell", "postgres://127.0.0.1:5433/bell", false);
        check(
            "postgres://u:secret@localhost/bell?sslmode=verify-full",
            "postgres://localhost:5432/bell",
            true,
        );
        check("postgres://u:secret@db/bell?sslmode=disable", "postgres://db:5432/bell", false);
        check("postgres://u:secret@one:1,two:2/bell", "postgres://one:1,two:2/bell", true);
        check("postgres://u@%2Frun%2Fpostgresql/bell", "postgres:///run/postgresql:5432/bell", false);
    }

    #[test]
    fn an_invalid_url_is_refused_without_its_secrets() {
        check_refused("mysql://u:secret@db/bell", "begin with postgres://");
        check_refused("postgres://u:secret@db/bell?sslmode=prefer", "verify-full");
        check_refused("postgres://u:secret@db:secret/bell", "is invalid");
        check_refused("postgres://u:secret@db/bell?secret=1", "is invalid");
    }
}
