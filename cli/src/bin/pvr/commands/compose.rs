//! `pvr import compose`

use std::env;
use std::path::PathBuf;

use cli::app::{Options, Users};
use cli::compose::{self, Finding, Level, Making, Plan, RIGHTS, Report, Source, Wishes, put};
use cli::image::reference::Reference;
use cli::{Error, Result};
use formats::json::Json;

use crate::commands::app::{Means, platform_of};
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, out, warn};

/// Make containers of the services of a compose file
///
/// Each service becomes a container, as `pvr app add` makes it of an image; networks become pools of device.json, named
/// volumes storage that stays, files of the project files of the revision. Whatever does not simply become part of that is
/// reported with its line. All containers are made before the first is put in its place. A second import makes those of the
/// same project anew.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr import compose docker-compose.yml --dry-run     what it comes to, and what not
  pvr import compose docker-compose.yml && pvr add . && pvr commit -m shop && pvr post
  pvr import compose compose.yml --profile debug --allow gps:devices

Rights: a container has what `pvr app add` gives. What a file wants beyond is refused until it is allowed, for all
services (--allow devices) or for one (--allow gps:devices): caps, devices, mounts, network, privileged.

docs/compose.md has every key and what becomes of it.")]
pub(crate) struct Args {
    /// The compose file
    file: PathBuf,
    /// The group of the containers [default: the group that devices put apps into]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The pool of services that name no network [default: one called like the project]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Take the services of this profile too; once for each, * is all
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Variables for ${NAME} in the file [default: .env beside it]; the environment comes first
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Allow what goes beyond a confined container; once for each
    #[arg(long, value_name = "[SERVICE:]RIGHT")]
    allow: Vec<String>,
    /// Show what it comes to, fetch nothing, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace containers that are not of this project
    #[arg(long)]
    force: bool,
    /// Print plan and report as JSON
    #[arg(long)]
    json: bool,
    /// What the device runs: ARCH or OS/ARCH[/VARIANT] [default: as `pvr app add`]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Whose the users of the containers are
    #[arg(long, default_value = Users::WORDS[0], value_parser = clap::builder::PossibleValuesParser::new(Users::WORDS))]
    users: String,
    /// Options for mksquashfs, which writes the squashfs [default: -comp xz]
    #[arg(long, short = 'o', value_name = "OPTIONS", allow_hyphen_values = true)]
    format_options: Option<String>,
    #[command(flatten)]
    means: Means,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    check_rights(&args.allow)?;
    let repo = here()?;
    let environment = |name: &str| env::var_os(name).and_then(|value| value.into_string().ok());
    let loaded = compose::load(&args.file, &Source { environment: &environment, env_files: &args.env_file })?;
    let device = put::device(&repo)?;
    let wishes = Wishes {
        environment: &environment,
        profiles: &args.profile,
        allow: &args.allow,
        pool: args.pool.as_deref(),
        device: &device,
    };
    let (plan, report) = compose::map(&loaded, &wishes);
    if args.json && (args.dry_run || report.stops()) {
        out(json(&plan, &report, None).pretty())?;
    } else if !args.json {
        report.findings().into_iter().for_each(show);
    }
    if report.stops() {
        let (errors, rights) = (report.count(Level::Error), report.count(Level::Right));
        let error = Error::user(format!("{}: nothing was imported: {}", args.file.display(), why(errors, rights)));
        return Err(error.hint("change the lines above; docs/compose.md has every key").into());
    }
    if args.dry_run {
        return if args.json { Ok(()) } else { plan.lines().iter().try_for_each(out) };
    }
    let options = options(args, keys)?;
    let done = compose::make(&repo, &plan, &report, &Making { options: &options, force: args.force }, &Bar::default())?;
    done.warnings.iter().for_each(warn);
    if args.json {
        out(json(&plan, &report, Some(&done)).pretty())?;
    } else {
        plan.lines().iter().try_for_each(out)?;
    }
    for (name, image, is_there) in &done.made {
        note(format_args!("{} {name} from {image}", if *is_there { "Replacing" } else { "Adding" }));
    }
    for path in &done.removed {
        note(format_args!("Removing {path}, which the file no longer has"));
    }
    for name in &done.left {
        warn(format_args!("{name} is of this project, and the file no longer has it: `pvr app rm {name}` removes it"));
    }
    note("hint: `pvr add .` and `pvr commit` take all of it; `pvr app info NAME` says what a container may do");
    Ok(())
}

fn why(errors: usize, rights: usize) -> String {
    let lines = |count: usize, what: &str| format!("{count} {} {what}", if count == 1 { "line" } else { "lines" });
    match (errors, rights) {
        (errors, 0) => lines(errors, "cannot be"),
        (0, rights) => lines(rights, "must be allowed"),
        (errors, rights) => format!("{}, {}", lines(errors, "cannot be"), lines(rights, "must be allowed")),
    }
}

fn show(finding: &Finding) {
    match finding.level {
        Level::Idle | Level::Differs => note(finding),
        Level::Error | Level::Right | Level::Secret | Level::NotMapped => warn(finding),
    }
}

fn json(plan: &Plan, report: &Report, done: Option<&put::Done>) -> Json {
    let findings: Vec<Json> = report.findings().into_iter().map(Finding::to_json).collect();
    let mut json = plan.to_json().with("findings", findings).with("imported", done.is_some());
    if let Some(done) = done {
        let images = done.made.iter().fold(Json::object(), |all, (name, image, _)| all.with(name, image.as_str()));
        json = json.with("images", images).with("left", done.left.clone()).with("warnings", done.warnings.clone());
    }
    json
}

fn check_rights(allow: &[String]) -> Result<()> {
    for word in allow {
        let right = word.rsplit_once(':').map_or(word.as_str(), |(_, right)| right);
        if !RIGHTS.iter().any(|(known, _)| *known == right) {
            let known: Vec<_> = RIGHTS.iter().map(|(name, what)| format!("{name} ({what})")).collect();
            return Err(Error::user(format!("--allow {word:?} is no right that can be allowed"))
                .hint(format!("there are {}", known.join(", "))));
        }
    }
    Ok(())
}

fn options(args: &Args, keys: &Keys) -> Result<Options> {
    let means = args.means.library(keys)?;
    // Each container puts its own image there.
    let mut options = Options::new(Reference::parse("scratch")?, means.times);
    options.platform = args.platform.as_deref().map(platform_of).transpose()?;
    options.users = Users::parse(&args.users).ok_or_else(|| Error::internal("users that are not known"))?;
    options.group.clone_from(&args.group);
    options.format_options.clone_from(&args.format_options);
    (options.limits, options.reach) = (means.limits, means.reach);
    Ok(options)
}
