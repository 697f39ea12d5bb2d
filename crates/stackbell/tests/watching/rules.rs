//! `packaging/prometheus/stackbell.rules.yml`.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::util::parse_duration;
use serde::Deserialize;

use crate::catalogue::Catalogue;
use crate::expression::{check, is_condition};
use crate::page::Page;
use crate::{assert_is_command, catalogue, quoted, read};

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<Group>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(rename = "name")]
    _name: String,
    rules: Vec<Rule>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    r#for: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn rules() -> Vec<Rule> {
    let file: File =
        serde_saphyr::from_str(&read("packaging/prometheus/stackbell.rules.yml")).expect("a file of rules");
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// All faults of a rule.
fn faults_of(rule: &Rule, catalogue: &Catalogue, page: &Page) -> Vec<String> {
    let mut faults = Vec::new();
    match check(&rule.expr, catalogue) {
        Err(found) => faults.extend(found),
        Ok(checked) => {
            if !is_condition(&checked.expr) {
                faults.push("it fires as long as there is anything to ask".to_owned());
            }
            let unknown = templates(rule).filter(|label| !checked.labels.contains(*label));
            faults
                .extend(unknown.map(|label| format!("its text shows the label '{label}', which it has not")));
        }
    }
    if parse_duration(&rule.r#for).is_err() {
        faults.push(format!("for '{}' is no duration", rule.r#for));
    }
    let severity = rule.labels.get("severity").map(String::as_str).unwrap_or_default();
    if !["critical", "warning"].contains(&severity) || rule.labels.len() != 1 {
        faults.push(format!("the labels are {:?}", rule.labels));
    }
    if rule.annotations.keys().ne(["description", "summary"]) {
        faults.push(format!("the annotations are {:?}", rule.annotations.keys()));
    }
    faults.extend(faults_of_description(rule, page));
    faults
}

/// The faults of a description: it must name a section of the page, and its quotes must be on the page.
fn faults_of_description(rule: &Rule, page: &Page) -> Vec<String> {
    let description = rule.annotations.get("description").map(String::as_str).unwrap_or_default();
    let Some((text, reference)) = description.rsplit_once("See ") else {
        return vec!["it names no section".to_owned()];
    };
    let mut faults = Vec::new();
    if !reference.ends_with(" in docs/operating.md.") {
        faults.push(format!("'{reference}' does not end with the page"));
    }
    let unknown = quoted(reference, '"').filter(|title| !page.has_section(title));
    faults.extend(unknown.map(|title| format!("docs/operating.md has no section '{title}'")));
    if quoted(reference, '"').count() == 0 {
        faults.push("it names no section".to_owned());
    }
    let unknown = quoted(text, '"').filter(|phrase| !page.has(&format!("`{phrase}`")));
    faults.extend(unknown.map(|phrase| format!("docs/operating.md has no '{phrase}'")));
    faults
}

/// The labels in the texts.
fn templates(rule: &Rule) -> impl Iterator<Item = &str> {
    let shown = rule.annotations.values().flat_map(|text| text.split("$labels.").skip(1));
    shown.filter_map(|rest| rest.split([' ', '}']).next())
}

#[tokio::test]
async fn the_rules_ask_for_what_a_server_shows_from_its_start() {
    let (catalogue, page) = (catalogue().await, Page::read());
    let rules = rules();
    assert!(rules.len() >= 10, "the file has lost its rules");
    for rule in &rules {
        let faults = faults_of(rule, &catalogue, &page);
        assert!(faults.is_empty(), "{}: {faults:?}", rule.alert);
    }
}

#[tokio::test]
async fn a_fault_in_a_rule_is_found() {
    let (catalogue, page) = (catalogue().await, Page::read());
    let plant = |change: fn(&mut Rule), expected: &str| {
        let mut rule = rules().into_iter().find(|rule| rule.alert == "StackbellCommitsFail").expect("there");
        assert!(faults_of(&rule, &catalogue, &page).is_empty());
        change(&mut rule);
        let faults = faults_of(&rule, &catalogue, &page);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    };
    plant(|rule| rule.expr = rule.expr.replace("commits_failed", "commits_fialed"), "no series");
    plant(|rule| rule.expr = rule.expr.replace("corrupt", "corupt"), "is never 'corupt'");
    plant(|rule| rule.expr = rule.expr.replace("> 0", ""), "as long as there is anything");
    plant(|rule| rule.expr = rule.expr.replace("instance, ", ""), "shows the label 'instance'");
    plant(|rule| rule.r#for = "soon".to_owned(), "no duration");
    plant(|rule| drop(rule.labels.insert("severity".to_owned(), "urgent".to_owned())), "the labels are");
    plant(|rule| drop(rule.annotations.remove("summary")), "the annotations are");
    plant(|rule| describe(rule, "A full disk", "A full disc"), "no section 'A full disc'");
    plant(|rule| describe(rule, "commits are failing", "commits fail"), "has no 'commits fail'");
    plant(|rule| describe(rule, "See ", "Read "), "names no section");
}

fn describe(rule: &mut Rule, from: &str, to: &str) {
    let description = rule.annotations.get_mut("description").expect("there");
    assert!(description.contains(from), "{description}");
    *description = description.replace(from, to);
}

/// Each alert has a row on the page, and the page has no other alerts.
#[test]
fn the_page_lists_the_alerts() {
    let (rules, page) = (rules(), Page::read());
    let alerts: BTreeSet<&str> =
        rules.iter().map(|rule| rule.alert.strip_prefix("Stackbell").expect("our prefix")).collect();
    assert_eq!(alerts.len(), rules.len(), "two alerts have one name");
    assert_eq!(alerts, page.alerts().into_iter().collect());
}

/// Operators copy the commands of an alert.
#[test]
fn the_commands_that_the_rules_name_are_there() {
    let rules = rules();
    let texts = rules.iter().flat_map(|rule| rule.annotations.values());
    let commands: BTreeSet<&str> =
        texts.flat_map(|text| quoted(text, '`')).filter_map(|code| code.strip_prefix("stackbell ")).collect();
    assert!(commands.len() >= 3, "{commands:?}");
    commands.into_iter().for_each(assert_is_command);
}
