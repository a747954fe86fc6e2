//! `linux.seccomp`, as a profile in LXC's language, compiled as `pvr app seccomp` does it.

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{FILTER, Translated};
use crate::document::Document;
use crate::spec::{Argument, Seccomp};

/// What a refused call says where nothing else is said.
const EPERM: u32 = 1;

pub(super) fn translate(document: &mut Document, all: &mut Translated) -> Result<()> {
    let Some(seccomp) = document.take::<Seccomp>("/linux/seccomp")? else { return Ok(()) };
    let text = profile(&seccomp)?;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let arch = cli::seccomp::arch(arch).context("/linux/seccomp: no table of system calls for this machine")?;
    let filter = cli::seccomp::of_profile(text.as_bytes(), arch).map_err(|why| anyhow!("/linux/seccomp: {why}"))?;
    all.filter = Some(filter.to_bytes());
    all.say("lxc.seccomp.profile", FILTER);
    Ok(())
}

/// The same in LXC's words.
fn profile(seccomp: &Seccomp) -> Result<String> {
    let plain = seccomp.flags.is_empty() && seccomp.listener_path.is_none();
    ensure!(plain, "/linux/seccomp: no profile of LXC has flags or a listener");
    let mut text = "2\n".to_owned();
    text += &match action(&seccomp.default_action, seccomp.default_errno_ret)?.as_str() {
        "allow" => "denylist\n[all]\n".to_owned(),
        other => format!("allowlist {other}\n[all]\n"),
    };
    for rule in &seccomp.syscalls {
        ensure!(!rule.names.is_empty(), "/linux/seccomp/syscalls: a rule names no call");
        let action = action(&rule.action, rule.errno_ret)?;
        let args = rule.args.iter().map(argument).collect::<Result<String>>()?;
        rule.names.iter().for_each(|name| text += &format!("{name} {action} {args}\n"));
    }
    Ok(text)
}

fn action(action: &str, errno: Option<u32>) -> Result<String> {
    Ok(match action {
        "SCMP_ACT_ALLOW" => "allow".to_owned(),
        "SCMP_ACT_ERRNO" => format!("errno {}", errno.unwrap_or(EPERM)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => "kill".to_owned(),
        "SCMP_ACT_TRAP" => "trap".to_owned(),
        other => bail!("/linux/seccomp: {other}: no profile of LXC says this"),
    })
}

fn argument(arg: &Argument) -> Result<String> {
    let Argument { index, value, value_two, op } = arg;
    Ok(match op.as_str() {
        // The mask comes first there, and last here.
        "SCMP_CMP_MASKED_EQ" => format!("[{index},{value_two},{op},{value}]"),
        "SCMP_CMP_NE" | "SCMP_CMP_LT" | "SCMP_CMP_LE" | "SCMP_CMP_EQ" | "SCMP_CMP_GE" | "SCMP_CMP_GT" => {
            format!("[{index},{value},{op}]")
        }
        other => bail!("/linux/seccomp: {other:?} is no comparison"),
    })
}
