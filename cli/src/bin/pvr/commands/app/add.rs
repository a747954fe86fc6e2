//! `pvr app add`

use std::path::PathBuf;

use cli::app::{self, Device, GOALS, Grants, HostMount, Options, Origin, Tasks, Template, Users, Volume, Wide};
use cli::image::reference::Reference;
use cli::image::rootfs::{Owner, Place};
use cli::{Error, Result};
use formats::group::RestartPolicy;
use formats::json::Json;

use super::means::Means;
use super::{capability, platform_of};
use crate::commands::network::{Network, address};
use crate::commands::{Keys, cwd, here};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// What containers can be made of.
pub(super) const TYPES: [&str; 2] = ["docker", "pvr"];

/// The further one, of which nothing is made again.
const ROOTFS: &str = "rootfs";

/// Make a container of an image, or take one of another state
///
/// Fetches the image, checks every byte of it, and writes NAME/: root.squashfs, run.json, lxc.container.conf, src.json.
/// The same image makes the same files. Afterwards `pvr add NAME` and `pvr commit`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Images:
  [docker://][REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]   nginx is docker.io/library/nginx:latest
  oci:DIR[:TAG]   oci-archive:FILE[:TAG]   docker-archive:FILE[:NAME:TAG]

A registry is asked with https, and with http if it is on this machine. PVR_MIRRORS or mirrors.json in the configuration
directory name other places: PVR_MIRRORS='docker.io=http://127.0.0.1:5000'. Names and passwords are those of
`docker login`, or PVR_REGISTRY_USERNAME and PVR_REGISTRY_PASSWORD.

Root file systems (--type rootfs):
  DIR   FILE.tar[.gz|.xz|.zst]   https://HOST/FILE.tar[...][#sha256=HEX]
  They do not say what to start: --config Cmd='[\"/sbin/init\"]' or --config-json FILE does.

Other states (--type pvr):
  ADDRESS#PART[,PART...]   a device, a URL, a repository or a bundle; the first part becomes NAME

Templates:
  confined            Docker's capabilities but mknod, and its system calls; the image's user, no new privileges, /proc and
                      /sys without what changes the device, no device nodes but null, zero, full, random, urandom and
                      terminals, at most 1024 processes; the network is the device's, without raw sockets (net_raw)
  builtin-lxc-docker  what existing tools write: root with all capabilities")]
pub(super) struct Add {
    /// What to call it [default: as the image, or the part]
    name: Option<String>,
    /// The image, or the address of another state and its parts
    #[arg(long, env = "PVR_FROM", hide_env_values = true, value_name = "IMAGE")]
    from: String,
    /// What it is made of: an image (docker), a part of another state (pvr), a directory or a tar (rootfs)
    #[arg(long = "type", short = 't', default_value = TYPES[0], value_name = "TYPE")]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new([TYPES[0], TYPES[1], ROOTFS]))]
    kind: String,
    /// Where a name is looked for: remote (its registry), local (a daemon of this machine), or both in order
    /// [default: remote]
    #[arg(long, value_name = "ORDER")]
    source: Option<String>,
    /// Whose the files of a root file system become [default: kept]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Owner::WORDS))]
    owner: Option<String>,
    #[command(flatten)]
    shape: Shape,
    /// Replace a container of this name
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    means: Means,
    #[command(flatten)]
    network: Network,
}

/// What a container is told when it is made of an image.
#[derive(clap::Args, Debug, Default, PartialEq)]
struct Shape {
    /// What the device runs: ARCH or OS/ARCH[/VARIANT] [default: the list in _hostconfig/pvr/docker.json, else the
    /// only one there is]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// The group it belongs to [default: `app`, if the device has one]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// An older word for a group: data, root, platform or app
    #[arg(long, value_name = "RUNLEVEL", conflicts_with = "group")]
    runlevel: Option<String>,
    /// What it must reach for an update to be good [default: READY with a health check, else as its group]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(GOALS))]
    status_goal: Option<String>,
    /// Leave out the image's health check, by which the device finds out whether the container is ready
    #[arg(long)]
    no_healthcheck: bool,
    /// What starts again when it changes
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(RestartPolicy::WORDS))]
    restart_policy: Option<String>,
    /// Start it after another container of its group or an earlier one has reached its goal; once for each
    #[arg(long, value_name = "CONTAINER")]
    after: Vec<String>,
    /// Set a variable, over the image's
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Keep a directory: permanent, revision or boot; `ovl:PATH` keeps changes to the image's, `lxc-overlay` is all the rest
    #[arg(long, value_name = "PATH:PERSISTENCE[@DISK]")]
    volume: Vec<String>,
    /// Grant a device node; its numbers are needed unless Linux has given them away for good
    #[arg(long, value_name = "PATH[=KIND MAJOR:MINOR ACCESS]")]
    device: Vec<String>,
    /// Grant a capability, like sys_time, and the system calls that need it
    #[arg(long, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// Grant files of the device; options are rw, file and optional
    #[arg(long, value_name = "SOURCE:TARGET[:OPTION,...]")]
    mount: Vec<String>,
    /// Grant a part of the device as a whole
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Wide::WORDS))]
    grant: Vec<String>,
    /// The most processes and threads that it can have at the same time, or max [default: 1024]
    #[arg(long, value_name = "COUNT")]
    tasks: Option<String>,
    /// Put it into a network of the device, a pool of device.json [default: the device's own network]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Its host name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Its address in the pool [default: one that it keeps]
    #[arg(long, requires = "pool", value_name = "ADDRESS")]
    ip: Option<String>,
    /// Its Ethernet address in the pool
    #[arg(long, requires = "pool", value_name = "ADDRESS")]
    mac: Option<String>,
    /// Publish a port at the device, once for each: 8080:80, 53:53/udp, 127.0.0.1:8080:80
    #[arg(long, requires = "pool", value_name = "DEVICE:CONTAINER")]
    publish: Vec<String>,
    /// How it is started and confined [default: confined]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Template::WORDS))]
    template: Option<String>,
    /// Whose its users are: its own, then its root is nobody on the device; needs a kernel with id-mapped mounts
    /// [default: device]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Users::WORDS))]
    users: Option<String>,
    /// Members that stand for those of the image's configuration, as a JSON object: Entrypoint, Cmd, User, Env, ...
    #[arg(long, env = "PVR_CONFIG_JSON", hide_env_values = true, value_name = "FILE")]
    config_json: Option<PathBuf>,
    /// One such member: a text, or JSON that begins with `[` or `{`; once for each
    #[arg(long, value_name = "MEMBER=VALUE")]
    config: Vec<String>,
    /// An argument of the template, as a text; once for each
    #[arg(long, value_name = "NAME=TEXT")]
    arg: Vec<String>,
    /// An argument of the template, as JSON; once for each
    #[arg(long, value_name = "NAME=JSON")]
    arg_json: Vec<String>,
    /// Options for mksquashfs, which writes the squashfs [default: -comp xz]
    #[arg(long, short = 'o', value_name = "OPTIONS", allow_hyphen_values = true)]
    format_options: Option<String>,
}

pub(super) fn run(args: &Add, keys: &Keys) -> Done {
    if args.kind == TYPES[1] {
        return take(args, keys);
    }
    let repo = here()?;
    if args.kind == ROOTFS {
        let owner = args.owner.as_deref().and_then(Owner::parse).unwrap_or_default();
        let from = Origin::Rootfs { place: Place::parse(&args.from)?.whole(&cwd()?), owner };
        let client = args.network.client(keys)?;
        let made = app::add_rootfs(&repo, &options(args, from, keys)?, &client, &Bar::default())?;
        told(&made, "Adding");
        return Ok(());
    }
    if args.owner.is_some() {
        return Err(Error::user("--owner is for --type rootfs; an image says whose its files are").into());
    }
    let from = Origin::Image(Reference::parse(&args.from)?.seen_from(&cwd()?, repo.root()));
    let made = app::add(&repo, &options(args, from, keys)?, &Bar::default())?;
    told(&made, "Adding");
    Ok(())
}

/// A part of another state.
fn take(args: &Add, keys: &Keys) -> Done {
    if args.source.is_some() || args.owner.is_some() {
        return Err(Error::user("--source is for images and --owner for --type rootfs").into());
    }
    if args.shape != Shape::default() {
        return Err(Error::user(
            "a part of another state comes as it is there: it has its own group, grants and arguments",
        )
        .hint("leave these options out; `pvr app install` makes it anew once you have changed its src.json")
        .into());
    }
    let (repo, address) = (here()?, address(&args.from, keys)?);
    let client = args.network.client(keys)?;
    let made = app::take(&repo, &client, args.name.as_deref(), &address, args.force, &Bar::default())?;
    told(&made, "Adding");
    Ok(())
}

/// Says what was made.
pub(super) fn told(made: &app::Made, what: &str) {
    for warning in &made.warnings {
        warn(warning);
    }
    note(format_args!("{what} {} from {}", made.name, made.image));
    if !made.exposed.is_empty() {
        let how = "with --pool POOL --publish DEVICE:CONTAINER they are the device's, as 8080:80";
        note(format_args!("The image expects to be reached at {}; {how}", made.exposed.join(", ")));
    }
    note(format_args!(
        "hint: `pvr app info {0}` says what it may do; `pvr add {0}` and `pvr commit` take it",
        made.name
    ));
}

fn options(args: &Add, from: Origin, keys: &Keys) -> Result<Options> {
    let shape = &args.shape;
    let app::Means { times, limits, reach } = args.means.library(keys)?;
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::user(format!("--env {text:?} is not NAME=VALUE"))),
    };
    Ok(Options {
        name: args.name.clone(),
        from,
        source: args.source.clone(),
        platform: shape.platform.as_deref().map(platform_of).transpose()?,
        template: shape.template.as_deref().and_then(Template::parse).unwrap_or_default(),
        users: shape.users.as_deref().and_then(Users::parse).unwrap_or_default(),
        group: shape.group.clone(),
        status_goal: shape.status_goal.clone(),
        restart_policy: shape.restart_policy.clone(),
        healthcheck: !shape.no_healthcheck,
        after: shape.after.clone(),
        env: shape.env.iter().map(variable).collect::<Result<_>>()?,
        network: app::Network {
            pool: shape.pool.clone(),
            hostname: shape.hostname.clone(),
            ip: shape.ip.clone(),
            mac: shape.mac.clone(),
            ports: shape.publish.clone(),
            ..app::Network::default()
        },
        volumes: shape.volume.iter().map(|text| Volume::parse(text)).collect::<Result<_>>()?,
        tasks: shape.tasks.as_deref().map(Tasks::parse).transpose()?,
        grants: Grants {
            wide: shape.grant.iter().filter_map(|word| Wide::parse(word)).collect(),
            devices: shape.device.iter().map(|text| Device::parse(text)).collect::<Result<_>>()?,
            capabilities: shape.cap.iter().map(capability).collect::<Result<_>>()?,
            mounts: shape.mount.iter().map(|text| HostMount::parse(text)).collect::<Result<_>>()?,
        },
        config: config(shape)?,
        args: arguments(shape)?,
        recovery: None,
        format_options: shape.format_options.clone(),
        times,
        force: args.force,
        limits,
        reach,
    })
}

/// What stands for members of the image's configuration.
fn config(shape: &Shape) -> Result<Json> {
    let mut config = Json::object();
    if let Some(path) = &shape.config_json {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::user(format!("cannot read {}: {error}", path.display())))?;
        config = match app::parse_json(&text) {
            Ok(object @ Json::Object(_)) => object,
            Ok(_) => return Err(Error::user(format!("{} is no JSON object", path.display()))),
            Err(error) => return Err(Error { message: format!("{}: {}", path.display(), error.message), ..error }),
        };
    }
    for text in &shape.config {
        let (member, value) = pair("--config", text)?;
        let value = if value.starts_with(['[', '{']) { app::parse_json(value)? } else { Json::from(value) };
        config.set(member, value);
    }
    Ok(config)
}

/// The arguments that no option of its own says.
fn arguments(shape: &Shape) -> Result<Json> {
    let mut args = Json::object();
    let mut say = |name: &str, value: Json| match args.get(name) {
        Some(_) => {
            Err(Error::user(format!("the argument {name} is said twice")).hint("a list is --arg-json NAME=[...]"))
        }
        None => {
            args.set(name, value);
            Ok(())
        }
    };
    for text in &shape.arg {
        let (name, value) = pair("--arg", text)?;
        say(name, value.into())?;
    }
    for text in &shape.arg_json {
        let (name, value) = pair("--arg-json", text)?;
        say(name, app::parse_json(value)?)?;
    }
    if let Some(level) = &shape.runlevel {
        warn("--runlevel is an older word for a group; write --group");
        say("PV_RUNLEVEL", level.as_str().into())?;
    }
    Ok(args)
}

fn pair<'t>(option: &str, text: &'t str) -> Result<(&'t str, &'t str)> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.ok_or_else(|| Error::user(format!("{option} {text:?} is not NAME=VALUE")))
}
