//! docs/operating.md: its sections about alerts and panels, and the installation of both.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{catalogue, quoted, read};

/// The page.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn read() -> Self {
        Self(read("docs/operating.md"))
    }

    pub(crate) fn has(&self, phrase: &str) -> bool {
        self.0.contains(phrase)
    }

    pub(crate) fn has_section(&self, title: &str) -> bool {
        self.0.lines().any(|line| line.trim_start_matches('#').trim() == title && line.starts_with("## "))
    }

    /// The names of alerts in the table of alerts.
    pub(crate) fn alerts(&self) -> Vec<&str> {
        self.watching()
            .lines()
            .filter_map(|line| line.strip_prefix("| `Stackbell")?.split('`').next())
            .collect()
    }

    /// The names of metrics on the page.
    fn metrics(&self) -> BTreeSet<&str> {
        let quoted = quoted(&self.0, '`').filter_map(|quoted| quoted.split_whitespace().next());
        quoted.filter(|name| name.starts_with("stackbell_") || name.starts_with("process_")).collect()
    }

    fn watching(&self) -> &str {
        let (_, section) = self.0.split_once("\n## Watching\n").expect("the section");
        section.split_once("\n## ").expect("its end").0
    }

    fn sample(&self, language: &str) -> &str {
        let (_, block) = self.watching().split_once(&format!("```{language}\n")).expect("a sample");
        block.split_once("```").expect("its end").0
    }
}

/// The parts of Prometheus' configuration that our sample uses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    rule_files: Vec<String>,
    scrape_configs: Vec<Scrape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scrape {
    job_name: String,
    static_configs: Vec<Targets>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Targets {
    targets: Vec<String>,
}

/// The sample has the job name that the rules use, the default path, and the path at which the page installs the rules.
#[test]
fn the_sample_of_a_scrape_configuration_fits_the_rules() {
    let page = Page::read();
    let configuration: Configuration = serde_saphyr::from_str(page.sample("yaml")).expect("YAML");
    let [scrape] = configuration.scrape_configs.as_slice() else { panic!("one job") };
    let rules = read("packaging/prometheus/stackbell.rules.yml");
    assert!(rules.contains(&format!("up{{job=\"{}\"}}", scrape.job_name)), "{}", scrape.job_name);
    let targets = scrape.static_configs.iter().flat_map(|targets| &targets.targets);
    assert!(targets.clone().count() > 0);
    targets.for_each(|target| assert!(target.ends_with(":8722"), "{target} is not at serve's port"));
    for path in configuration.rule_files {
        assert!(
            page.has(&format!("packaging/prometheus/stackbell.rules.yml /etc/prometheus/{path}")),
            "{path}"
        );
    }
    assert!(page.has("packaging/grafana/stackbell.json"));
}

#[tokio::test]
async fn the_page_names_metrics_that_a_server_shows() {
    let (page, catalogue) = (Page::read(), catalogue().await);
    let (named, shown) = (page.metrics(), catalogue.metrics());
    assert!(named.len() >= 20, "{named:?}");
    let unknown: Vec<&&str> = named.difference(&shown).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
