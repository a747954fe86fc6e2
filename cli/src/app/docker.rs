//! The template `builtin-lxc-docker`: `lxc.container.conf` line for line as existing tools write it, blanks and all.
//!
//! Where they write what no device can read, this one differs: words of a command have blanks between them and quotes that
//! are closed, and several further images are a list.

use formats::path::ContainerName;

use super::facts::Facts;
use super::imports::Imports;
use super::recipe::Recipe;
use super::volume::{OVERLAY, Volume};
use super::{line, template};
use crate::error::{Error, Result};

/// What is between a container and the device's network.
enum Link {
    /// Nothing.
    Host,
    /// No interface.
    Empty,
    /// An interface of the device.
    Phys(String),
    /// A pair, on the bridge of LXC.
    Veth { address: Option<String>, gateway: String },
}

/// The lines.
pub(super) fn lines(
    name: &ContainerName,
    recipe: &Recipe,
    facts: &Facts<'_>,
    volumes: &[Volume],
    warnings: &mut Vec<String>,
) -> Result<String> {
    let args = &recipe.args;
    let or = |name: &str, usual: &str| args.text(name).unwrap_or_else(|| usual.to_owned());
    let yes = |name: &str, line: &str| args.yes(name).then(|| line.to_owned());
    let link = link(recipe)?;
    let mut lines = vec![format!("lxc.tty.max = {}", or("LXC_TTY_MAX", "8"))];
    lines.push(format!("lxc.pty.max = {}", or("LXC_PTY_MAX", "1024")));
    lines.extend(args.yes("PV_DEBUG_MODE").then(|| format!("lxc.log.file = /pv/logs/{name}.log")));
    let allowed = args.list("PVR_LXC_CGROUP_DEVICES_WHITE");
    if allowed.is_empty() {
        lines.push("lxc.cgroup.devices.allow = a".to_owned());
    } else {
        lines.push("lxc.cgroup.devices.deny = a".to_owned());
        lines.extend(allowed.iter().map(|rule| format!("lxc.cgroup.devices.allow = {rule}")));
    }
    lines.extend(args.list("PVR_LXC_CGROUP_V1").iter().map(|limit| format!("lxc.cgroup.{limit}")));
    let lowers = template::lowers(name, recipe).join(":");
    lines.push(format!("lxc.rootfs.path = overlayfs:{lowers}:/volumes/{name}/{OVERLAY}/upper"));
    lines.push(format!("lxc.init.cmd = {}", line::quoted(&line::words(&facts.config)?)?));
    let cwd = template::text(facts, "WorkingDir")?;
    lines.extend((!cwd.is_empty()).then(|| format!("lxc.init.cwd = {cwd}")));
    let pairs = template::env(facts)?.into_iter().chain(template::more_env(recipe)?);
    lines.extend(pairs.map(|(name, value)| format!("lxc.environment = {name}={value}")));
    let shared = if matches!(link, Link::Host) { "user  net  ipc" } else { "user  ipc" };
    lines.push(format!("lxc.namespace.keep = {}", or("PV_LXC_NAMESPACE_KEEP", shared)));
    lines.extend(yes("PV_LXC_DISABLE_CONSOLE", "lxc.console.path = none"));
    let [proc, sys, group] = [("PROC", "proc"), ("SYS", "sys:rw"), ("GROUP", "cgroup")]
        .map(|(word, usual)| or(&format!("LXC_MOUNT_AUTO_{word}"), usual));
    lines.push(format!("lxc.mount.auto = {proc}  {sys}  {group}"));
    lines.extend(yes("PV_DISABLE_AUTODEV", "lxc.autodev = 0"));
    lines.extend(recipe.grants.wide.iter().map(|wide| wide.line().to_owned()));
    if !args.yes("PV_RESOLV_CONF_DISABLE") {
        let target = or("PV_RESOLV_CONF_PATH", template::RESOLVER);
        lines.push(format!("lxc.mount.entry = /etc/resolv.conf {target} none bind,rw,create=file 0 0"));
    }
    if !args.yes("PV_RUN_TMPFS_DISABLE") {
        let target = or("PV_RUN_TMPFS_PATH", template::RUN);
        lines.push(format!("lxc.mount.entry = tmpfs {target} tmpfs rw,nodev,relatime,create=dir,mode=755 0 0"));
    }
    for changes in [false, true] {
        let kind = volumes.iter().filter(|volume| volume.keeps_changes() == changes);
        lines.extend(kind.filter_map(|volume| Some(format!("lxc.mount.entry = {}", volume.line(name)?))));
    }
    for (argument, key) in [("PV_LXC_CAP_DROP", "drop"), ("PV_LXC_CAP_KEEP", "keep")] {
        lines.extend(args.list(argument).iter().map(|word| format!("lxc.cap.{key} = {}", word.to_lowercase())));
    }
    lines.extend(link.lines());
    // From here on a person says lines; before, an image must not.
    if let Some(line) = lines.iter().find(|line| line.contains(char::is_control)) {
        return Err(Error::user(format!("the image cannot be a container: {line:?} has a control character in it"))
            .hint("the value comes from the image or from an argument; write it without"));
    }
    lines.extend(args.text("PV_LXC_EXTRA_CONF").iter().flat_map(|text| text.lines().map(str::to_owned)));
    lines.extend(Imports::read(args)?.lines(name).into_iter().map(|entry| format!("lxc.mount.entry = {entry}")));
    let user = template::text(facts, "User")?;
    if !matches!(user.as_str(), "" | "0" | "root" | "0:0" | "root:root") {
        warnings.push(format!("the image wants to run as {user:?}; this template runs it as root"));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

fn link(recipe: &Recipe) -> Result<Link> {
    let args = &recipe.args;
    let (address, wire) = (args.text("PV_LXC_NETWORK_IPV4_ADDRESS"), args.text("PV_LXC_NETWORK_LINK"));
    let gateway = args.text("PV_LXC_NETWORK_IPV4_GATEWAY");
    Ok(match args.text("PV_LXC_NETWORK_TYPE").as_deref() {
        None | Some("host") => Link::Host,
        Some("none" | "empty") => Link::Empty,
        Some("phys") => Link::Phys(wire.ok_or_else(|| {
            Error::user("PV_LXC_NETWORK_TYPE is phys, and PV_LXC_NETWORK_LINK is missing")
                .hint("it names the interface of the device that the container takes, like eth0")
        })?),
        Some("veth") => Link::Veth { address, gateway: gateway.unwrap_or_else(|| "auto".to_owned()) },
        Some(other) => {
            return Err(Error::user(format!(
                "PV_LXC_NETWORK_TYPE: {other:?} is none of host, veth, phys, empty, none"
            )));
        }
    })
}

impl Link {
    fn lines(self) -> Vec<String> {
        match self {
            Self::Host | Self::Empty => Vec::new(),
            // No blank after `=`, as it was written ever since.
            Self::Phys(link) => vec!["lxc.net.0.type = phys".to_owned(), format!("lxc.net.0.link ={link}")],
            Self::Veth { address, gateway } => {
                let mut lines =
                    ["type = veth", "link = lxcbr0", "flags = up"].map(|rest| format!("lxc.net.0.{rest}")).to_vec();
                lines.extend(address.map(|address| format!("lxc.net.0.ipv4.address = {address}")));
                lines.push(format!("lxc.net.0.ipv4.gateway = {gateway}"));
                lines
            }
        }
    }
}
