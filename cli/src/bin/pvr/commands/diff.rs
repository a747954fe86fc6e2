//! `pvr diff`: what differs, as a merge patch or down to the files inside of images.

use cli::bundle::Bundle;
use cli::compare::compare;
use cli::contents::changes::{Aspect, Change, Summary};
use cli::contents::layers::{Layers, layers};
use cli::contents::states::{Difference, Inside, Objects, Side, differences};
use cli::contents::{Entry, Kind, shown};
use cli::diff::{patch, tabbed};
use cli::remote::{Place, Selector};
use cli::repo::Repo;
use cli::state::State;
use cli::{Error, Result};
use formats::json::Json;
use indicatif::DecimalBytes;

use crate::commands::network::address;
use crate::commands::{Keys, here};
use crate::progress::Bar;
use crate::term::{Done, GREEN, RED, YELLOW, note, out, warn};

/// Show what a commit would change
///
/// As a JSON merge patch (RFC 7386): objects show as their SHA-256, removed paths as null. With --files down to the files
/// inside of images: + new, - gone, ~ changed, and in what.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr diff                                  what a commit would change
  pvr diff --files                          the same, down to files inside of images
  pvr diff --files ../last.tgz              what changed since a bundle was made
  pvr diff --files v1.tgz v2.tgz#web        between two of them, in one part")]
pub(crate) struct Args {
    /// Look into images: which files are new, gone or changed
    #[arg(long)]
    files: bool,
    /// Print JSON
    #[arg(long, requires = "files")]
    json: bool,
    /// What was, instead of what is committed: a bundle, or the directory of a repository; only parts of it after a #
    #[arg(value_name = "FROM", requires = "files")]
    from: Option<String>,
    /// What is, instead of the work tree
    #[arg(value_name = "TO", requires = "files")]
    to: Option<String>,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    if !args.files {
        let repo = here()?;
        return out(tabbed(&patch(&repo.committed()?, &compare(&repo, &Bar::default())?)));
    }
    let (mut old, from) = match &args.from {
        Some(place) => named(place, keys)?,
        None => (committed(here()?)?, Selector::default()),
    };
    let (mut new, to) = match &args.to {
        Some(place) => named(place, keys)?,
        None => (work_tree()?, Selector::default()),
    };
    for selector in [from, to] {
        old.state.retain(|key| selector.takes(key));
        new.state.retain(|key| selector.takes(key));
    }
    let found = differences(&old, &new, &Bar::default())?;
    for difference in &found {
        if let Inside::Unread(why) = &difference.inside {
            warn(format_args!("{}: {why}; it is compared as a whole", difference.path));
        }
    }
    if args.json {
        return out(json(&found).pretty());
    }
    for difference in &found {
        show(&difference.path, difference)?;
        if let Some(layers) = layers_of(&difference.path, &old.state, &new.state) {
            note(format_args!("{}: {layers}", difference.path));
        }
    }
    let sum = total(&found);
    match found.len() {
        0 => note("nothing differs"),
        paths => note(format_args!(
            "{paths} {} of the state; inside of images {} new, {} gone, {} changed: {} in, {} out",
            if paths == 1 { "path" } else { "paths" },
            sum.added,
            sum.removed,
            sum.changed,
            DecimalBytes(sum.bytes_in),
            DecimalBytes(sum.bytes_out),
        )),
    }
    Ok(())
}

fn committed(repo: Repo) -> Result<Side> {
    Ok(Side { state: repo.committed()?, objects: Objects::Pool(repo.pool().clone()) })
}

fn work_tree() -> Result<Side> {
    let repo = here()?;
    let state = compare(&repo, &Bar::default())?.applied_to(&repo.committed()?);
    Ok(Side { state, objects: Objects::Tree(repo.root().to_owned()) })
}

/// A place that somebody names, and what of it is meant.
fn named(text: &str, keys: &Keys) -> Result<(Side, Selector)> {
    let address = address(text, keys)?;
    let side = match &address.place {
        Place::Bundle(path) => {
            let bundle = Bundle::open(path, &Bar::default())?;
            Side { state: bundle.state().clone(), objects: Objects::Bundle(bundle) }
        }
        Place::Directory(directory) => committed(Repo::at(directory)?)?,
        Place::Url(url) => {
            return Err(Error::user(format!("{url} is not on this machine")).hint("`pvr clone` it first"));
        }
    };
    Ok((side, address.selector))
}

fn total(found: &[Difference]) -> Summary {
    found.iter().fold(Summary::default(), |sum, difference| match &difference.inside {
        Inside::Changes(changes) => sum.and(changes.summary()),
        _ => sum,
    })
}

/// What an image was built of, if both sides say it.
fn layers_of(path: &str, old: &State, new: &State) -> Option<Layers> {
    let (name, _) = path.split_once('/').filter(|(_, file)| file.starts_with("root."))?;
    let src = format!("{name}/src.json");
    layers(old.get(&src)?, new.get(&src)?)
}

/// The lines of one path. `path` is what they begin with.
pub(crate) fn show(path: &str, difference: &Difference) -> Done {
    if let Inside::Changes(changes) = &difference.inside {
        for (name, change) in &changes.0 {
            out(format_args!("{path}: {}", line(name, change)))?;
        }
        let sum = changes.summary();
        if changes.0.is_empty() {
            out(format_args!("{path}: the same files, packed otherwise"))?;
        }
        note(format_args!(
            "{path}: {} new, {} gone, {} changed; {} in, {} out",
            sum.added,
            sum.removed,
            sum.changed,
            DecimalBytes(sum.bytes_in),
            DecimalBytes(sum.bytes_out)
        ));
        return Ok(());
    }
    let names = match difference.inside {
        Inside::Names(names) => format!(", an image of {names} names"),
        _ => String::new(),
    };
    match (difference.from, difference.to) {
        (None, to) => out(format_args!("{GREEN}+{GREEN:#} {path} ({}{names})", DecimalBytes(to.unwrap_or_default()))),
        (Some(from), None) => out(format_args!("{RED}-{RED:#} {path} ({}{names})", DecimalBytes(from))),
        (Some(from), Some(to)) => out(format_args!("{YELLOW}~{YELLOW:#} {path} ({})", became(from, to))),
    }
}

fn became(from: u64, to: u64) -> String {
    if from == to { DecimalBytes(to).to_string() } else { format!("{} → {}", DecimalBytes(from), DecimalBytes(to)) }
}

/// One change inside of an image.
pub(crate) fn line(name: &[u8], change: &Change) -> String {
    let of = |entry: &Entry| match &entry.kind {
        Kind::File => format!("({})", DecimalBytes(entry.size)),
        Kind::Symlink(to) => format!("-> {}", shown(to)),
        kind => format!("({})", kind.name()),
    };
    match change {
        Change::Added(to) => format!("{GREEN}+{GREEN:#} {} {}", shown(name), of(to)),
        Change::Removed(from) => format!("{RED}-{RED:#} {} {}", shown(name), of(from)),
        Change::Changed { from, to, aspects } => {
            let told: Vec<_> = aspects.iter().map(|aspect| told(*aspect, from, to)).collect();
            let name = if name.is_empty() { "/".into() } else { shown(name) };
            format!("{YELLOW}~{YELLOW:#} {name} {}", told.join(", "))
        }
    }
}

fn told(aspect: Aspect, from: &Entry, to: &Entry) -> String {
    match aspect {
        Aspect::Contents => format!("({})", became(from.size, to.size)),
        Aspect::Kind => format!("{} → {}", from.kind.name(), to.kind.name()),
        Aspect::Mode => format!("mode {:o} → {:o}", from.mode, to.mode),
        Aspect::Owner => format!("owner {}:{} → {}:{}", from.uid, from.gid, to.uid, to.gid),
        Aspect::Target => format!("{} → {}", target(from), target(to)),
        Aspect::Device => format!("{} → {}", device(from), device(to)),
        Aspect::Attributes => {
            let names = from.xattrs.keys().chain(to.xattrs.keys()).collect::<std::collections::BTreeSet<_>>();
            let differ = names.into_iter().filter(|name| from.xattrs.get(*name) != to.xattrs.get(*name));
            format!("attributes {}", differ.map(|name| shown(name)).collect::<Vec<_>>().join(" "))
        }
    }
}

fn target(entry: &Entry) -> String {
    if let Kind::Symlink(to) = &entry.kind { format!("-> {}", shown(to)) } else { String::new() }
}

fn device(entry: &Entry) -> String {
    match entry.kind {
        Kind::Device { block, major, minor } => format!("{} {major}:{minor}", if block { 'b' } else { 'c' }),
        _ => String::new(),
    }
}

fn json(found: &[Difference]) -> Json {
    let bytes = |object: Json, difference: &Difference| {
        let set = |object: Json, name, value: Option<u64>| match value {
            Some(bytes) => object.with(name, bytes),
            None => object,
        };
        set(set(object, "bytes_before", difference.from), "bytes", difference.to)
    };
    let rows = found.iter().map(|difference| {
        let change = match (difference.from, difference.to) {
            (None, _) => "added",
            (Some(_), None) => "removed",
            (Some(_), Some(_)) => "changed",
        };
        let row = bytes(Json::object().with("path", difference.path.as_str()).with("change", change), difference);
        row_inside(row, difference)
    });
    Json::object().with("changes", rows.collect::<Vec<Json>>()).with("summary", summary(total(found)))
}

/// A row with what is known about the inside.
pub(crate) fn row_inside(row: Json, difference: &Difference) -> Json {
    match &difference.inside {
        Inside::Nothing => row,
        Inside::Names(names) => row.with("names", *names as u64),
        Inside::Unread(why) => row.with("unread", why.as_str()),
        Inside::Changes(changes) => {
            let files: Vec<Json> = changes.0.iter().map(|(name, change)| file(name, change)).collect();
            row.with("files", files).with("summary", summary(changes.summary()))
        }
    }
}

fn summary(sum: Summary) -> Json {
    Json::object()
        .with("added", sum.added as u64)
        .with("removed", sum.removed as u64)
        .with("changed", sum.changed as u64)
        .with("bytes_in", sum.bytes_in)
        .with("bytes_out", sum.bytes_out)
}

fn file(name: &[u8], change: &Change) -> Json {
    let row = Json::object().with("path", shown(name));
    match change {
        Change::Added(to) => row.with("change", "added").with("to", entry(to)),
        Change::Removed(from) => row.with("change", "removed").with("from", entry(from)),
        Change::Changed { from, to, aspects } => {
            let aspects: Vec<Json> = aspects.iter().map(|aspect| aspect.name().into()).collect();
            row.with("change", "changed").with("in", aspects).with("from", entry(from)).with("to", entry(to))
        }
    }
}

fn entry(entry: &Entry) -> Json {
    let row = Json::object()
        .with("kind", entry.kind.name())
        .with("mode", format!("{:04o}", entry.mode))
        .with("uid", u64::from(entry.uid))
        .with("gid", u64::from(entry.gid));
    match &entry.kind {
        Kind::File => row.with("size", entry.size),
        Kind::Symlink(to) => row.with("target", shown(to)),
        Kind::Device { major, minor, .. } => row.with("major", u64::from(*major)).with("minor", u64::from(*minor)),
        _ => row,
    }
}
