//! Takes root. `pvr device scan` on a network with a real avahi-daemon that announces a device, as devices of others do.

use std::fs;
use std::process::Command;

use crate::bench::{Bench, Ran};

const SERVICES: &str = r#"<?xml version="1.0" standalone='no'?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name>box</name>
  <service>
    <type>_ssh._tcp</type>
    <port>8222</port>
    <txt-record>device-id=59ef9e241e801b000870b3e5</txt-record>
    <txt-record>challenge=merely-genuine-racer</txt-record>
    <txt-record>pantahub=api.example.com:443</txt-record>
  </service>
</service-group>
"#;

const OTHER: &str = r#"<?xml version="1.0" standalone='no'?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name>a workstation</name>
  <service><type>_ssh._tcp</type><port>22</port></service>
</service-group>
"#;

const CONFIG: &str =
    "[server]\nhost-name=box\nuse-ipv6=no\nenable-dbus=no\nallow-interfaces=v0\n[wide-area]\nenable-wide-area=no\n";

/// Networks and mounts of its own: nothing of this reaches the network of the machine.
const SCRIPT: &str = r#"
set -e
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 addrgenmode none
ip addr add 10.91.7.1/24 dev v0
ip link set v0 up
ip link set v1 up
mount -t tmpfs none /run
mount -t tmpfs none /etc/avahi
mkdir /etc/avahi/services
cp "$DIR/box.service" "$DIR/other.service" /etc/avahi/services/
avahi-daemon -f "$DIR/avahi.conf" --no-drop-root --no-chroot --no-rlimits --no-proc-title > "$DIR/avahi.log" 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon || true' EXIT
"$PVR" device scan --time 4 > "$DIR/out" 2> "$DIR/err" || { cat "$DIR/err" "$DIR/avahi.log"; exit 1; }
"$PVR" scan --time 2 --json > "$DIR/json" 2> /dev/null
"#;

#[test]
fn a_device_that_a_real_avahi_announces_is_found_and_a_workstation_is_not() {
    let bench = Bench::new();
    let dir = bench.top();
    for (name, text) in [("box.service", SERVICES), ("other.service", OTHER), ("avahi.conf", CONFIG), ("s.sh", SCRIPT)]
    {
        fs::write(dir.join(name), text).unwrap();
    }
    let mut script = Command::new("unshare");
    script.args(["--net", "--mount", "sh"]).arg(dir.join("s.sh"));
    script.env("DIR", dir).env("PVR", assert_cmd::cargo::cargo_bin!("pvr"));
    let ran: Ran = script.output().unwrap().into();
    let log = fs::read_to_string(dir.join("avahi.log")).unwrap_or_default();
    assert_eq!(ran.code, 0, "{}{}{log}", ran.stdout, ran.stderr);
    let shown = fs::read_to_string(dir.join("out")).unwrap();
    assert_eq!(
        shown,
        "ID: 59ef9e241e801b000870b3e5 (unclaimed)\nHost: box.local\nIPv4: 10.91.7.1\nPort: 8222\n\
         Endpoint: http://10.91.7.1:12368\n\
         Claim Cmd: pvr claim -c merely-genuine-racer https://api.example.com:443/devices/59ef9e241e801b000870b3e5\n\n",
        "{log}"
    );
    assert!(fs::read_to_string(dir.join("err")).unwrap().ends_with("1 device\n"));
    let json = fs::read_to_string(dir.join("json")).unwrap();
    assert!(json.contains("\"id\": \"59ef9e241e801b000870b3e5\"") && json.contains("10.91.7.1"), "{json}");
}
