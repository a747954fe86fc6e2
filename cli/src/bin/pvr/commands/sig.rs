//! `pvr sig`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cli::repo::durable;
use cli::sign::{self, Choice};
use cli::{Error, ErrorKind, Result};
use formats::trust::Trust;

use crate::commands::{Keys, here};
use crate::term::{Done, note, out};

/// The bundle of the host, where distributions have it.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Make, renew and check signatures
///
/// `pvr commit` signs by itself. These are for signatures with patterns or keys of their own, and to look at what is
/// signed.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr sig ls                                       what is signed, by keys that you trust
  pvr sig --cacerts product-ca.pem ls web          one signature, by an authority
  pvr sig verify                                   one by one, with who made them
  pvr sig --key product.pem add --part web         sign a part; then `pvr commit`
  pvr sig key > device-trust.pem                   your public key, for a device")]
pub(crate) struct Args {
    /// Sign with this key: PEM, P-256, P-384 or RSA [default: your own, made on first use]
    #[arg(long, short, global = true, env = "PVR_SIG_KEY", hide_env_values = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Its chain of certificates in PEM, the signer's first; `no` for none
    #[arg(long, short = 'x', global = true, env = "PVR_X5C_PATH", hide_env_values = true, value_name = "FILE")]
    x5c: Option<String>,
    /// Check with these public keys (PEM) and nothing else; before the command also -p
    #[arg(long, global = true, env = "PVR_SIG_PUBKEY", hide_env_values = true, value_name = "FILE")]
    pubkey: Option<PathBuf>,
    // Behind `add` the letter means a part, as it does in existing tools.
    #[arg(short = 'p', id = "short-pubkey", value_name = "FILE", hide = true, conflicts_with = "pubkey")]
    short_pubkey: Option<PathBuf>,
    /// Check with these authorities (PEM) and nothing else; `_system_` for those of this machine
    #[arg(long, short, global = true, env = "PVR_SIG_CACERTS", hide_env_values = true, value_name = "FILE")]
    cacerts: Option<String>,
    /// Where developer keys could be fetched; they never are
    #[arg(long, global = true, env = "PVS_CERTS_URL", hide_env_values = true, value_name = "URL", hide = true)]
    certs_url: Option<String>,
    /// Put what is signed into the signature too, for tools that want it
    #[arg(long, global = true, env = "PVS_SIG_WITH_PAYLOAD", hide_env_values = true)]
    with_payload: bool,
    /// Write the signature there and not into the work tree; `-` is standard output
    #[arg(long, global = true, env = "PVS_SIG_OUTPUT", hide_env_values = true, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Sign a choice of the committed state, into the work tree
    Add(Add),
    /// Sign again with the patterns that signatures of the work tree have
    #[command(visible_alias = "update")]
    Up {
        /// Which; `web` is _sigs/web.json [default: all]
        names: Vec<String>,
    },
    /// Check signatures, and list what they protect (JSON)
    ///
    /// Ends with 13 and no list if a signature does not count.
    Ls {
        /// Which; `web` is _sigs/web.json [default: all]
        names: Vec<String>,
        /// List the signatures too
        #[arg(long, short = 's')]
        with_sigs: bool,
        /// The list is JSON in any case; accepted so that scripts can always ask for it
        #[arg(long)]
        json: bool,
    },
    /// Check signatures one by one: who made each, and whether it counts here
    ///
    /// Ends with 13 if one does not count. What no signature protects is told; strict devices refuse it.
    Verify {
        /// Which; `web` is _sigs/web.json [default: all]
        names: Vec<String>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take signatures out of the work tree
    ///
    /// The next commit signs with your key what they signed, unless it is told not to sign.
    Rm {
        /// Which; `web` is _sigs/web.json
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print the public half of the key that signs, as devices take it
    Key,
}

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["part", "raw"]))]
struct Add {
    /// Sign X/** and _config/X/**, as _sigs/X.json
    #[arg(long, short, value_name = "X")]
    part: Option<String>,
    /// Leave _config/X/** out
    #[arg(long, short, requires = "part")]
    noconfig: bool,
    /// Sign what the patterns say, as _sigs/NAME.json
    #[arg(long, value_name = "NAME", requires = "include")]
    raw: Option<String>,
    /// A pattern of what to sign: `X/**` or a full name
    #[arg(long, short, value_name = "PATTERN", conflicts_with = "part")]
    include: Vec<String>,
    /// A pattern of what not to sign
    #[arg(long, short, value_name = "PATTERN", conflicts_with = "part")]
    exclude: Vec<String>,
}

pub(crate) fn run(args: &Args, keys: &Keys) -> Done {
    if args.certs_url.is_some() {
        return Err(Error::user("--certs-url (PVS_CERTS_URL): keys that anybody can fetch are never used")
            .hint("your own key is made on first use; a product's is named with --key and --x5c")
            .into());
    }
    let open = || keys.open(args.key.as_deref(), args.x5c.as_deref());
    match &args.command {
        Command::Add(choice) => add(choice, args, &open()?),
        Command::Up { names } => {
            let made = sign::up(&here()?, names, &open()?)?;
            made.iter().for_each(|name| note(format_args!("Signing {name}")));
            note(if made.is_empty() { "no signatures" } else { "`pvr commit` takes them" });
            Ok(())
        }
        Command::Ls { names, with_sigs, json: _ } => {
            let now = now();
            let listing = sign::list(&here()?, names, &trust(args, keys)?.at(now), now)?;
            out(listing.to_json(*with_sigs).pretty())
        }
        Command::Verify { names, json } => verify(args, keys, names, *json),
        Command::Rm { names } => {
            let gone = sign::remove(&here()?, names)?;
            gone.iter().for_each(|path| note(format_args!("Removing {path}")));
            note("`pvr commit` signs with your key what is unsigned now; --no-sign leaves it");
            Ok(())
        }
        Command::Key => out(open()?.public_key().trim_end()),
    }
}

fn verify(args: &Args, keys: &Keys, names: &[String], json: bool) -> Done {
    let now = now();
    let verdicts = sign::verdicts(&here()?, names, &trust(args, keys)?.at(now), now)?;
    if json {
        out(verdicts.to_json().pretty())?;
    } else {
        for row in &verdicts.rows {
            let signer = row.signer.as_ref().map_or_else(|| "a key without a certificate".into(), ToString::to_string);
            match &row.verdict {
                Ok(1) => out(format_args!("{}: counts: protects 1 path; {}, {signer}", row.key, row.algorithm)),
                Ok(count) => {
                    out(format_args!("{}: counts: protects {count} paths; {}, {signer}", row.key, row.algorithm))
                }
                Err(why) => out(format_args!("{}: does not count: {why}; {}, {signer}", row.key, row.algorithm)),
            }?;
        }
        for path in &verdicts.unsigned {
            out(format_args!("{path}: not signed"))?;
        }
    }
    let bad: Vec<_> = verdicts.rows.iter().filter(|row| row.verdict.is_err()).map(|row| row.key.as_str()).collect();
    match bad.as_slice() {
        [] if verdicts.rows.is_empty() => {
            note("no signatures");
            Ok(())
        }
        [] => Ok(()),
        bad => {
            let message =
                format!("{} of {} signatures do not count: {}", bad.len(), verdicts.rows.len(), bad.join(", "));
            Err(Error { kind: ErrorKind::Signature, message, hint: None }
                .hint("--pubkey or --cacerts say whom you trust; devices have their own list")
                .into())
        }
    }
}

fn add(add: &Add, args: &Args, key: &sign::keys::DeveloperKey) -> Done {
    let repo = here()?;
    let choice = match (&add.part, &add.raw) {
        (Some(name), _) => Choice::Part { name: name.clone(), with_config: !add.noconfig },
        (None, Some(name)) => {
            Choice::Raw { name: name.clone(), include: add.include.clone(), exclude: add.exclude.clone() }
        }
        (None, None) => return Err(Error::internal("neither --part nor --raw").into()),
    };
    let (name, document) = sign::add(&repo, &choice, key, args.with_payload)?;
    match &args.output {
        Some(path) if path == Path::new("-") => out(document.canonical()),
        Some(path) => Ok(durable::replace(path, document.canonical().as_bytes(), 0o644)?),
        None => {
            sign::write(&repo, &name, &document)?;
            note(format_args!("Signing {name}; `pvr commit` takes it"));
            Ok(())
        }
    }
}

/// The keys that are trusted here: those that are named, else the developer's own and those in the configuration.
fn trust(args: &Args, keys: &Keys) -> Result<Trust> {
    let pubkey = args.short_pubkey.as_ref().or(args.pubkey.as_ref());
    trusted(pubkey.map_or(&[], std::slice::from_ref), args.cacerts.as_slice(), keys)
}

/// Those of these files, or of the developer if there are none.
pub(crate) fn trusted(public: &[PathBuf], authorities: &[String], keys: &Keys) -> Result<Trust> {
    let mut trust = Trust::new();
    let mut public = public.to_vec();
    let mut authorities: Vec<PathBuf> = authorities
        .iter()
        .map(|name| if matches!(name.as_str(), "_system_" | "__system__") { SYSTEM_BUNDLE } else { name }.into())
        .collect();
    if public.is_empty() && authorities.is_empty() {
        let files = keys.files()?;
        public.extend(Some(files.public()).filter(|path| path.exists()));
        authorities.extend(Some(files.authorities()).filter(|path| path.exists()));
    }
    for path in &public {
        trust.add_public_keys(&read(path)?).map_err(|error| unusable(path, &error))?;
    }
    for path in &authorities {
        trust.add_certificates(&read(path)?).map_err(|error| unusable(path, &error))?;
    }
    Ok(trust)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::io("read", path, &error))
}

fn unusable(path: &Path, error: &formats::trust::TrustError) -> Error {
    Error::user(format!("{}: {error}", path.display()))
}

/// A clock before 1970 is no clock: then no certificate counts.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
