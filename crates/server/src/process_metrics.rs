//! Metrics of the process itself, under the names that Prometheus' own clients use, and its version.
//!
//! | name | kind | labels | meaning |
//! | --- | --- | --- | --- |
//! | `process_cpu_seconds_total` | counter | | CPU time that the process has used |
//! | `process_resident_memory_bytes` | gauge | | memory that it occupies |
//! | `process_virtual_memory_bytes` | gauge | | address space that it has |
//! | `process_open_fds` | gauge | | file descriptors that it has open |
//! | `process_max_fds` | gauge | | file descriptors that it may open |
//! | `process_start_time_seconds` | gauge | | when the server started, since the Unix epoch |
//! | `stackbell_build_info` | gauge | `version` | always 1 |
//!
//! The values are read at each scrape. Systems without `/proc` show no memory and no open descriptors. Systems other than Unix
//! show only `stackbell_build_info`.

#[cfg(unix)]
mod unix;

use std::fmt;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use stackbell_model::Timestamp;

/// The resources that this process uses, and its version.
pub(crate) struct ProcessMetrics(Registry);

impl ProcessMetrics {
    /// The metrics of a server that started at `started_at`.
    pub(crate) fn new(started_at: Timestamp) -> Self {
        let mut registry = Registry::default();
        #[cfg(unix)]
        registry.register_collector(Box::new(unix::Process { started_at }));
        #[cfg(not(unix))]
        let _ = started_at;
        let build = Family::<[(&str, &str); 1], Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("stackbell_build_info", "The version of Stackbell that runs; always 1", build);
        Self(registry)
    }

    /// Appends everything to an OpenMetrics text, without the line that ends it.
    ///
    /// # Errors
    /// If a metric cannot be written as text, which would be a defect.
    pub(crate) fn encode(&self, text: &mut String) -> Result<(), fmt::Error> {
        encode_registry(text, &self.0)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;

    fn text() -> String {
        let mut text = String::new();
        let metrics = ProcessMetrics::new(Timestamp::from_millis(1_778_653_205_500));
        metrics.encode(&mut text).expect("text");
        text
    }

    fn value(name: &str) -> f64 {
        let text = text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
    }

    #[test]
    fn the_process_shows_what_it_takes() {
        assert!((value("process_start_time_seconds") - 1_778_653_205.5).abs() < 0.01);
        let memory = value("process_resident_memory_bytes");
        assert!(memory > 1e5 && memory < value("process_virtual_memory_bytes"), "{memory}");
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(text().contains(concat!(
            "stackbell_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        )));
    }

    #[test]
    fn an_open_file_counts() {
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").expect("it is there")).collect();
        assert!(value("process_open_fds") > 100.0);
        drop(files);
    }

    #[test]
    fn work_takes_cpu_time() {
        let before = value("process_cpu_seconds_total");
        // The loop runs for some ten seconds at most; a hundredth of a second is enough.
        let is_counted = (0..1000).any(|_| {
            let sum: u64 = (0..1_000_000).map(std::hint::black_box).sum();
            sum > 0 && value("process_cpu_seconds_total") >= before + 0.01
        });
        assert!(is_counted, "still {before}");
    }
}
