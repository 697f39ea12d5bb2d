//! The series that Prometheus stores of a server.

use std::collections::{BTreeMap, BTreeSet};

/// The labels that Prometheus adds to whatever it scrapes. Their values are the operator's.
pub(crate) const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// What the values of a series are, for the functions that they can go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows; only its growth says something. A histogram's `_sum` and `_count` are counters too.
    Counter,
    Gauge,
    /// A histogram's `_bucket`.
    Bucket,
}

/// The series of one name.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    /// The metric that they are of, as `# TYPE` has it.
    pub(crate) metric: String,
    /// Their labels, with the values that there are.
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
}

/// All series, by the names that queries use.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    series: BTreeMap<String, Series>,
}

impl Catalogue {
    /// Reads a text in the classic format, and adds what Prometheus itself says of a target.
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

/// No value of ours has a comma, a quote or a brace in it, which the panics here would show.
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

/// The metric and the kind of a sample below the line `# TYPE metric kind`.
fn kind_of<'a>(sample: &str, (metric, kind): (&'a str, &str)) -> Option<(&'a str, Kind)> {
    let kind = match (kind, sample.strip_prefix(metric)?) {
        ("gauge", "") => Kind::Gauge,
        ("counter", "") | ("histogram", "_sum" | "_count") => Kind::Counter,
        ("histogram", "_bucket") => Kind::Bucket,
        _ => return None,
    };
    Some((metric, kind))
}
