//! `pvr app`

use std::env;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cli::app::{self, Device, GOALS, Grants, HostMount, Options, Tasks, Template, Users, Volume, Wide};
use cli::image::Limits;
use cli::image::manifest::Platform;
use cli::image::reference::Reference;
use cli::image::registry::{Credentials, Login, Reach};
use cli::image::squashfs::Times;
use cli::{Error, Result};
use formats::group::RestartPolicy;
use formats::json::Json;
use formats::lxc::Capability;

use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, note, out, warn};

/// The map of mirrors in the configuration directory.
const MIRRORS: &str = "mirrors.json";

/// Make containers of images, and look at them
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr app add web --from nginx:1.27 --platform linux/arm64
  pvr app add --from registry.example.com/team/web@sha256:…     called web
  pvr app add web --from oci:build/layout:latest --group app --status-goal STARTED
  pvr app add gps --from team/gps --device /dev/ttyUSB0 --cap sys_time
  pvr app info web
  pvr app seccomp --platform linux/arm64 --output web/seccomp.bpf
  pvr app rm web")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Add(Box<Add>),
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

/// Make a container of an image
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

Templates:
  confined            Docker's capabilities but mknod, and its system calls; the image's user, no new privileges, /proc and
                      /sys without what changes the device, no device nodes but null, zero, full, random, urandom and
                      terminals, at most 1024 processes; the network is the device's, without raw sockets (net_raw)
  builtin-lxc-docker  what existing tools write: root with all capabilities")]
struct Add {
    /// What to call it [default: as the image]
    name: Option<String>,
    /// The image
    #[arg(long, env = "PVR_FROM", hide_env_values = true, value_name = "IMAGE")]
    from: String,
    /// What the device runs: ARCH or OS/ARCH[/VARIANT] [default: the list in _hostconfig/pvr/docker.json, else the
    /// only one there is]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// The group it belongs to [default: the group that devices put it into]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
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
    /// Keep a directory: permanent, revision or boot; `lxc-overlay` is all the rest
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
    /// How it is started and confined
    #[arg(long, default_value = Template::WORDS[0], value_parser = clap::builder::PossibleValuesParser::new(Template::WORDS))]
    template: String,
    /// Whose its users are: its own, then its root is nobody on the device; needs a kernel with id-mapped mounts
    #[arg(long, default_value = Users::WORDS[0], value_parser = clap::builder::PossibleValuesParser::new(Users::WORDS))]
    users: String,
    /// Options for mksquashfs, which writes the squashfs [default: -comp xz]
    #[arg(long, short = 'o', value_name = "OPTIONS", allow_hyphen_values = true)]
    format_options: Option<String>,
    /// Replace a container of this name
    #[arg(long)]
    force: bool,
    /// Trust these authorities (PEM) and no others for registries
    #[arg(long, env = "PVR_REGISTRY_CACERT", hide_env_values = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// The name to log in with
    #[arg(
        long,
        short,
        env = "PVR_REGISTRY_USERNAME",
        hide_env_values = true,
        requires = "password",
        value_name = "NAME"
    )]
    username: Option<String>,
    /// Its password; others on this machine can see it here, so better put it into the environment
    #[arg(long, short, env = "PVR_REGISTRY_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    password: Option<String>,
    /// The most bytes that all layers may have, packed and unpacked
    #[arg(long, default_value_t = Limits::DEFAULT.bytes, value_name = "BYTES")]
    max_bytes: u64,
    /// The most files that it may have
    #[arg(long, default_value_t = Limits::DEFAULT.entries, value_name = "COUNT")]
    max_files: usize,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    match &args.command {
        Command::Add(args) => add(args, keys),
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

fn platform_of(text: &str) -> Result<Platform> {
    Platform::parse(text).ok_or_else(|| {
        Error::user(format!("{text:?} is no platform")).hint("write ARCH or OS/ARCH[/VARIANT], like linux/arm64")
    })
}

fn add(args: &Add, keys: &Keys) -> Done {
    let repo = here()?;
    let made = app::add(&repo, &options(args, keys)?, &Bar::default())?;
    for warning in &made.warnings {
        warn(warning);
    }
    note(format_args!("Adding {} from {}", made.name, made.image));
    if !made.exposed.is_empty() {
        let how = "with --pool POOL --publish DEVICE:CONTAINER they are the device's, as 8080:80";
        note(format_args!("The image expects to be reached at {}; {how}", made.exposed.join(", ")));
    }
    note(format_args!(
        "hint: `pvr app info {0}` says what it may do; `pvr add {0}` and `pvr commit` take it",
        made.name
    ));
    Ok(())
}

fn options(args: &Add, keys: &Keys) -> Result<Options> {
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::user(format!("--env {text:?} is not NAME=VALUE"))),
    };
    Ok(Options {
        name: args.name.clone(),
        from: Reference::parse(&args.from)?,
        platform: args.platform.as_deref().map(platform_of).transpose()?,
        template: Template::parse(&args.template).ok_or_else(|| Error::internal("a template that is not known"))?,
        users: Users::parse(&args.users).ok_or_else(|| Error::internal("users that are not known"))?,
        group: args.group.clone(),
        status_goal: args.status_goal.clone(),
        restart_policy: args.restart_policy.clone(),
        healthcheck: !args.no_healthcheck,
        after: args.after.clone(),
        env: args.env.iter().map(variable).collect::<Result<_>>()?,
        network: app::Network {
            pool: args.pool.clone(),
            hostname: args.hostname.clone(),
            ip: args.ip.clone(),
            mac: args.mac.clone(),
            ports: args.publish.clone(),
        },
        volumes: args.volume.iter().map(|text| Volume::parse(text)).collect::<Result<_>>()?,
        tasks: args.tasks.as_deref().map(Tasks::parse).transpose()?,
        grants: Grants {
            wide: args.grant.iter().filter_map(|word| Wide::parse(word)).collect(),
            devices: args.device.iter().map(|text| Device::parse(text)).collect::<Result<_>>()?,
            capabilities: args.cap.iter().map(capability).collect::<Result<_>>()?,
            mounts: args.mount.iter().map(|text| HostMount::parse(text)).collect::<Result<_>>()?,
        },
        config: Json::object(),
        args: Json::object(),
        recovery: None,
        format_options: args.format_options.clone(),
        times: times()?,
        force: args.force,
        limits: Limits { bytes: args.max_bytes, entries: args.max_files, ..Limits::DEFAULT },
        reach: reach(args, keys)?,
    })
}

/// The time that builds are told to believe in, and the other one.
fn times() -> Result<Times> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
    let Some(text) = env::var_os("SOURCE_DATE_EPOCH") else { return Ok(Times { made: None, now }) };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(seconds) => Ok(Times { made: Some(seconds), now }),
        None => Err(Error::user(format!("SOURCE_DATE_EPOCH is {text:?} and not seconds since 1970, up to 4294967295"))),
    }
}

fn reach(args: &Add, keys: &Keys) -> Result<Reach> {
    let mut reach = Reach::default();
    // Without a HOME there are no files to look into, and nothing is missing but what they might say.
    if let Ok(directory) = keys.directory() {
        reach.mirrors.add_file(&directory.join(MIRRORS))?;
    }
    if let Some(list) = env::var_os("PVR_MIRRORS") {
        let list = list.into_string().map_err(|_| Error::user("PVR_MIRRORS is not UTF-8"))?;
        reach.mirrors.add_list(&list)?;
    }
    if let Some(path) = &args.cacert {
        reach.trust(path)?;
    }
    let docker = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    reach.login = Login {
        named: match (&args.username, &args.password) {
            (Some(username), Some(password)) => {
                Some(Credentials { username: username.clone(), password: password.clone() })
            }
            _ => None,
        },
        docker: docker.or_else(home),
    };
    Ok(reach)
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
    let digest = said(src, "docker_digest");
    let digest = digest.rsplit_once('@').map_or(digest.as_str(), |(_, digest)| digest);
    out(format_args!("source      {}{tag}", said(src, "docker_name")))?;
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
