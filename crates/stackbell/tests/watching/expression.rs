//! Finds the faults of a PromQL expression, given the existing series.
//!
//! The check knows only the parts of the language that our expressions use, and rejects the others.

use std::collections::BTreeSet;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
};

use crate::catalogue::{Catalogue, Kind, Series, TARGET_LABELS};

/// Gauges of the whole store. Every node on the store shows the same values, so their sum would be too large.
const WHOLE_STORE: [&str; 9] = [
    "stackbell_deliveries_pending",
    "stackbell_deliveries_due",
    "stackbell_deliveries_waiting",
    "stackbell_breakers_open",
    "stackbell_oldest_due_seconds",
    "stackbell_webhooks_suspended",
    "stackbell_recoveries_running",
    "stackbell_sending_held",
    "stackbell_nodes",
];

const OF_COUNTERS: [&str; 2] = ["rate", "increase"];
const OF_GAUGES: [&str; 2] = ["deriv", "min_over_time"];

/// A checked expression.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) expr: Expr,
    /// The labels of its results.
    pub(crate) labels: BTreeSet<String>,
    /// The metrics that it queries.
    pub(crate) metrics: BTreeSet<String>,
    pub(crate) selectors: Vec<VectorSelector>,
}

/// Checks an expression.
///
/// # Errors
/// All faults of the expression.
pub(crate) fn check(text: &str, catalogue: &Catalogue) -> Result<Checked, Vec<String>> {
    let expr = parser::parse(text).map_err(|error| vec![format!("does not parse: {error}")])?;
    let mut check = Check { catalogue, faults: Vec::new(), metrics: BTreeSet::new(), selectors: Vec::new() };
    let labels = check.expr(&expr, Place::default());
    let Check { faults, metrics, selectors, .. } = check;
    if faults.is_empty() { Ok(Checked { expr, labels, metrics, selectors }) } else { Err(faults) }
}

/// Whether the expression has no result while everything is in order. An alert's expression must be like this.
pub(crate) fn is_condition(expr: &Expr) -> bool {
    match expr {
        Expr::Paren(paren) => is_condition(&paren.expr),
        Expr::Call(call) => call.func.name == "absent",
        Expr::Binary(binary) => match binary.op.to_string().as_str() {
            "and" => is_condition(&binary.lhs) || is_condition(&binary.rhs),
            "or" => is_condition(&binary.lhs) && is_condition(&binary.rhs),
            "unless" => is_condition(&binary.lhs),
            _ => binary.op.is_comparison_operator() && !binary.return_bool(),
        },
        _ => false,
    }
}

/// The context of a part of an expression.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    /// The range function around it.
    function: Option<&'a str>,
    /// The innermost aggregation around the part.
    aggregation: Option<&'a str>,
    in_quantile: bool,
}

struct Check<'a> {
    catalogue: &'a Catalogue,
    faults: Vec<String>,
    metrics: BTreeSet<String>,
    selectors: Vec<VectorSelector>,
}

impl Check<'_> {
    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    /// Checks an expression. Returns the labels of its results.
    fn expr(&mut self, expr: &Expr, place: Place<'_>) -> BTreeSet<String> {
        match expr {
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, place),
            Expr::Binary(binary) => self.binary(binary, place),
            Expr::Paren(paren) => self.expr(&paren.expr, place),
            Expr::NumberLiteral(_) => BTreeSet::new(),
            Expr::VectorSelector(selector) => self.selector(selector, place),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs, place),
            Expr::Call(call) => self.call(call, place),
            Expr::Unary(_) | Expr::Subquery(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {
                self.fault(format!("'{expr}' is of a sort that this check does not know"));
                BTreeSet::new()
            }
        }
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr, place: Place<'_>) -> BTreeSet<String> {
        let operator = aggregate.op.to_string();
        if !["sum", "max"].contains(&operator.as_str()) {
            self.fault(format!("this check does not know '{operator}'"));
        }
        let inner = self.expr(&aggregate.expr, Place { aggregation: Some(&operator), ..place });
        let Some(modifier) = &aggregate.modifier else { return BTreeSet::new() };
        let named: BTreeSet<String> = modifier.labels().labels.iter().cloned().collect();
        self.are_labels_of(&named, &inner, aggregate);
        match modifier {
            LabelModifier::Include(_) => named,
            LabelModifier::Exclude(_) => inner.difference(&named).cloned().collect(),
        }
    }

    fn are_labels_of(
        &mut self,
        named: &BTreeSet<String>,
        labels: &BTreeSet<String>,
        of: &dyn std::fmt::Display,
    ) {
        for label in named.difference(labels) {
            self.fault(format!("there is no label '{label}' in '{of}'"));
        }
    }

    /// Two sides with different labels match nothing, so the result would always be empty.
    fn binary(&mut self, binary: &BinaryExpr, place: Place<'_>) -> BTreeSet<String> {
        let (left, right) = (self.expr(&binary.lhs, place), self.expr(&binary.rhs, place));
        match (&*binary.lhs, &*binary.rhs) {
            (_, Expr::NumberLiteral(_)) => return left,
            (Expr::NumberLiteral(_), _) => return right,
            _ => {}
        }
        let modifier = binary.modifier.as_ref();
        if modifier.is_some_and(|modifier| {
            !matches!(modifier.card, VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany)
        }) {
            self.fault(format!("this check does not know groups of '{}'", binary.op));
        }
        match modifier.and_then(|modifier| modifier.matching.as_ref()) {
            None if left != right => {
                self.fault(format!(
                    "the sides of '{}' have different labels: {left:?}, {right:?}",
                    binary.op
                ));
            }
            None => {}
            Some(LabelModifier::Include(on)) => {
                let on: BTreeSet<String> = on.labels.iter().cloned().collect();
                self.are_labels_of(&on, &left, &binary.lhs);
                self.are_labels_of(&on, &right, &binary.rhs);
                if !binary.op.is_set_operator() && !binary.op.is_comparison_operator() {
                    return on;
                }
            }
            Some(LabelModifier::Exclude(_)) => self.fault("this check does not know 'ignoring'".to_owned()),
        }
        left
    }

    fn call(&mut self, call: &Call, place: Place<'_>) -> BTreeSet<String> {
        let name = call.func.name;
        let arguments: Vec<&Expr> = call.args.args.iter().map(AsRef::as_ref).collect();
        match (name, arguments.as_slice()) {
            ("histogram_quantile", [_, buckets]) => {
                let mut labels = self.expr(buckets, Place { in_quantile: true, ..place });
                if !labels.remove("le") {
                    self.fault(format!("the label 'le' is lost in '{call}'"));
                }
                labels
            }
            ("absent", [inner]) => self.expr(inner, place),
            (_, [ranges]) if OF_COUNTERS.contains(&name) || OF_GAUGES.contains(&name) => {
                self.expr(ranges, Place { function: Some(name), ..place })
            }
            _ => {
                self.fault(format!("this check does not know '{call}'"));
                BTreeSet::new()
            }
        }
    }

    fn selector(&mut self, selector: &VectorSelector, place: Place<'_>) -> BTreeSet<String> {
        let name = selector.name.as_deref().unwrap_or_default();
        let Some(series) = self.catalogue.get(name) else {
            self.fault(format!("there is no series '{name}'"));
            return BTreeSet::new();
        };
        self.metrics.insert(series.metric.clone());
        self.selectors.push(selector.clone());
        self.use_of(name, series.kind, place);
        if !selector.matchers.or_matchers.is_empty() {
            self.fault(format!("this check does not know the alternatives of '{selector}'"));
        }
        for matcher in &selector.matchers.matchers {
            self.matcher(name, series, matcher);
        }
        let target = TARGET_LABELS.iter().map(|label| (*label).to_owned());
        series.labels.keys().cloned().chain(target).collect()
    }

    fn use_of(&mut self, name: &str, kind: Kind, place: Place<'_>) {
        let function = place.function.unwrap_or_default();
        let grows = OF_COUNTERS.contains(&function);
        match kind {
            Kind::Counter | Kind::Bucket if !grows => {
                self.fault(format!("'{name}' only grows: ask for its rate or increase"));
            }
            Kind::Gauge if grows => {
                self.fault(format!("'{name}' goes up and down: '{function}' is for counters"));
            }
            Kind::Counter | Kind::Bucket | Kind::Gauge => {}
        }
        if (kind == Kind::Bucket) != place.in_quantile {
            self.fault(format!("histogram_quantile and buckets belong together, and '{name}' breaks that"));
        }
        if WHOLE_STORE.contains(&name) && place.aggregation != Some("max") {
            self.fault(format!("'{name}' is of the whole store, and every node shows it: take the max"));
        }
    }

    fn matcher(&mut self, name: &str, series: &Series, matcher: &Matcher) {
        let label = matcher.name.as_str();
        if TARGET_LABELS.contains(&label) {
            return;
        }
        let Some(values) = series.labels.get(label) else {
            self.fault(format!("'{name}' has no label '{label}'"));
            return;
        };
        // A misspelt alternative of a regular expression would hide behind the others, so only plain words are used.
        let wanted: Vec<&str> = match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
            MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
        };
        for value in wanted.into_iter().filter(|value| !values.contains(*value)) {
            self.fault(format!("'{label}' of '{name}' is never '{value}'"));
        }
    }
}

/// A shortened scrape of a server.
const SAMPLE: &str = r#"# TYPE stackbell_attempts_total counter
stackbell_attempts_total{result="success"} 3
stackbell_attempts_total{result="status"} 0
# TYPE stackbell_attempts_in_flight gauge
stackbell_attempts_in_flight 1
# TYPE stackbell_sending_held gauge
stackbell_sending_held 0
# TYPE stackbell_commit_duration_seconds histogram
stackbell_commit_duration_seconds_sum 0.5
stackbell_commit_duration_seconds_count 1
stackbell_commit_duration_seconds_bucket{le="1.0"} 1
stackbell_commit_duration_seconds_bucket{le="+Inf"} 1
"#;

#[test]
fn correct_expressions_have_no_faults() {
    let catalogue = Catalogue::scraped(SAMPLE);
    let check = |text: &str, labels: &[&str]| {
        let checked = check(text, &catalogue).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        assert_eq!(checked.labels.iter().map(String::as_str).collect::<Vec<_>>(), labels, "{text}");
    };
    check("up", &["instance", "job"]);
    check("absent(up{job='stackbell'})", &["instance", "job"]);
    check("rate(stackbell_attempts_total[5m])", &["instance", "job", "result"]);
    check("sum without (result, job) (rate(stackbell_attempts_total[5m]))", &["instance"]);
    check(
        "sum by (job) (rate(stackbell_attempts_total{result='success'}[5m])) / sum by (job) (rate(stackbell_attempts_total{result=~'success|status'}[5m])) < 0.5",
        &["job"],
    );
    check(
        "histogram_quantile(0.9, sum by (job, le) (rate(stackbell_commit_duration_seconds_bucket[5m])))",
        &["job"],
    );
    check("max by (job) (stackbell_sending_held) == 1", &["job"]);
    check(
        "stackbell_attempts_in_flight > 0 and on (job, instance) rate(stackbell_attempts_total{result='status'}[5m]) == 0",
        &["instance", "job"],
    );
}

#[test]
fn faults_are_found() {
    let catalogue = Catalogue::scraped(SAMPLE);
    for (text, fault) in [
        ("sum(rate(stackbell_attempts_total[5m])", "does not parse"),
        ("rate(stackbell_attempts_total)", "does not parse"),
        ("rate(stackbell_attempts[5m])", "no series 'stackbell_attempts'"),
        ("stackbell_attempts_in_fligth", "no series 'stackbell_attempts_in_fligth'"),
        (
            "rate(stackbell_attempts_total{result='sucess'}[5m])",
            "'result' of 'stackbell_attempts_total' is never 'sucess'",
        ),
        ("rate(stackbell_attempts_total{result!='sucess'}[5m])", "never 'sucess'"),
        ("rate(stackbell_attempts_total{result=~'success|stauts'}[5m])", "never 'stauts'"),
        ("rate(stackbell_attempts_total{result=~'s.*'}[5m])", "never 's.*'"),
        ("rate(stackbell_attempts_total{state='success'}[5m])", "has no label 'state'"),
        ("sum by (state) (rate(stackbell_attempts_total[5m]))", "no label 'state'"),
        ("sum without (state) (rate(stackbell_attempts_total[5m]))", "no label 'state'"),
        ("sum by (result) (sum by (job) (rate(stackbell_attempts_total[5m])))", "no label 'result'"),
        ("sum(stackbell_attempts_total)", "only grows"),
        ("deriv(stackbell_attempts_total[5m])", "only grows"),
        ("increase(stackbell_attempts_in_flight[5m])", "goes up and down"),
        ("histogram_quantile(0.9, rate(stackbell_commit_duration_seconds_sum[5m]))", "belong together"),
        ("rate(stackbell_commit_duration_seconds_bucket[5m])", "belong together"),
        (
            "histogram_quantile(0.9, sum by (job) (rate(stackbell_commit_duration_seconds_bucket[5m])))",
            "'le' is lost",
        ),
        ("sum by (job) (stackbell_sending_held)", "take the max"),
        ("stackbell_sending_held", "take the max"),
        ("sum(max by (instance) (stackbell_sending_held)) / up", "different labels"),
        ("stackbell_attempts_in_flight > on (result) up", "no label 'result'"),
        ("up * on (job) group_left () up", "does not know groups"),
        ("up and ignoring (job) up", "does not know 'ignoring'"),
        ("avg(up)", "does not know 'avg'"),
        ("abs(up)", "does not know 'abs(up)'"),
        ("-up", "does not know"),
        ("{__name__='up'}", "no series ''"),
        ("up{job='a' or job='b'}", "does not know the alternatives"),
    ] {
        let faults = check(text, &catalogue).expect_err(text);
        assert!(faults.iter().any(|found| found.contains(fault)), "{text}: {faults:?}");
    }
}

#[test]
fn conditions_differ_from_series_that_always_exist() {
    for (text, expected) in [
        ("up == 0", true),
        ("(up == 0) and up", true),
        ("up and up == 0", true),
        ("up == 0 unless up", true),
        ("up == 0 or up > 2", true),
        ("absent(up)", true),
        ("up", false),
        ("up == bool 0", false),
        ("up == 0 or up", false),
        ("up unless up == 0", false),
        ("up / up", false),
    ] {
        assert_eq!(is_condition(&parser::parse(text).expect(text)), expected, "{text}");
    }
}
