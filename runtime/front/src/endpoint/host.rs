//! By which names the endpoint may be called.
//!
//! A web page can make a browser ask any address under a name of its own (DNS rebinding), and then the request looks like
//! one of that page's origin. So only names are taken that no stranger can point at this device: an address itself,
//! `localhost`, and names of the link (`*.local`), which nobody outside of it answers.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name of a host in bytes.
const NAME_MAX: usize = 253;

/// Whether this value of a `Host` field may name this device. If so, it is safe inside a URL as it stands.
#[must_use]
pub fn may_name_us(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    port.is_none_or(is_port) && (name.parse::<Ipv4Addr>().is_ok() || is_name_of_the_link(name))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_name_of_the_link(name: &str) -> bool {
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let mut labels = name.rsplit('.');
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= NAME_MAX
        && labels.next().is_some_and(|last| last.eq_ignore_ascii_case("local"))
        && labels.next().is_some_and(is_label)
        && labels.all(is_label)
}

#[cfg(test)]
mod tests {
    use super::may_name_us;

    #[test]
    fn addresses_and_names_of_the_link_are_taken() {
        for host in [
            "192.168.1.7",
            "192.168.1.7:12368",
            "[fe80::1]",
            "[::1]:12368",
            "localhost",
            "LocalHost:12368",
            "device.local",
            "my-device.local:80",
        ] {
            assert!(may_name_us(host), "{host}");
        }
    }

    #[test]
    fn names_that_a_stranger_can_point_here_are_not() {
        for host in [
            "",
            "evil.example",
            "evil.example:12368",
            "local",
            ".local",
            "a..local",
            "device.local.evil.example",
            "192.168.1.7.evil.example",
            "192.168.1",
            "3232235783",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "::1",
            "192.168.1.7:",
            "192.168.1.7:+80",
            "192.168.1.7:99999",
            "192.168.1.7@evil.example",
            "device.local/x",
            "a\".local",
        ] {
            assert!(!may_name_us(host), "{host}");
        }
    }
}
