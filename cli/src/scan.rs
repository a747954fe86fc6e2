//! `pvr device scan`: devices on the networks of this machine, as they announce themselves by multicast DNS.
//!
//! ```text
//!   _ssh._tcp.local.   device-id=59ef9e241e801b000870b3e5   challenge=merely-genuine-racer   pantahub=api.example.com:443
//! ```
//!
//! Only a service with a `device-id` is a device; one with a `challenge` belongs to nobody yet. What is announced is text
//! of strangers: it is cut, stripped of control characters, and proves nothing about who announces it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use formats::json::Json;
use mdns_sd::{Receiver, ServiceDaemon, ServiceEvent};

use crate::error::{Error, ErrorKind, Result};
use crate::http::printable;
use crate::remote::address::PORT;
use crate::watch::Watch;

/// What devices announce.
const SERVICE: &str = "_ssh._tcp.local.";

/// Devices that are kept; a network with more of them is told of.
const DEVICES_MAX: usize = 4096;

/// A device that announces itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Device {
    /// Its identity at a hub.
    pub id: String,
    /// Its host name.
    pub host: String,
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// The port of the service that is announced.
    pub port: u16,
    /// What proves to a hub that one has it at hand, if nobody owns it.
    pub challenge: Option<String>,
    /// The API of the hub that it speaks to: host and port, or an address.
    pub hub: Option<String>,
}

/// Listens for so long. Devices come in the order of their names; whether there were more than are kept is said too.
///
/// # Errors
/// No network of this machine can be listened to.
pub fn scan(time: Duration, watch: &dyn Watch) -> Result<(Vec<Device>, bool)> {
    let cannot = |error: mdns_sd::Error| {
        let message = format!("the network cannot be listened to: {error}");
        Error { kind: ErrorKind::Network, message, hint: None }
            .hint("multicast DNS is UDP port 5353: is there a network, and does a firewall let it pass?")
    };
    let daemon = ServiceDaemon::new().map_err(cannot)?;
    let events = daemon.browse(SERVICE).map_err(cannot)?;
    let found = collect(&events, time, watch);
    // It ends with the program at the latest.
    let _ = daemon.shutdown();
    let is_whole = found.len() <= DEVICES_MAX;
    Ok((found.into_values().take(DEVICES_MAX).collect(), is_whole))
}

fn collect(events: &Receiver<ServiceEvent>, time: Duration, watch: &dyn Watch) -> BTreeMap<String, Device> {
    let (mut found, end) = (BTreeMap::new(), Instant::now() + time);
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let Ok(event) = events.recv_timeout(left) else { break };
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        let text = |name: &str| service.get_property_val_str(name);
        let addresses = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
        let Some(device) = Device::of(&service.host, addresses, service.port, text) else { continue };
        if found.len() > DEVICES_MAX {
            break;
        }
        if found.insert(service.fullname.clone(), device.clone()).is_none() {
            watch.say(&format!("found {} ({})", device.id, device.host));
        }
    }
    found
}

impl Device {
    /// What a service says, if it is a device.
    fn of<'t>(
        host: &str,
        addresses: impl Iterator<Item = IpAddr>,
        port: u16,
        text: impl Fn(&str) -> Option<&'t str>,
    ) -> Option<Self> {
        let text = |name: &str| text(name).map(printable).filter(|text| !text.is_empty());
        let mut addresses: Vec<_> = addresses.collect();
        addresses.sort();
        addresses.dedup();
        let host = printable(host.trim_end_matches('.'));
        Some(Self {
            id: text("device-id")?,
            host,
            addresses,
            port,
            challenge: text("challenge"),
            hub: text("pantahub"),
        })
    }

    /// The API of its hub as an address.
    fn api(&self) -> Option<String> {
        let hub = self.hub.as_deref()?.trim_end_matches('/');
        Some(if hub.contains("://") { hub.to_owned() } else { format!("https://{hub}") })
    }

    /// Where its own endpoint is, if that is open to the network.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        match self.addresses.first()? {
            IpAddr::V4(ip) => Some(format!("http://{ip}:{PORT}")),
            IpAddr::V6(ip) => Some(format!("http://[{ip}]:{PORT}")),
        }
    }

    /// What there is to say, name and value.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let of = |is_v4: bool| {
            let list = self.addresses.iter().filter(|address| address.is_ipv4() == is_v4).map(ToString::to_string);
            list.collect::<Vec<_>>().join(", ")
        };
        let owned = if self.challenge.is_some() { "unclaimed" } else { "owned" };
        let mut lines = vec![
            ("ID", format!("{} ({owned})", self.id)),
            ("Host", self.host.clone()),
            ("IPv4", of(true)),
            ("IPv6", of(false)),
            ("Port", self.port.to_string()),
        ];
        lines.retain(|(_, value)| !value.is_empty());
        lines.extend(self.endpoint().map(|url| ("Endpoint", url)));
        match (self.api(), &self.challenge) {
            (Some(api), Some(challenge)) => {
                lines.push(("Claim Cmd", format!("pvr claim -c {challenge} {api}/devices/{}", self.id)));
            }
            (Some(api), None) => lines.push(("PVR Clone", format!("{api}/trails/{}", self.id))),
            (None, Some(challenge)) => lines.push(("Challenge", challenge.clone())),
            (None, None) => {}
        }
        lines
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let addresses: Vec<Json> = self.addresses.iter().map(|address| address.to_string().into()).collect();
        let mut json = Json::object().with("id", self.id.as_str()).with("host", self.host.as_str());
        json = json.with("addresses", addresses).with("port", u64::from(self.port));
        for (name, value) in [("endpoint", &self.endpoint()), ("challenge", &self.challenge), ("hub", &self.api())] {
            if let Some(value) = value {
                json.set(name, value.as_str());
            }
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(txt: &[(&str, &'static str)]) -> Option<Device> {
        let addresses = ["fe80::1", "10.0.0.5", "10.0.0.5"].map(|text| text.parse().unwrap());
        let text = |name: &str| txt.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        Device::of("box.local.", addresses.into_iter(), 22, text)
    }

    fn lines(txt: &[(&str, &'static str)]) -> String {
        let lines = device(txt).unwrap().lines();
        lines.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    #[test]
    fn a_device_that_nobody_owns_is_shown_with_how_to_claim_it() {
        assert_eq!(
            lines(&[("device-id", "59ef"), ("challenge", "merely-racer"), ("pantahub", "api.example.com:443")]),
            "ID: 59ef (unclaimed)\nHost: box.local\nIPv4: 10.0.0.5\nIPv6: fe80::1\nPort: 22\n\
             Endpoint: http://10.0.0.5:12368\n\
             Claim Cmd: pvr claim -c merely-racer https://api.example.com:443/devices/59ef\n"
        );
    }

    #[test]
    fn a_device_with_an_owner_is_shown_with_its_trail() {
        let shown = lines(&[("device-id", "59ef"), ("challenge", ""), ("pantahub", "http://h:12365/")]);
        assert!(
            shown.contains("59ef (owned)") && shown.ends_with("PVR Clone: http://h:12365/trails/59ef\n"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_no_device_is_not_shown_and_what_one_says_cannot_draw_on_a_terminal() {
        assert_eq!(device(&[("challenge", "x")]), None);
        assert_eq!(device(&[("device-id", "")]), None);
        assert_eq!(device(&[("device-id", "a\u{1b}[2Jb\n")]).unwrap().id, "a [2Jb");
    }
}
