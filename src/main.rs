//! The `gantry` command: exit codes only.

use std::process::ExitCode;

/// Takes its memory from the kernel in huge pages, as `.cargo/config.toml` says to whoever builds in this folder: what a cache fills for the first time costs a
/// page fault for every 2 MiB in place of one for every 4 KiB, and what is freed while objects stream is kept for a
/// while.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    gantry::cli::run(std::env::args_os())
}
