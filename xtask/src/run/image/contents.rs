//! What is in the images: programs of the distribution, and a few lines of configuration.
//!
//! The web server's image is like the official one as far as a container can tell: entry point, command, port, stop
//! signal, logs on the standard streams. So what works here works with the image of a public registry.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::oci::{Image, Layer};
use super::tree::Tree;
use crate::arch::Arch;
use crate::packages;

/// Programs inside busybox that our scripts call.
const APPLETS: &[&str] = &[
    "cat", "chmod", "date", "echo", "env", "grep", "id", "ip", "kill", "ln", "ls", "mkdir", "ps", "sed", "setsid",
    "sh", "sleep", "wget",
];

/// The page that the web server shows.
pub(crate) const PAGE: &str = "<!doctype html>\n<title>Cairn</title>\n<h1>First light</h1>\n";

const NGINX_CONF: &str = "\
user nginx;
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 64; }
http {
    types { text/html html; text/css css; application/javascript js; image/png png; image/svg+xml svg; }
    default_type application/octet-stream;
    access_log /dev/stdout;
    client_body_temp_path /var/cache/nginx/client;
    proxy_temp_path /var/cache/nginx/proxy;
    fastcgi_temp_path /var/cache/nginx/fastcgi;
    uwsgi_temp_path /var/cache/nginx/uwsgi;
    scgi_temp_path /var/cache/nginx/scgi;
    include /etc/nginx/conf.d/*.conf;
}
";

const NGINX_SITE: &str = "\
server {
    listen 80;
    location / { root /usr/share/nginx/html; index index.html; }
}
";

/// Runs the command it is given, as the official image's does after its hooks.
const ENTRYPOINT: &str = "#!/bin/sh\nset -e\nexec \"$@\"\n";

/// The busybox of this machine.
pub(crate) fn busybox() -> Result<PathBuf> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(PathBuf::from).find(|path| path.exists());
    busybox.context("busybox-static is missing: run `cargo xtask setup`")
}

/// A root file system with a shell, which is in this busybox, and nothing else.
pub(crate) fn base(busybox: &Path) -> Result<Tree> {
    let empty = ["dev", "proc", "run", "srv", "sys", "var/tmp"];
    let tree = empty.into_iter().fold(Tree::default(), |tree, path| tree.dir(path, 0o755));
    let tree = tree
        .dir("tmp", 0o1777)
        .dir("root", 0o700)
        .file("bin/busybox", 0o755, fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        .file("etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n");
    Ok(APPLETS.iter().fold(tree, |tree, applet| tree.link(&format!("bin/{applet}"), "busybox")))
}

/// The image of an app that is a script, with this busybox, which is for `arch`.
pub(crate) fn shell(busybox: &Path, arch: Arch) -> Result<Image> {
    let layer = Layer::new(&base(busybox)?)?;
    Ok(Image::new(&[layer], &json!({ "Cmd": ["/bin/sh", "-c", ". /app"], "Env": [PATH] }), arch))
}

/// The images that the story and the mission name, by `repository:tag`.
pub(crate) fn images() -> Result<BTreeMap<&'static str, Image>> {
    let arch = Arch::host()?;
    let shell = Layer::new(&base(&busybox()?)?)?;
    let (program, version) = nginx()?;
    let server = Layer::new(&program)?;
    let nginx = |command: &[&str]| {
        let config = json!({
            "Entrypoint": ["/docker-entrypoint.sh"], "Cmd": command, "ExposedPorts": { "80/tcp": {} }, "StopSignal": "SIGQUIT",
            "Env": [PATH, format!("NGINX_VERSION={version}")],
        });
        Image::new(&[shell.clone(), server.clone()], &config, arch)
    };
    let shell_image = |script: &str| -> Value { json!({ "Cmd": ["/bin/sh", "-c", script], "Env": [PATH] }) };
    // Asked every second, and twice at most.
    let checked = |script: &str, check: &str| {
        let mut config = shell_image(script);
        let check = json!({ "Test": ["CMD-SHELL", check], "Interval": 1_000_000_000_u64, "StartPeriod": 3_000_000_000_u64,
            "StartInterval": 500_000_000_u64, "Timeout": 2_000_000_000_u64, "Retries": 2 });
        config.as_object_mut().map(|members| members.insert("Healthcheck".into(), check));
        Image::new(std::slice::from_ref(&shell), &config, arch)
    };
    Ok(BTreeMap::from([
        ("library/healthy:late", checked(HEALTHY_LATE, HEALTH_CHECK)),
        ("library/healthy:never", checked(NEVER_READY, HEALTH_CHECK)),
        ("library/nginx:stable-alpine", nginx(&["nginx", "-g", "daemon off;"])),
        ("library/nginx:latest", nginx(&["nginx", "-g", "daemon off;"])),
        ("library/nginx:exits", nginx(&["nginx", "-g", "daemon off; no_such_directive on;"])),
        ("library/shell:latest", self::shell(&busybox()?, arch)?),
        ("library/never-ready:latest", Image::new(std::slice::from_ref(&shell), &shell_image(NEVER_READY), arch)),
    ]))
}

pub(in crate::run) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const NEVER_READY: &str = "trap 'exit 0' TERM; echo 'never ready'; while :; do sleep 1; done";

const HEALTHY_LATE: &str = "trap 'exit 0' TERM; sleep 2; echo up > /tmp/up; while :; do sleep 1; done";

const HEALTH_CHECK: &str = "test -e /tmp/up || { echo 'nothing is up'; exit 9; }";

/// The layer of the web server, and its version.
fn nginx() -> Result<(Tree, String)> {
    let program = packages::need("nginx", "usr/sbin/nginx")?;
    let said =
        Command::new(&program).arg("-v").output().with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let version = said.trim().rsplit('/').next().unwrap_or_default().to_owned();
    let tree = Tree::default()
        .file("usr/sbin/nginx", 0o755, fs::read(&program)?)
        .file("docker-entrypoint.sh", 0o755, ENTRYPOINT)
        .file("etc/nginx/nginx.conf", 0o644, NGINX_CONF)
        .file("etc/nginx/conf.d/default.conf", 0o644, NGINX_SITE)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:101:nginx:/var/cache/nginx:/bin/false\n")
        .file("etc/group", 0o644, "root:x:0:\nnginx:x:101:\n")
        .file("usr/share/nginx/html/index.html", 0o644, PAGE)
        .dir("var/cache/nginx", 0o755)
        .dir("var/lib/nginx", 0o755)
        .link("var/log/nginx/access.log", "/dev/stdout")
        .link("var/log/nginx/error.log", "/dev/stderr");
    let mut tree = tree;
    for library in libraries(&program)? {
        let place = library.strip_prefix("/").unwrap_or(&library).to_string_lossy().into_owned();
        tree =
            tree.file(&place, 0o755, fs::read(&library).with_context(|| format!("cannot read {}", library.display()))?);
    }
    Ok((tree, version))
}

/// The shared libraries of a program and the loader that finds them, where they lie on this machine.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run `ldd`")?;
    let said = String::from_utf8(output.stdout)?;
    let mut found = Vec::new();
    for line in said.lines().map(str::trim) {
        let place = line.split_once(" => ").map_or(line, |(_, place)| place);
        if place.starts_with("not found") {
            bail!("{}: {line}: run `cargo xtask setup`", program.display());
        }
        let place = place.split_once(" (").map_or(place, |(place, _)| place);
        // The kernel's own page has a name without a place.
        if place.starts_with('/') {
            found.push(PathBuf::from(place));
        }
    }
    if found.is_empty() {
        bail!("`ldd {}` names no library: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(found)
}
