//! `pvr device`: devices that are around.

use std::time::Duration;

use cli::scan::scan;
use formats::json::Json;

use crate::progress::Bar;
use crate::term::{Done, note, out, warn};

/// Find devices
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Scan(ScanArgs),
}

/// Find devices on the networks of this machine
///
/// Listens for what devices announce by multicast DNS (UDP port 5353). Anybody can announce anything: what a device really is,
/// pairing and signatures say.
#[derive(clap::Args, Debug)]
pub(crate) struct ScanArgs {
    /// How long to listen
    #[arg(long, short, value_name = "SECONDS", default_value = "15")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    time: u64,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    match &args.command {
        Command::Scan(args) => run_scan(args),
    }
}

pub(crate) fn run_scan(args: &ScanArgs) -> Done {
    note(format_args!("listening for {} s", args.time));
    let (devices, is_whole) = scan(Duration::from_secs(args.time), &Bar::default())?;
    if !is_whole {
        warn(format_args!("there are more than {} devices; the rest is not shown", devices.len()));
    }
    if args.json {
        return out(Json::from(devices.iter().map(cli::scan::Device::to_json).collect::<Vec<_>>()).pretty());
    }
    for device in &devices {
        for (name, value) in device.lines() {
            out(format_args!("{name}: {value}"))?;
        }
        out("")?;
    }
    match devices.len() {
        1 => note("1 device"),
        count => note(format_args!("{count} devices")),
    }
    Ok(())
}
