//! The `gantry` command: exit codes only.

fn main() {}
