//! `cairn-host`: whole devices in directories of a Linux host, for development and tests. Never a deployment.
//!
//! It stands in for what a device has around Linux: the bootloader that decides and counts, the power switch, and the
//! cable that one plugs in. What runs inside is the program of the device, unchanged.
#![deny(unsafe_code)]

mod ask;
mod cgroup;
mod console;
mod create;
mod device;
mod elf;
mod firmware;
mod jump;
mod publish;
mod run;
mod size;
mod storage;
mod sys;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Whole devices in directories of this host, for development and tests. Needs root.
#[derive(Parser)]
#[command(name = "cairn-host", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a device that boots revision 0
    Create(create::Options),
    /// Switch a device on and stay with it until it is powered off or stopped
    Run(run::Options),
    /// Run a role of cairn inside a running device, as in: exec DEV -- pvcontrol ls
    Exec(ask::Exec),
    /// Kill PID 1 of a running device, which leaves a mark; or take its power away
    Kill(ask::Kill),
    /// Ask a running device to end, and wait until nothing of it is left
    Stop(ask::Stop),
    /// Say what a device does and how its last boot ended
    Status(ask::Status),
    /// The first process of a device, before it becomes its program
    #[command(name = "__become", hide = true)]
    Become {
        /// In JSON
        plan: String,
    },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Become { plan } = command {
        return jump::r#become(&plan);
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("error: cairn-host needs root: it mounts, and makes namespaces and cgroups. Try: sudo cairn-host …");
        return ExitCode::FAILURE;
    }
    match perform(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create::create(&options)?,
        Command::Run(options) => {
            return Ok(if run::run(options)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Exec(options) => return ask::exec(&options),
        Command::Kill(options) => ask::kill(&options)?,
        Command::Stop(options) => ask::stop(&options)?,
        Command::Status(options) => ask::status(&options)?,
        Command::Become { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}
