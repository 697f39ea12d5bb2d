//! `packaging/grafana/stackbell.json`, in Grafana's classic model.

use std::collections::BTreeSet;

use promql_parser::label::MatchOp;
use promql_parser::parser::VectorSelector;
use serde_json::Value;

use crate::catalogue::{Catalogue, TARGET_LABELS};
use crate::expression::check;
use crate::page::Page;
use crate::{assert_is_command, catalogue, quoted, read};

/// The newest version of the classic model. Versions of Grafana with the resource model accept it as well.
const SCHEMA_VERSION: u64 = 42;
/// The number of columns in Grafana's grid.
const COLUMNS: u64 = 24;
/// Grafana's own variables that we use, each with a value.
const BUILT_IN: [(&str, &str); 1] = [("__rate_interval", "5m")];

fn dashboard() -> Value {
    serde_json::from_str(&read("packaging/grafana/stackbell.json")).expect("JSON")
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is_row(panel: &Value) -> bool {
    panel["type"] == "row"
}

/// All faults of a dashboard.
fn faults_of(dashboard: &Value, catalogue: &Catalogue) -> Vec<String> {
    let mut faults = faults_of_head(dashboard, catalogue);
    let panels = list(dashboard, "/panels");
    faults.extend(faults_of_places(panels));
    let mut shown = BTreeSet::new();
    for panel in panels {
        let found = if is_row(panel) { faults_of_row(panel) } else { faults_of_panel(panel) };
        let title = text(panel, "/title");
        faults.extend(found.into_iter().map(|fault| format!("{title}: {fault}")));
        for target in list(panel, "/targets") {
            match faults_of_target(target, catalogue) {
                Ok(metrics) => shown.extend(metrics),
                Err(found) => faults.extend(found.into_iter().map(|fault| format!("{title}: {fault}"))),
            }
        }
    }
    let missing = catalogue.metrics().into_iter().filter(|metric| !shown.contains(*metric));
    faults.extend(missing.map(|metric| format!("no panel shows {metric}")));
    faults
}

/// The faults of the dashboard's settings and variables: each variable must be used, and each used variable must exist.
fn faults_of_head(dashboard: &Value, catalogue: &Catalogue) -> Vec<String> {
    let mut faults = Vec::new();
    if dashboard["schemaVersion"] != SCHEMA_VERSION || !dashboard["id"].is_null() {
        faults.push("the version of the schema, or an id that is another Grafana's".to_owned());
    }
    if text(dashboard, "/uid").is_empty() || text(dashboard, "/title").is_empty() {
        faults.push("no uid or title".to_owned());
    }
    let variables = list(dashboard, "/templating/list");
    let names: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "/name")).collect();
    if names != BTreeSet::from(["datasource", "instance", "job"]) || names.len() != variables.len() {
        faults.push(format!("the variables are {names:?}"));
    }
    let mut used = BTreeSet::new();
    variables_in(&dashboard["panels"], &mut used);
    variables_in(&dashboard["templating"], &mut used);
    let known = |name: &str| names.contains(name) || BUILT_IN.iter().any(|(built_in, _)| *built_in == name);
    let unknown = used.iter().filter(|name| !known(name));
    faults.extend(unknown.map(|name| format!("there is no variable '{name}'")));
    let unused = names.iter().filter(|name| !used.contains(**name));
    faults.extend(unused.map(|name| format!("the variable '{name}' is not used")));
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        faults.extend(faults_of_variable(variable, catalogue));
    }
    faults
}

/// The faults of a variable. Its query is `label_values(SELECTOR, LABEL)`, which is Grafana's own and not PromQL.
fn faults_of_variable(variable: &Value, catalogue: &Catalogue) -> Vec<String> {
    let query = text(variable, "/query/query");
    let parts = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let Some((selector, label)) = parts.and_then(|parts| parts.rsplit_once(", ")) else {
        return vec![format!("'{query}' is no query of a label's values")];
    };
    let mut faults = Vec::new();
    if variable["definition"] != *query || label != text(variable, "/name") || !TARGET_LABELS.contains(&label)
    {
        faults.push(format!("'{query}' is not what '{label}' and its definition say"));
    }
    if variable["datasource"]["uid"] != "${datasource}" {
        faults.push(format!("'{query}' asks another data source"));
    }
    // The values are not added up here.
    faults.extend(check(&format!("max({selector})"), catalogue).err().into_iter().flatten());
    faults
}

/// The names of the variables in all texts, `$name` and `${name}`.
fn variables_in(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            for rest in text.split('$').skip(1) {
                let rest = rest.strip_prefix('{').unwrap_or(rest);
                let end =
                    rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len());
                // `__all` stands for all values of a variable; it is not a variable itself.
                if &rest[..end] != "__all" {
                    found.insert(rest[..end].to_owned());
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| variables_in(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| variables_in(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The position and size of a panel, in columns and lines.
#[derive(Clone, Copy)]
struct Place {
    x: u64,
    y: u64,
    width: u64,
    height: u64,
}

impl Place {
    fn of(panel: &Value) -> Option<Self> {
        let field = |name: &str| panel["gridPos"][name].as_u64();
        Some(Self { x: field("x")?, y: field("y")?, width: field("w")?, height: field("h")? })
    }

    fn overlaps(self, other: Self) -> bool {
        let apart = self.x + self.width <= other.x
            || other.x + other.width <= self.x
            || self.y + self.height <= other.y
            || other.y + other.height <= self.y;
        !apart
    }
}

fn faults_of_places(panels: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let ids: BTreeSet<Option<u64>> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    if ids.len() != panels.len() || ids.contains(&None) {
        faults.push("two panels have one id, or one has none".to_owned());
    }
    if !panels.first().is_some_and(is_row) {
        faults.push("the first panel is in no row".to_owned());
    }
    let mut places: Vec<(&str, Place)> = Vec::new();
    for panel in panels {
        let title = text(panel, "/title");
        let Some(place) = Place::of(panel) else {
            faults.push(format!("{title}: no place"));
            continue;
        };
        if place.width == 0 || place.height == 0 || place.x + place.width > COLUMNS {
            faults.push(format!("{title}: beyond the grid"));
        }
        let covered = places.iter().filter(|(_, other)| place.overlaps(*other));
        faults.extend(covered.map(|(other, _)| format!("{title}: over '{other}'")));
        // A panel is in the row that comes before it in the list, so the list must have the order of the page.
        if places.last().is_some_and(|(_, before)| place.y < before.y) {
            faults.push(format!("{title}: above the panel before it"));
        }
        places.push((title, place));
    }
    faults
}

fn faults_of_row(row: &Value) -> Vec<String> {
    let place = Place::of(row).map(|place| (place.x, place.width, place.height));
    let is_plain =
        place == Some((0, COLUMNS, 1)) && row["collapsed"] == false && row["panels"] == Value::Array(vec![]);
    let mut faults = Vec::new();
    if !is_plain || text(row, "/title").is_empty() {
        faults.push("a row has a title, one line of the whole width, and is open".to_owned());
    }
    faults
}

fn faults_of_panel(panel: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let kind = text(panel, "/type");
    if !["stat", "timeseries"].contains(&kind) {
        faults.push(format!("this check does not know panels of type '{kind}'"));
    }
    if text(panel, "/title").is_empty() || text(panel, "/description").is_empty() {
        faults.push("no title, or no description".to_owned());
    }
    if text(panel, "/fieldConfig/defaults/unit").is_empty() {
        faults.push("no unit".to_owned());
    }
    let steps = list(panel, "/fieldConfig/defaults/thresholds/steps");
    let values: Vec<Option<f64>> = steps.iter().map(|step| step["value"].as_f64()).collect();
    if values.first() != Some(&None) || !values.is_sorted() || values.iter().skip(1).any(Option::is_none) {
        faults.push("thresholds begin without a value and go up".to_owned());
    }
    if kind == "stat" && steps.len() < 2 {
        faults.push("a number without thresholds".to_owned());
    }
    let targets = list(panel, "/targets");
    let letters: BTreeSet<&str> = targets.iter().map(|target| text(target, "/refId")).collect();
    if targets.is_empty() || letters.len() != targets.len() {
        faults.push("no queries, or two of one letter".to_owned());
    }
    for asked in std::iter::once(panel).chain(targets) {
        if asked["datasource"]["uid"] != "${datasource}" || asked["datasource"]["type"] != "prometheus" {
            faults.push("another data source than the variable's".to_owned());
        }
    }
    faults
}

/// Checks a query of a panel. Returns the metrics in the query.
fn faults_of_target(target: &Value, catalogue: &Catalogue) -> Result<BTreeSet<String>, Vec<String>> {
    let mut expression = text(target, "/expr").to_owned();
    for (name, value) in BUILT_IN {
        expression = expression.replace(&format!("${name}"), value);
    }
    let checked = check(&expression, catalogue)?;
    let mut faults = Vec::new();
    let everywhere = checked.selectors.iter().filter(|selector| !is_of_the_chosen(selector));
    faults.extend(everywhere.map(|selector| format!("'{selector}' is not of the chosen job and instance")));
    let legend = text(target, "/legendFormat");
    let shown: BTreeSet<String> =
        legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).map(str::to_owned).collect();
    if shown != checked.labels {
        faults.push(format!("the legend is of {shown:?}, and the series are by {:?}", checked.labels));
    }
    if faults.is_empty() { Ok(checked.metrics) } else { Err(faults) }
}

fn is_of_the_chosen(selector: &VectorSelector) -> bool {
    TARGET_LABELS.iter().all(|label| {
        selector.matchers.matchers.iter().any(|matcher| {
            matcher.name == *label
                && matcher.value == format!("${label}")
                && matches!(matcher.op, MatchOp::Re(_))
        })
    })
}

#[tokio::test]
async fn the_dashboard_shows_what_a_server_shows() {
    let dashboard = dashboard();
    let faults = faults_of(&dashboard, &catalogue().await);
    assert!(faults.is_empty(), "{faults:#?}");
    let rows: Vec<&str> = list(&dashboard, "/panels")
        .iter()
        .filter(|panel| is_row(panel))
        .map(|row| text(row, "/title"))
        .collect();
    assert_eq!(
        rows,
        [
            "At a glance",
            "Taking in",
            "Sending",
            "Queue",
            "Store",
            "Held and suspended",
            "Requests",
            "Process",
            "Connections and log"
        ]
    );
}

#[test]
fn quotes_of_descriptions_exist() {
    let (dashboard, page) = (dashboard(), Page::read());
    let descriptions = list(&dashboard, "/panels").iter().map(|panel| text(panel, "/description"));
    let quoted: BTreeSet<&str> = descriptions.flat_map(|text| quoted(text, '"')).collect();
    assert!(quoted.len() >= 5, "{quoted:?}");
    for phrase in quoted {
        match phrase.strip_prefix("stackbell ") {
            Some(command) => assert_is_command(command),
            None => assert!(page.has_section(phrase) || page.has(&format!("`{phrase}`")), "{phrase}"),
        }
    }
}

#[tokio::test]
async fn a_fault_in_the_dashboard_is_found() {
    let catalogue = catalogue().await;
    let plant = |pointer: &str, value: Value, expected: &str| {
        let mut dashboard = dashboard();
        *dashboard.pointer_mut(pointer).expect(pointer) = value;
        let faults = faults_of(&dashboard, &catalogue);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:#?}");
    };
    plant("/schemaVersion", 16.into(), "version of the schema");
    plant("/templating/list/1/name", "jobs".into(), "no variable 'job'");
    plant("/templating/list/2/query/query", "label_values(stackbell_up, instance)".into(), "no series");
    plant("/panels/1/id", 1.into(), "one id");
    plant("/panels/2/gridPos/x", 3.into(), "over 'Servers that answer'");
    plant("/panels/6/gridPos/x", 21.into(), "beyond the grid");
    plant("/panels/8/gridPos/y", 0.into(), "above the panel before it");
    plant("/panels/0/collapsed", true.into(), "is open");
    plant("/panels/1/type", "graph".into(), "does not know panels");
    plant("/panels/1/description", "".into(), "no description");
    plant("/panels/1/fieldConfig/defaults/unit", "".into(), "no unit");
    plant("/panels/1/fieldConfig/defaults/thresholds/steps/1/value", Value::Null, "thresholds begin");
    plant("/panels/1/targets/0/datasource/uid", "mine".into(), "another data source");
    plant("/panels/1/targets/0/expr", "sum(up{job=\"a\"})".into(), "of the chosen job");
    plant(
        "/panels/1/targets/0/expr",
        "sum(up{job=~\"$jobs\", instance=~\"$instance\"})".into(),
        "no variable 'jobs'",
    );
    plant("/panels/1/targets/0/expr", "sum(uptime)".into(), "no series 'uptime'");
    plant("/panels/1/targets/0/legendFormat", "{{job}}".into(), "the legend is of");
    plant("/panels/2/targets", Value::Array(vec![]), "no queries");
    plant("/panels/14/targets/0/expr", "sum(up)".into(), "no panel shows stackbell_attempts_in_flight");
}
