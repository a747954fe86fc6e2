//! Whole systems as images: distributions as their own tool puts them together, with an init of theirs.
//!
//! ```text
//!   target/packages/systems/NAME-RECIPE/layer.tar.gz    made once for each recipe, complete or not there
//!                                       plain           the digest of the archive before compression
//! ```
//!
//! Promises: nothing of this machine is in them but busybox and where it fetches packages from; another recipe is another
//! directory. Root is needed: maintainer scripts run in the new tree.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use formats::object::ObjectId;
use serde_json::json;

use super::contents::{self, PATH};
use super::oci::{Image, Layer};
use super::services;
use crate::arch::Arch;
use crate::term::Out;
use crate::{cargo, packages, setup};

/// A distribution with an init.
struct Recipe {
    name: &'static str,
    /// Packages beside those without which there is no system.
    packages: &'static str,
    /// What is run in the new tree, for `sh -eu`, with its place as `$1`.
    after: &'static str,
}

const RECIPES: &[Recipe] = &[
    Recipe { name: "debian-systemd", packages: "systemd-sysv,dbus", after: FRESH },
    Recipe { name: "debian-network", packages: "systemd-sysv,dbus,network-manager", after: NETWORK },
    Recipe { name: "debian-postgres", packages: "postgresql", after: POSTGRES },
    Recipe { name: "debian-python", packages: "python3-minimal,python3-psycopg2", after: FRESH },
    Recipe { name: "debian-openrc", packages: "sysvinit-core,openrc,initscripts", after: OPENRC },
];

/// What belongs to one machine and not to its image.
const FRESH: &str = "rm -f \"$1/etc/hostname\" \"$1/var/lib/dbus/machine-id\"; : > \"$1/etc/machine-id\"";

/// It leaves alone what others have made, such as the pools of the device, and begins nothing by itself.
const NETWORK: &str = r#"rm -f "$1/etc/hostname" "$1/var/lib/dbus/machine-id"; : > "$1/etc/machine-id"
printf '[main]\nno-auto-default=*\n[keyfile]\nunmanaged-devices=interface-name:apps*,type:veth\n' > "$1/etc/NetworkManager/conf.d/device.conf""#;

/// As every image of this init for containers: `SIGPWR`, which says that the power goes, switches it off. There are no
/// terminals to log in at but the console.
const OPENRC: &str = r#"rm -f "$1/etc/hostname"
sed -i -e '/getty/d' -e '/:power[a-z]*:/d' "$1/etc/inittab"
echo 'pf::powerwait:/sbin/shutdown -h now' >> "$1/etc/inittab""#;

/// Without the cluster that its installation makes, and without what compiles queries, which is larger than all the rest.
const POSTGRES: &str = r#"rm -rf "$1"/var/lib/postgresql/* "$1"/etc/postgresql/* "$1"/usr/lib/postgresql/*/lib/bitcode
rm -f "$1"/usr/lib/*/libLLVM* "$1"/usr/lib/postgresql/*/lib/llvmjit*"#;

/// The table of BusyBox's init: something that runs for good, something that listens to the console, and something that is done
/// before the end.
const INITTAB: &str = "\
::sysinit:/bin/echo the system begins
::respawn:/bin/sh -c 'while :; do echo beats; sleep 1; done'
::respawn:/bin/sh -c 'while read line; do echo \"heard $line\"; done'
::shutdown:/bin/echo the system ends
";

/// The image of a system of this name, or of a [service](services).
pub(crate) fn image(name: &str, out: Out) -> Result<Image> {
    let arch = Arch::host()?;
    if let Some((name, version)) = name.split_once(':') {
        let Some(service) = services::find(name) else {
            bail!("there is no image {name}; there are: {}", services::names().join(", "));
        };
        let Some(recipe) = RECIPES.iter().find(|recipe| recipe.name == service.system) else {
            bail!("the image {name} is made of {}, which is no system", service.system);
        };
        return service.image(layer(recipe, arch, out)?, version, arch);
    }
    let layer = match RECIPES.iter().find(|recipe| recipe.name == name) {
        Some(recipe) => layer(recipe, arch, out)?,
        None if name == "busybox-init" => {
            let tree = contents::base(&contents::busybox()?)?.file("etc/inittab", 0o644, INITTAB);
            Layer::new(&tree.link("sbin/init", "../bin/busybox"))?
        }
        None => {
            let names: Vec<_> = RECIPES.iter().map(|recipe| recipe.name).chain(["busybox-init"]).collect();
            bail!("there is no image {name}; there are: {}", names.join(", "));
        }
    };
    Ok(Image::new(&[layer], &json!({ "Cmd": ["/sbin/init"], "Env": [PATH] }), arch))
}

fn layer(recipe: &Recipe, arch: Arch, out: Out) -> Result<Layer> {
    let (suite, sources) = distribution()?;
    let said = [recipe.packages, recipe.after, &suite, &sources.to_string_lossy()].join("\n");
    let key: String = ObjectId::of(said.as_bytes()).to_string().chars().take(16).collect();
    let place = cargo::target_directory()?.join("packages/systems").join(format!("{}-{key}", recipe.name));
    let dir = packages::once(&place, |new| make(recipe, arch, &suite, &sources, new, out))?;
    let read =
        |name: &str| fs::read(dir.join(name)).with_context(|| format!("cannot read {name} of {}", dir.display()));
    Ok(Layer::packed(read("layer.tar.gz")?, &String::from_utf8(read("plain")?)?))
}

fn make(recipe: &Recipe, arch: Arch, suite: &str, sources: &Path, new: &Path, out: Out) -> Result<()> {
    out.line(format!("image: {} is made of packages of {suite}", recipe.name));
    setup::ensure_systems(out)?;
    let tar = new.join("layer.tar");
    let mut command = Command::new("mmdebstrap");
    // The same packages give the same bytes, so that objects are shared.
    command.env("SOURCE_DATE_EPOCH", "1000000000");
    command.args(["--quiet", "--mode=root", "--variant=essential", "--format=tar"]);
    command.arg(format!("--architectures={}", arch.debian())).arg(format!("--include={}", recipe.packages));
    for unread in ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"] {
        command.arg(format!("--dpkgopt=path-exclude={unread}"));
    }
    command.arg(format!("--customize-hook={}", recipe.after)).arg(suite).arg(&tar).arg(sources);
    cargo::must(&mut command, out)?;
    let plain = pack(&tar, &new.join("layer.tar.gz"))?;
    fs::write(new.join("plain"), plain)?;
    fs::remove_file(&tar).with_context(|| format!("cannot remove {}", tar.display()))
}

/// Compresses a file, quickly. The result is the digest of what was in it. Both by programs of the distribution: ours are
/// not optimised while they are tests.
fn pack(from: &Path, to: &Path) -> Result<String> {
    let made = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut gzip = Command::new("gzip");
    gzip.args(["-1", "--no-name", "--stdout"]).arg(from).stdout(made);
    if !gzip.status().context("cannot run gzip")?.success() {
        bail!("`{}` failed", cargo::shown(&gzip));
    }
    let output = Command::new("sha256sum").arg(from).output().context("cannot run sha256sum")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let digest = said.split_whitespace().next().filter(|digest| ObjectId::parse(digest).is_some());
    digest.map(|digest| format!("sha256:{digest}")).with_context(|| format!("sha256sum says {said:?}"))
}

/// Files that say where the distribution of this machine is served.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];

/// The name of the distribution's release, and where it is served.
fn distribution() -> Result<(String, PathBuf)> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let (id, suite) = (field("ID").unwrap_or_default(), field("VERSION_CODENAME").unwrap_or_default());
    let sources = SOURCES.map(PathBuf::from).into_iter().find(|path| path.is_file());
    match sources {
        Some(sources) if id == "debian" && !suite.is_empty() => Ok((suite, sources)),
        _ => {
            bail!("images of whole systems are made of Debian's packages, on a machine that runs Debian; this is {id}")
        }
    }
}
