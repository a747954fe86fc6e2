//! `pvr app`

mod add;
mod again;
mod means;

use std::path::{Path, PathBuf};

use cli::app;
use cli::image::manifest::Platform;
use cli::{Error, Result};
use formats::json::Json;
use formats::lxc::Capability;

pub(crate) use means::Means;

use crate::commands::{Keys, here};
use crate::term::{Done, note, out};

/// Make containers of images, and look at them
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr app add web --from nginx:1.27 --platform linux/arm64
  pvr app add --from registry.example.com/team/web@sha256:…     called web
  pvr app add web --from oci:build/layout:latest --group app --status-goal STARTED
  pvr app add gps --from team/gps --device /dev/ttyUSB0 --cap sys_time
  pvr app add gps --type pvr --from 10.0.0.5#gps,_config/gps
  pvr app update web
  pvr app info web
  pvr app seccomp --platform linux/arm64 --output web/seccomp.bpf
  pvr app rm web")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Add(Box<add::Add>),
    Install(again::Install),
    Update(again::Update),
    /// List the containers that were made of something
    Ls {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Say where a container came from and what it may do
    Info {
        /// Which
        name: String,
        /// Print its src.json
        #[arg(long)]
        json: bool,
    },
    /// Remove a container, its signature and its configuration
    ///
    /// What was committed comes back with `pvr reset`, until the next commit.
    Rm {
        /// Which
        name: String,
        /// Keep _config/NAME
        #[arg(long)]
        keep_config: bool,
    },
    /// Compile a filter of system calls
    ///
    /// Without a PROFILE it is the one that `pvr app add` writes, for a container that keeps other capabilities: the calls
    /// that need one of them are allowed too. A container has it with the line `lxc.seccomp.profile = FILE`, a file beside
    /// that line.
    Seccomp {
        /// A text in LXC's language, version 2, as lxc.seccomp.profile names it elsewhere
        #[arg(conflicts_with = "keep")]
        profile: Option<PathBuf>,
        /// What the device runs: ARCH or OS/ARCH[/VARIANT]
        #[arg(long, value_name = "PLATFORM")]
        platform: String,
        /// A capability of lxc.cap.keep, like sys_time; once for each [default: those of root under `confined`]
        #[arg(long, value_name = "CAPABILITY")]
        keep: Vec<String>,
        /// Where it goes
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    match &args.command {
        Command::Add(args) => add::run(args, keys),
        Command::Install(args) => again::install(args, keys),
        Command::Update(args) => again::update(args, keys),
        Command::Ls { json } => {
            let names = app::list(&here()?)?;
            if *json {
                return out(Json::from(names).pretty());
            }
            names.iter().try_for_each(out)
        }
        Command::Info { name, json } => info(name, *json),
        Command::Rm { name, keep_config } => {
            for path in app::remove(&here()?, name, *keep_config)? {
                note(format_args!("Removing {path}"));
            }
            note("`pvr commit` takes it out of the state; `pvr reset` brings back what was committed");
            Ok(())
        }
        Command::Seccomp { profile, platform, keep, output } => seccomp(profile.as_deref(), platform, keep, output),
    }
}

fn seccomp(profile: Option<&Path>, platform: &str, keep: &[String], output: &Path) -> Done {
    let platform = platform_of(platform)?;
    let arch = cli::seccomp::arch(&platform.architecture).ok_or_else(|| {
        Error::user(format!("no table of the system calls of {platform} is here"))
            .hint("there are those of amd64, 386, arm64, arm and riscv64")
    })?;
    let keeps = keep.iter().map(capability).collect::<Result<Vec<_>>>()?;
    let keeps = if keep.is_empty() { app::KEPT } else { &keeps };
    let filter = match profile {
        Some(profile) => cli::seccomp::of_file(profile, arch)?,
        None => cli::seccomp::confined(arch, keeps).map_err(|why| Error::internal(why.to_string()))?,
    };
    filter.serves(arch).map_err(|why| Error::user(why.to_string()))?;
    cli::seccomp::write(&filter, output)?;
    note(format_args!("{}: {} instructions", output.display(), filter.steps().len()));
    Ok(())
}

fn capability(word: &String) -> Result<Capability> {
    Capability::parse(word).ok_or_else(|| Error::user(format!("{word:?} is no capability like sys_time")))
}

pub(crate) fn platform_of(text: &str) -> Result<Platform> {
    Platform::parse(text).ok_or_else(|| {
        Error::user(format!("{text:?} is no platform")).hint("write ARCH or OS/ARCH[/VARIANT], like linux/arm64")
    })
}

fn info(name: &str, json: bool) -> Done {
    let info = app::info(&here()?, name)?;
    if json {
        return out(info.src.pretty());
    }
    let said = |json: Option<&Json>, member: &str| {
        json.and_then(|json| json.get(member)).and_then(Json::as_str).unwrap_or("-").to_owned()
    };
    let (src, run) = (Some(&info.src), info.run.as_ref());
    let tag = info.src.get("docker_tag").and_then(Json::as_str).map(|tag| format!(":{tag}")).unwrap_or_default();
    let made_of = |member: &str, other: &str| match info.src.get(member) {
        None => said(src, other),
        Some(_) => said(src, member),
    };
    let digest = made_of("docker_digest", "rootfs_digest");
    let digest = digest.rsplit_once('@').map_or(digest.as_str(), |(_, digest)| digest);
    // What came from another state is that state's, whatever it was made of there.
    match info.src.get("pvr").and_then(Json::as_str) {
        Some(address) => out(format_args!("source      {address}"))?,
        None => out(format_args!("source      {}{tag}", made_of("docker_name", "rootfs_url")))?,
    }
    out(format_args!("digest      {digest}"))?;
    out(format_args!("platform    {}", said(src, "docker_platform")))?;
    out(format_args!("template    {}", said(src, "template")))?;
    out(format_args!("group       {}", said(run, "group")))?;
    out(format_args!("goal        {}", said(run, "status_goal")))?;
    if let Some(Json::Array(words)) = run.and_then(|run| run.get("readiness")?.get("exec")) {
        let words: Vec<&str> = words.iter().filter_map(Json::as_str).collect();
        out(format_args!("asked by    {words:?}"))?;
    }
    let network = run.map(app::network).unwrap_or_default();
    for (index, line) in network.iter().enumerate() {
        out(format_args!("{:<11} {line}", if index == 0 { "network" } else { "" }))?;
    }
    for (index, line) in info.privileges.iter().enumerate() {
        out(format_args!("{:<11} {line}", if index == 0 { "privileges" } else { "" }))?;
    }
    let storage = run.and_then(|run| run.get("storage"));
    if let Some(Json::Object(storage)) = storage {
        for (index, (name, what)) in storage.iter().enumerate() {
            let title = if index == 0 { "storage" } else { "" };
            out(format_args!("{title:<11} {name} ({})", said(Some(what), "persistence")))?;
        }
    }
    Ok(())
}
