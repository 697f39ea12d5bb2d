//! The series that Prometheus stores for a server.

use std::collections::{BTreeMap, BTreeSet};

/// The labels that Prometheus adds to every scraped series. Their values are the operator's.
pub(crate) const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// The type of a series' values, which decides the functions for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A counter: only its growth has a meaning. A histogram's `_sum` and `_count` are counters too.
    Counter,
    Gauge,
    /// A histogram's `_bucket`.
    Bucket,
}

/// The series with one name.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    /// The metric of these series, as in `# TYPE`.
    pub(crate) metric: String,
    /// Their labels, with the existing values.
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
}

/// All series, by their names in queries.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    series: BTreeMap<String, Series>,
}

impl Catalogue {
    /// Parses a text in the classic format, and adds Prometheus' own series about a target.
    pub(crate) fn scraped(text: &str) -> Self {
        let mut kinds: Vec<(&str, &str)> = Vec::new();
        let mut series: BTreeMap<String, Series> = BTreeMap::new();
        for line in text.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                kinds.push(described.split_once(' ').expect("a metric and its type"));
            } else if !line.starts_with('#') {
                let (name, labels) = name_and_labels(line);
                let (metric, kind) =
                    kinds.last().and_then(|described| kind_of(name, *described)).expect(line);
                let series = series.entry(name.to_owned()).or_insert_with(|| Series {
                    kind,
                    metric: metric.to_owned(),
                    labels: BTreeMap::new(),
                });
                for (label, value) in labels {
                    series.labels.entry(label.to_owned()).or_default().insert(value.to_owned());
                }
            }
        }
        let up = Series { kind: Kind::Gauge, metric: "up".to_owned(), labels: BTreeMap::new() };
        series.insert("up".to_owned(), up);
        Self { series }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Series> {
        self.series.get(name)
    }

    /// The metrics of the server itself.
    pub(crate) fn metrics(&self) -> BTreeSet<&str> {
        self.series.values().map(|series| series.metric.as_str()).filter(|metric| *metric != "up").collect()
    }
}

/// The name and labels of a sample. Our values have no comma, quote or brace; the panics here would reveal one.
fn name_and_labels(line: &str) -> (&str, Vec<(&str, &str)>) {
    let Some((name, rest)) = line.split_once('{') else {
        return (line.split_once(' ').expect("a name and a value").0, Vec::new());
    };
    let (labels, _) = rest.split_once("} ").expect("a value after the labels");
    let labels = labels.split(',').map(|pair| {
        let (label, value) = pair.split_once('=').expect("a label and its value");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quotes");
        assert!(!value.contains(['"', '\\']), "{line}");
        (label, value)
    });
    (name, labels.collect())
}

/// The metric and the type of a sample below the line `# TYPE metric kind`.
fn kind_of<'a>(sample: &str, (metric, kind): (&'a str, &str)) -> Option<(&'a str, Kind)> {
    let kind = match (kind, sample.strip_prefix(metric)?) {
        ("gauge", "") => Kind::Gauge,
        ("counter", "") | ("histogram", "_sum" | "_count") => Kind::Counter,
        ("histogram", "_bucket") => Kind::Bucket,
        _ => return None,
    };
    Some((metric, kind))
}
