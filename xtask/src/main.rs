//! Maintenance tasks of this repository: `cargo run -p xtask -- tidy`.

mod tidy;

use std::process::ExitCode;

use anyhow::Result;

const USAGE: &str = "usage: cargo run -p xtask -- tidy";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => run_tidy(),
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

fn run_tidy() -> Result<ExitCode> {
    let findings = tidy::run()?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} findings", findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
