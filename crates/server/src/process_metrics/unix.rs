//! The figures of this process on Unix.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use stackbell_model::Timestamp;

/// The collector, which reads the figures at each scrape.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) started_at: Timestamp,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "seconds and nanoseconds are small enough")]
        let cpu = ConstCounter::new(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
        let described = "CPU time that the process has used, of all its threads";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", described, None, cpu.metric_type())?)?;
        if let Some(Memory { resident, size }) = Memory::read() {
            gauge(
                &mut encoder,
                "process_resident_memory_bytes",
                "Memory that the process occupies",
                resident,
            )?;
            gauge(&mut encoder, "process_virtual_memory_bytes", "Address space of the process", size)?;
        }
        if let Some(open) = open_descriptors() {
            gauge(&mut encoder, "process_open_fds", "File descriptors that are open", open)?;
        }
        let max = getrlimit(Resource::Nofile).current;
        #[expect(clippy::cast_precision_loss, reason = "a limit is small enough, or next to infinite")]
        let max = max.map_or(f64::INFINITY, |max| max as f64);
        gauge(&mut encoder, "process_max_fds", "File descriptors that may be open", max)?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are small enough")]
        let started_at = self.started_at.as_millis() as f64 / 1e3;
        let described = "When the server started, in seconds since the Unix epoch";
        gauge(&mut encoder, "process_start_time_seconds", described, started_at)
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &'static str,
    value: f64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

/// Sizes in bytes.
struct Memory {
    resident: f64,
    size: f64,
}

impl Memory {
    /// From `/proc/self/statm`, in pages: the whole size, the resident size, and more. Source: proc(5).
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/statm").ok()?;
        let mut pages = text.split(' ').map(|pages| pages.parse::<f64>().ok());
        #[expect(clippy::cast_precision_loss, reason = "a page is some KiB")]
        let page = rustix::param::page_size() as f64;
        let (size, resident) = (pages.next()??, pages.next()??);
        Some(Self { resident: resident * page, size: size * page })
    }
}

/// The number of open descriptors, without the one that this listing of the directory uses.
fn open_descriptors() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(open).ok().map(f64::from)
}
