//! One file per command (those that only show something share one): its arguments, the call, what is printed.

pub(crate) mod about;
pub(crate) mod add;
pub(crate) mod app;
pub(crate) mod bundle;
pub(crate) mod cache;
pub(crate) mod clone;
pub(crate) mod commit;
pub(crate) mod compose;
pub(crate) mod deploy;
pub(crate) mod device;
pub(crate) mod diff;
pub(crate) mod dm;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod fastcopy;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod login;
pub(crate) mod network;
pub(crate) mod plan;
pub(crate) mod post;
pub(crate) mod profile;
pub(crate) mod put;
pub(crate) mod reset;
pub(crate) mod sbom;
pub(crate) mod show;
pub(crate) mod sig;
pub(crate) mod verify;

use std::env;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cli::profile::Profile;
use cli::repo::Repo;
use cli::sign::keys::{DeveloperKey, KeyFiles};
use cli::{Error, Result};

use crate::args::{Args, Command};
use crate::term::{Done, note, out};

pub(crate) fn run(args: Args) -> Done {
    let keys = Keys { directory: args.config_dir, wide: args.wide };
    crate::progress::choose(args.progress);
    match args.command {
        Command::Init(args) => init::run(&args),
        Command::Add(args) => add::run(&args),
        Command::Status(args) => show::status(&args),
        Command::Diff(args) => diff::run(&args, &keys),
        Command::Commit(args) => commit::run(&args, &keys),
        Command::History(args) => history::run(&args),
        Command::Reset(args) => reset::run(&args),
        Command::Sbom(args) => sbom::run(&args),
        Command::Json(args) => show::json(&args, &keys),
        Command::Verify(args) => verify::run(&args, &keys),
        Command::Sig(args) => sig::run(&args, &keys),
        Command::Clone(args) => clone::run(&args, &keys),
        Command::Get(args) => get::run(&args, &keys),
        Command::Merge(args) => get::merge(&args, &keys),
        Command::Plan(args) => plan::run(&args, &keys),
        Command::Post(args) => post::run(&args, &keys),
        Command::Put(args) => put::run(&args, &keys),
        Command::Login(args) => login::run(&args, &keys),
        Command::Logout(args) => login::logout_run(&args, &keys),
        Command::Putobjects(args) => put::run_objects(&args, &keys),
        Command::Fastcopy(args) => fastcopy::run(&args, &keys),
        Command::Remoteinfo(args) => about::run_remote(&args, &keys),
        Command::Stepinfo(args) => about::run_step(&args, &keys),
        Command::Export(args) => bundle::run_export(&args),
        Command::Import(args) => bundle::run_import(&args, &keys),
        Command::App(args) => app::run(&args, &keys),
        Command::Cache(args) => cache::run(&args),
        Command::Deploy(args) => deploy::run(&args, &keys),
        Command::Dm(args) => dm::run(&args),
        Command::DmConvert(args) => dm::convert(&args),
        Command::DmApply(args) => dm::apply(&args),
        Command::Device(args) => device::run(&args),
        Command::Scan(args) => device::run_scan(&args),
        Command::GlobalConfig(args) => profile::run(&args, &keys),
        Command::Doctor(args) => doctor::run(&args, &keys),
        Command::Completion(args) => docs::completion(&args),
        Command::Man(args) => docs::man(&args),
        Command::Version => out(concat!("pvr ", env!("CARGO_PKG_VERSION"))),
    }
}

/// The repository of the current directory, for what is done now.
pub(crate) fn here() -> Result<Repo> {
    Ok(Repo::find(&cwd()?)?.at_moment(moment()?))
}

/// What the clock says, in seconds since 1970, or what `SOURCE_DATE_EPOCH` says instead.
pub(crate) fn moment() -> Result<u64> {
    let Some(text) = env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    };
    let seconds = text.to_str().and_then(|text| text.parse::<u32>().ok());
    seconds.map(u64::from).ok_or_else(|| {
        Error::user(format!("SOURCE_DATE_EPOCH is {text:?} and not seconds since 1970, up to 4294967295"))
    })
}

pub(crate) fn cwd() -> Result<PathBuf> {
    env::current_dir().map_err(|error| Error::user(format!("cannot tell the current directory: {error}")))
}

/// The time that what is made shall have, if the caller says one.
pub(crate) fn source_date_epoch() -> Result<Option<u32>> {
    let Some(text) = env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(Error::user(format!("SOURCE_DATE_EPOCH is {text:?} and not seconds since 1970, up to 4294967295"))),
    }
}

/// What was said before the command: the configuration directory, if one was named, and the way to servers.
pub(crate) struct Keys {
    directory: Option<PathBuf>,
    wide: network::Wide,
}

impl Keys {
    /// The files of the configuration directory.
    pub(crate) fn files(&self) -> Result<KeyFiles> {
        Ok(KeyFiles::of(&self.directory()?))
    }

    /// What was said of servers before the command.
    pub(crate) fn wide(&self) -> &network::Wide {
        &self.wide
    }

    /// What the configuration says of servers; nothing if there is no directory for it.
    pub(crate) fn profile(&self) -> Result<Profile> {
        self.directory().map_or_else(|_| Ok(Profile::default()), |directory| Profile::load(&directory))
    }

    /// The configuration directory, which need not exist.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => absolute("XDG_CONFIG_HOME")
                .or_else(|| absolute("HOME").map(|home| home.join(".config")))
                .map(|config| config.join("pvr"))
                .ok_or_else(|| Error::user("there is no HOME to keep keys in").hint("name a directory: --config-dir")),
        }
    }

    /// The key that signs: the one that is named, else the developer's own, made on first use.
    pub(crate) fn open(&self, key: Option<&Path>, chain: Option<&str>) -> Result<DeveloperKey> {
        let named = chain.filter(|chain| *chain != "no").map(Path::new);
        if let Some(key) = key {
            return DeveloperKey::open(key, named);
        }
        let files = self.files()?;
        let (own, made) = files.open_or_make()?;
        if made {
            let (key, public) = (files.key(), files.public());
            note("------------------------------------------------------------------------");
            note("pvr has made a signing key for you, because there was none.");
            note(format_args!("  private: {}   (keep it; keep it secret)", key.display()));
            note(format_args!("  public:  {}   (devices that trust it run what you sign)", public.display()));
            note("It has no passphrase. For products, use a key of its own: --key, PVR_SIG_KEY.");
            note("------------------------------------------------------------------------");
        }
        match chain {
            None => Ok(own),
            Some(_) => DeveloperKey::open(own.path(), named),
        }
    }
}
