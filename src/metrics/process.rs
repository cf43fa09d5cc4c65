//! What the system says of this process, read from `/proc/self` whenever somebody looks.

use std::fmt::Error;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Kernel clock ticks in a second, as user space sees them: on Linux so since long, on every machine.
const TICKS: f64 = 100.0;
/// What `status` counts memory in.
const KIB: f64 = 1024.0;

/// Tells how the process does.
#[derive(Debug)]
pub(super) struct Process;

/// What there is to tell; what the system does not say is left out.
#[derive(Debug, Default, PartialEq)]
struct State {
    cpu: Option<f64>,
    started: Option<f64>,
    resident: Option<f64>,
    virtual_: Option<f64>,
    threads: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let state = State::read();
        let gauges = [
            ("process_start_time_seconds", "When the process began, in seconds since 1970", state.started),
            ("process_resident_memory_bytes", "Bytes of memory in use", state.resident),
            ("process_virtual_memory_bytes", "Bytes of address space in use", state.virtual_),
            ("process_threads", "Threads", state.threads),
            ("process_open_fds", "Open files and sockets", state.open_fds),
            ("process_max_fds", "Files and sockets that may be open", state.max_fds),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        if let Some(cpu) = state.cpu {
            let (name, help) = ("process_cpu_seconds", "Seconds of processor time, in user and system");
            let counter = ConstCounter::new(cpu);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

impl State {
    fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").ok();
        // That one is open only to count them.
        let open_fds = open.map(|entries| entries.count().saturating_sub(1) as f64);
        let boot = field(&text("stat"), "btime ");
        Self { open_fds, ..Self::parse(&text("self/stat"), &text("self/status"), &text("self/limits"), boot) }
    }

    /// `stat` as proc_pid_stat(5) has it, `status` as proc_pid_status(5), `limits` as proc_pid_limits(5); `boot`: when
    /// the system began.
    fn parse(stat: &str, status: &str, limits: &str, boot: Option<f64>) -> Self {
        // The second field is the program's name, which may have anything in it but ends with the last parenthesis.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let nth = |n: usize| fields.split_ascii_whitespace().nth(n - 3)?.parse::<f64>().ok();
        let kib = |name: &str| Some(field(status, name)? * KIB);
        Self {
            cpu: nth(14).zip(nth(15)).map(|(user, system)| (user + system) / TICKS),
            started: nth(22).zip(boot).map(|(ticks, boot)| boot + ticks / TICKS),
            resident: kib("VmRSS:"),
            virtual_: kib("VmSize:"),
            threads: field(status, "Threads:"),
            open_fds: None,
            max_fds: field(limits, "Max open files"),
        }
    }
}

/// The first number behind `name`, at the beginning of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 4 0 1000 99999 321 18446744073709551615";
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t   1024 kB\nThreads:\t4\n";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024  524288  files\n";
        let expected = State {
            cpu: Some(2.0),
            started: Some(1_000_010.0),
            resident: Some(1024.0 * 1024.0),
            virtual_: Some(2048.0 * 1024.0),
            threads: Some(4.0),
            open_fds: None,
            max_fds: Some(1024.0),
        };
        assert_eq!(State::parse(stat, status, limits, Some(1_000_000.0)), expected);
    }

    #[test]
    fn a_system_that_says_nothing_is_no_failure() {
        assert_eq!(State::parse("", "", "", None), State::default());
        assert_eq!(State::parse(")", "VmRSS:", "Max open files unlimited", None), State::default());
    }
}
