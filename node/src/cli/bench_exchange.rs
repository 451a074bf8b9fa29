//! `potluck bench exchange`

use std::path::PathBuf;

use clap::Args;

use super::global::Global;
use super::output;
use crate::bench::exchange::{self, Options, Report, Transport};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};

/// Sources at once: each is a process with a home of its own.
const SOURCES_MAX: usize = 16;

#[derive(Debug, Args)]
pub struct Exchange {
    /// Size of the one file, e.g. 256MiB or 1GiB
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = crate::text::parse_bytes)]
    size: u64,
    /// Number of daemons that serve the file
    #[arg(long, value_name = "N", default_value_t = 1)]
    sources: usize,
    /// Transport; QUIC needs a build with `--features quic`
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// Seed of the file's content
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the daemons' homes, which decides the disk that is measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub async fn run(global: &Global, verb: &Exchange) -> Outcome<()> {
    if verb.size == 0 || !(1..=SOURCES_MAX).contains(&verb.sources) {
        return Err(Failure::new(Kind::Usage, format!("a size above 0 and 1 to {SOURCES_MAX} sources are needed"))
            .hint("e.g. `potluck bench exchange --size 1GiB --sources 1`"));
    }
    if verb.transport == Transport::Quic && cfg!(not(feature = "quic")) {
        return Err(Failure::new(Kind::Usage, "this program was built without QUIC")
            .hint("build it with `cargo build --release --features quic`"));
    }
    let folder = verb.folder.as_deref().map(config::absolute).transpose()?;
    let options =
        Options { transport: verb.transport, size: verb.size, sources: verb.sources, seed: verb.seed, folder };
    let report = exchange::run(&options).await?;
    output::answer(global, Report::SCHEMA, &report, |report, _| render(report))
}

fn render(report: &Report) -> Vec<String> {
    let Report { mib_per_second, durable_mib_per_second, disk_mib_per_second, durable_share_of_disk, .. } = report;
    let phases = report.phases;
    let mut lines = vec![
        format!(
            "{} from {} over {}: {mib_per_second:.0} MiB/s complete and verified, {durable_mib_per_second:.0} MiB/s durable",
            output::bytes(report.bytes),
            if report.sources == 1 { "one source".to_owned() } else { format!("{} sources", report.sources) },
            report.transport.name(),
        ),
        format!(
            "found {:.2} s, content {:.2} s, then durable {:.2} s; the disk alone {disk_mib_per_second:.0} MiB/s ({})",
            phases.found_seconds,
            phases.content_seconds,
            phases.durable_seconds,
            output::percent(*durable_share_of_disk),
        ),
    ];
    let daemons = std::iter::once(("puller", &report.puller)).chain(report.providers.iter().map(|one| ("source", one)));
    for (name, used) in daemons {
        if let (Some(mb), Some(cpu)) = (used.peak_rss_mb, used.cpu_seconds) {
            lines.push(format!("{name}: {mb:.0} MB at most, {cpu:.1} s of processor time"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Used;
    use crate::cli::snapshots::check;
    use crate::exchange::Phases;

    #[test]
    fn what_is_seen() {
        let used = Used { peak_rss_mb: Some(64.0), cpu_seconds: Some(1.5) };
        let report = Report {
            bytes: 1 << 30,
            sources: 1,
            transport: Transport::Tcp,
            mib_per_second: 500.0,
            durable_mib_per_second: 300.0,
            phases: Phases { found_seconds: 0.01, content_seconds: 2.0, durable_seconds: 1.4 },
            disk_mib_per_second: 600.0,
            durable_share_of_disk: 0.5,
            fetched_bytes: 1 << 30,
            wasted_bytes: 0,
            puller: used,
            providers: vec![Used { peak_rss_mb: None, cpu_seconds: None }, used],
        };
        check("bench-exchange", |_| render(&report));
    }
}
