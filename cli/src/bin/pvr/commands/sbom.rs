//! `pvr sbom`: what the committed state is made of.

use std::path::PathBuf;

use cli::contents::states::{Objects, Side};
use cli::repo::durable;
use cli::sbom::{collect, document};

use crate::commands::{here, source_date_epoch};
use crate::progress::Bar;
use crate::term::{Done, note, out, warn};

/// List what the committed state is made of (SBOM)
///
/// Containers and the images they were made of, all objects by their SHA-256, and the packages in their file systems, as
/// dpkg, apk and opkg have left them there. What could not be read is said, here and in the document. Equal states are
/// equal documents: their time is that of the newest image, or SOURCE_DATE_EPOCH.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr sbom -o device.spdx.json      everything
  pvr sbom web bsp                  one container, and kernel and modules")]
pub(crate) struct Args {
    /// In which format
    #[arg(long, value_enum, default_value_t = Format::SpdxJson)]
    format: Format,
    /// Write it into a file, which is there when all of it is, or not at all
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only these containers or directories of the state
    #[arg(value_name = "APP")]
    apps: Vec<String>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Format {
    /// SPDX 2.3 in JSON
    SpdxJson,
}

pub(crate) fn run(args: &Args) -> Done {
    let Format::SpdxJson = args.format;
    let repo = here()?;
    let side = Side { state: repo.committed()?, objects: Objects::Pool(repo.pool().clone()) };
    let inventory = collect(&side, &args.apps, &Bar::default())?;
    let objects = inventory.components.values().flat_map(|component| &component.objects);
    for (path, object) in objects {
        for (_, said) in object.remarks().into_iter().filter(|(loud, _)| *loud) {
            warn(format_args!("{path}: {said}"));
        }
    }
    let mut text = document(&inventory, source_date_epoch()?).pretty();
    match &args.output {
        None => out(text),
        Some(file) => {
            text.push('\n');
            durable::replace(file, text.as_bytes(), 0o644)?;
            note(format_args!("wrote {}", file.display()));
            Ok(())
        }
    }
}
