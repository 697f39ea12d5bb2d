//! The environment of the process, read once.

use std::collections::BTreeMap;

use crate::without_line_end;

/// The prefix of our own variables' names.
pub const VARIABLE_PREFIX: &str = "STACKBELL_";

/// The prefix of Pulumi's variables' names. We read some of them.
const PULUMI_PREFIX: &str = "PULUMI_";

/// A variable that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the variable {variable} is not UTF-8")]
pub struct EnvironmentError {
    /// The variable.
    pub variable: String,
}

/// Our own variables and Pulumi's, by name. `Debug` shows no values, because some are secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the variables of this process. All other code gets them from here.
    ///
    /// # Errors
    /// If one of our own variables or Pulumi's is not UTF-8.
    pub fn of_process() -> Result<Self, EnvironmentError> {
        let mut variables = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            if [VARIABLE_PREFIX, PULUMI_PREFIX].iter().any(|prefix| name.starts_with(prefix)) {
                let value = value.into_string();
                let value = value.map_err(|_| EnvironmentError { variable: name.clone() })?;
                variables.insert(name, value);
            }
        }
        Ok(Self(variables))
    }

    /// The value of a variable, without the line end that remains if a script reads the value from a file. An empty variable
    /// counts as not set, because compose files leave a variable out by making it empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| without_line_end(value)).filter(|value| !value.is_empty())
    }

    /// The names of our own variables, including empty ones.
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| name.starts_with(VARIABLE_PREFIX))
    }

    /// Whether Kubernetes set this variable. For a service whose name begins with `stackbell`, Kubernetes puts the service's
    /// address into the environment of every container, under names that begin with `STACKBELL_`.
    pub fn is_service_link(&self, name: &str) -> bool {
        let is_address =
            |value: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
        let is_of_a_port = |rest: &str| {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest.starts_with(protocol))
        };
        name.ends_with("_SERVICE_HOST")
            || name.ends_with("_SERVICE_PORT")
            || name.contains("_SERVICE_PORT_")
            || name.split_once("_PORT_").is_some_and(|(_, rest)| is_of_a_port(rest))
            || (name.ends_with("_PORT") && self.get(name).is_some_and(is_address))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_service_link(name: &str, value: &str, expected: bool) {
        let environment = Environment::from_iter([(name, value)]);
        assert_eq!(environment.is_service_link(name), expected, "{name}={value}");
    }

    #[test]
    fn service_links_of_kubernetes() {
        check_service_link("STACKBELL_SERVICE_HOST", "10.0.0.1", true);
        check_service_link("STACKBELL_SERVICE_PORT", "8722", true);
        check_service_link("STACKBELL_SERVICE_PORT_HTTP", "8722", true);
        check_service_link("STACKBELL_PORT", "tcp://10.0.0.1:8722", true);
        check_service_link("STACKBELL_PORT_8722_TCP", "tcp://10.0.0.1:8722", true);
        check_service_link("STACKBELL_PORT_8722_TCP_ADDR", "10.0.0.1", true);
        check_service_link("STACKBELL_PORT", "8722", false);
        check_service_link("STACKBELL_PORT_RANGE", "1", false);
        check_service_link("STACKBELL_LISTEN", "127.0.0.1:1", false);
    }

    #[test]
    fn the_line_end_of_a_value_is_dropped() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(
                Environment::from_iter([("STACKBELL_TOKEN", value)]).get("STACKBELL_TOKEN"),
                expected,
                "{value:?}"
            );
        };
        check("a\n", Some("a"));
        check("a\r\n", Some("a"));
        check(" a \n\n", Some(" a \n"));
        check("\n", None);
    }

    #[test]
    fn empty_variables_are_not_set_and_values_stay_hidden() {
        let environment = Environment::from_iter([("STACKBELL_DATA", ""), ("STACKBELL_TOKEN", "hidden")]);
        assert_eq!(environment.get("STACKBELL_DATA"), None);
        assert!(!format!("{environment:?}").contains("hidden"));
    }
}
