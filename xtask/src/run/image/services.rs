//! Services as images, in versions: a system of the distribution, and on top the few files that make it a service. The
//! versions of one differ as those of an image of a public registry do: other bytes, the same data.
//!
//! The database is like the official image as far as a container can tell: entry point, variables, the directory of scripts
//! for a new cluster.

use anyhow::Result;
use serde_json::{Value, json};

use super::contents::PATH;
use super::oci::{Image, Layer};
use super::tree::Tree;
use crate::arch::Arch;

/// A service.
pub(super) struct Service {
    name: &'static str,
    /// What it is made of: the name of a system.
    pub(super) system: &'static str,
    /// Its files, by path.
    files: &'static [(&'static str, &'static str)],
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
    env: &'static [&'static str],
    port: &'static str,
}

const SERVICES: &[Service] = &[
    Service {
        name: "postgres",
        system: "debian-postgres",
        files: &[("usr/local/bin/docker-entrypoint.sh", POSTGRES)],
        entrypoint: &["docker-entrypoint.sh"],
        command: &["postgres"],
        env: &["PGDATA=/var/lib/postgresql/data", "LANG=C.UTF-8"],
        port: "5432/tcp",
    },
    Service {
        name: "shop",
        system: "debian-python",
        files: &[("srv/shop.py", SHOP)],
        entrypoint: &["python3", "-u", "/srv/shop.py"],
        command: &[],
        env: &[],
        port: "8000/tcp",
    },
];

/// Makes a cluster where there is none, as root gives it away first, and then starts what it is told to.
const POSTGRES: &str = r#"#!/bin/sh
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
export PATH
if test "$(id -u)" = 0; then
    mkdir -p "$PGDATA" /run/postgresql
    chown postgres:postgres "$PGDATA" /run/postgresql
    chmod 0700 "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --clear-groups "$0" "$@"
fi
if ! test -s "$PGDATA/PG_VERSION"; then
    initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 --auth-local=trust --no-sync
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses=" start
    createdb --username=postgres "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        test ! -f "$script" || psql --username=postgres --dbname="$POSTGRES_DB" --file="$script"
    done
    pg_ctl -w -m fast stop
fi
exec "$@" -c "listen_addresses=*" -c "cluster_name=image-$IMAGE_VERSION"
"#;

/// Says what is in the database, and which image the database has.
const SHOP: &str = r#"import http.server, os, sys, time
import psycopg2

version = os.environ["IMAGE_VERSION"]

def ask(query, *values):
    with open(os.environ["DB_PASSWORD_FILE"]) as file:
        password = file.read().strip()
    base = psycopg2.connect(host=os.environ["DB_HOST"], dbname=os.environ["DB_NAME"], user="postgres", password=password, connect_timeout=2)
    try:
        with base, base.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        base.close()

class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            if self.path.startswith("/buy/"):
                ask("insert into orders (what) values (%s)", self.path[5:])
            orders = ", ".join(what for (what,) in ask("select what from orders order by id"))
            (cluster,), = ask("show cluster_name")
            code, text = 200, f"shop {version}, database {cluster}: {orders}\n"
        except Exception as error:
            code, text = 503, f"shop {version}: {error}\n"
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", 8000), Shop).serve_forever()
"#;

/// The service of this name.
pub(super) fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.name == name)
}

/// All names.
pub(super) fn names() -> Vec<&'static str> {
    SERVICES.iter().map(|service| service.name).collect()
}

impl Service {
    /// Its image of a version, on top of its system.
    pub(super) fn image(&self, system: Layer, version: &str, arch: Arch) -> Result<Image> {
        let tree = Tree::default().file("etc/image-version", 0o644, format!("{version}\n"));
        let tree = self.files.iter().fold(tree, |tree, (path, text)| tree.file(path, 0o755, *text));
        let env: Vec<String> = [PATH, &format!("IMAGE_VERSION={version}")]
            .into_iter()
            .chain(self.env.iter().copied())
            .map(str::to_owned)
            .collect();
        let config: Value = json!({
            "Entrypoint": self.entrypoint, "Cmd": self.command, "Env": env,
            "ExposedPorts": { self.port: {} }, "StopSignal": "SIGINT",
        });
        Ok(Image::new(&[system, Layer::new(&tree)?], &config, arch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_service_differ_in_their_last_layer_only() {
        let base = Layer::new(&Tree::default().file("etc/motd", 0o644, "x")).unwrap();
        let image = |version| find("shop").unwrap().image(base.clone(), version, Arch::X86_64).unwrap();
        let (one, two) = (image("1"), image("2"));
        let digests = |image: &Image| image.blobs.iter().map(|blob| blob.digest.clone()).collect::<Vec<_>>();
        assert_eq!(digests(&one).first(), digests(&two).first());
        assert_ne!(one.manifest.digest, two.manifest.digest);
    }
}
