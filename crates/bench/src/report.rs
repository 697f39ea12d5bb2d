//! Figures with their spread and target, and a table of them.

use anyhow::{Context, ensure};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

/// A median with its minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// # Errors
    /// If there are no values.
    pub(crate) fn of(values: &[f64]) -> anyhow::Result<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            anyhow::bail!("nothing was measured");
        };
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Ok(Self { median, min: *min, max: *max })
    }
}

/// The given percentile of values in any order: the smallest value that `of_hundred` percent of them do not
/// exceed.
///
/// # Errors
/// If there are no values.
pub(crate) fn percentile(values: &[f64], of_hundred: f64) -> anyhow::Result<f64> {
    ensure!((0.0..=100.0).contains(&of_hundred), "a part of a hundred");
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (of_hundred / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().context("nothing was measured")
}

/// The target of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::AtLeast(least) => format!("at least {}", number(least)),
            Self::AtMost(most) => format!("at most {}", number(most)),
        }
    }
}

/// A quantity with one or more measured values.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    values: Vec<f64>,
    target: Option<Target>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { what: what.into(), unit, values, target: None }
    }

    #[must_use]
    pub(crate) fn with_target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }
}

/// The figures of all scenarios, in the order of measurement.
#[derive(Default)]
pub(crate) struct Report(Vec<(&'static str, Figure)>);

impl Report {
    pub(crate) fn add(&mut self, scenario: &'static str, figures: Vec<Figure>) {
        self.0.extend(figures.into_iter().map(|figure| (scenario, figure)));
    }

    /// Formats the table in Markdown.
    ///
    /// # Errors
    /// If a figure has no values.
    pub(crate) fn table(&self) -> anyhow::Result<String> {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header(["scenario", "what", "unit", "median", "min to max", "target", "met"]);
        for (scenario, figure) in &self.0 {
            let spread = Spread::of(&figure.values).with_context(|| figure.what.clone())?;
            let several = figure.values.len() > 1;
            table.add_row([
                (*scenario).to_owned(),
                figure.what.clone(),
                figure.unit.to_owned(),
                number(spread.median),
                if several {
                    format!("{} to {}", number(spread.min), number(spread.max))
                } else {
                    String::new()
                },
                figure.target.map(Target::in_words).unwrap_or_default(),
                figure.target.map(|target| yes_or_no(target.is_met(spread.median))).unwrap_or_default(),
            ]);
        }
        if let Some(column) = table.column_mut(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        Ok(table.trim_fmt())
    }

    /// The number of targets, and the number of targets met.
    pub(crate) fn targets(&self) -> anyhow::Result<(usize, usize)> {
        let (mut all, mut met) = (0, 0);
        for (_, figure) in &self.0 {
            if let Some(target) = figure.target {
                all += 1;
                met += usize::from(target.is_met(Spread::of(&figure.values)?.median));
            }
        }
        Ok((all, met))
    }
}

fn yes_or_no(is_met: bool) -> String {
    if is_met { "yes" } else { "NO" }.to_owned()
}

/// Formats a figure with its significant digits.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_spread(values: &[f64], median: f64, min: f64, max: f64) {
        assert_eq!(Spread::of(values).ok(), Some(Spread { median, min, max }), "{values:?}");
    }

    #[test]
    fn a_median_is_in_the_middle() {
        check_spread(&[3.0], 3.0, 3.0, 3.0);
        check_spread(&[3.0, 1.0, 2.0], 2.0, 1.0, 3.0);
        check_spread(&[4.0, 1.0, 2.0, 9.0], 3.0, 1.0, 9.0);
        assert!(Spread::of(&[]).is_err());
    }

    fn check_percentile(of_hundred: f64, expected: f64) {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, of_hundred).ok(), Some(expected), "{of_hundred}");
    }

    #[test]
    fn percentiles_are_values_that_there_are() {
        check_percentile(0.0, 1.0);
        check_percentile(50.0, 100.0);
        check_percentile(99.0, 198.0);
        check_percentile(100.0, 200.0);
        assert!(percentile(&[], 50.0).is_err());
        assert!(percentile(&[1.0], 101.0).is_err());
    }

    #[test]
    fn the_table_says_what_is_not_met() {
        let mut report = Report::default();
        let met = Figure::new("fast", "/s", vec![30.0, 31.0, 29.0]).with_target(Target::AtLeast(30.0));
        let missed = Figure::new("small", "MiB", vec![41.0]).with_target(Target::AtMost(40.0));
        report.add("one", vec![met, missed, Figure::new("told", "ms", vec![0.25])]);
        let table = report.table().expect("a table");
        let rows: Vec<Vec<&str>> =
            table.lines().skip(2).map(|row| row.split('|').map(str::trim).collect()).collect();
        assert_eq!(rows[0], ["", "one", "fast", "/s", "30.0", "29.0 to 31.0", "at least 30.0", "yes", ""]);
        assert_eq!(rows[1], ["", "one", "small", "MiB", "41.0", "", "at most 40.0", "NO", ""]);
        assert_eq!(rows[2], ["", "one", "told", "ms", "0.250", "", "", "", ""]);
        assert_eq!(report.targets().ok(), Some((2, 1)));
    }
}
