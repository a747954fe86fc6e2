//! `<container>/services.json`: what a container offers to others, by name and socket.
//!
//! ```text
//!   {"#spec": "service-manifest-xconnect@1", "services": [{"name": "api", "type": "rest", "socket": "/run/api.sock"}]}
//! ```
//!
//! The older form is the list alone. A service without a name or without a socket (those of a message bus) is none that can be
//! required by its name, and is passed over; what else stands there is for whoever links services.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::document::{self, DocumentError, Item, Read};
use crate::path::ContainerName;
use crate::run_json::inside;

/// A service that others can require.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// By which others know it.
    pub name: String,
    /// Where it listens: a path in its container, without the first slash.
    pub socket: String,
}

/// What the container of this name offers.
///
/// # Errors
/// [`DocumentError`] names the member.
pub fn services(name: &ContainerName, text: &str) -> Result<Vec<Service>, DocumentError> {
    let document = format!("{name}/services.json");
    let value = document::parse(&document, text)?;
    let root = Item::root(&document, &value);
    let list = match root.value.as_object() {
        Some(_) => root.members()?.need("services")?.items()?,
        None => root.items()?,
    };
    Ok(list.iter().map(service).collect::<Read<Vec<_>>>()?.into_iter().flatten().collect())
}

fn service(item: &Item<'_, '_>) -> Read<Option<Service>> {
    let members = item.members()?;
    let (name, socket) = (members.c_text("name")?, members.read("socket", inside)?);
    Ok(name.zip(socket).map(|(name, socket)| Service { name, socket }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn read(text: &str) -> Result<Vec<Service>, String> {
        services(&ContainerName::parse("db").unwrap(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn services_are_read_in_both_forms_and_those_without_name_or_socket_are_none() {
        let list = r#"[{"name":"api","type":"rest","socket":"/run/api.sock","allow":["x"]},
            {"type":"dbus","bus":"system-bus","owns":"org.example.Foo"},{"name":"log","type":"unix","socket":"run/log"}]"#;
        let expected = [("api", "run/api.sock"), ("log", "run/log")];
        for text in [list.to_string(), format!(r##"{{"#spec":"service-manifest-xconnect@1","services":{list}}}"##)] {
            let found = read(&text).unwrap();
            let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.socket.as_str())).collect();
            assert_eq!(found, expected);
        }
        assert_eq!(read("[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_list_of_services_is_refused_with_its_place() {
        for (text, why) in [
            ("{}", "db/services.json: services: is missing"),
            (r#"{"services":{}}"#, "db/services.json: services: must be an array"),
            ("7", "db/services.json: must be an array"),
            ("[7]", "db/services.json: [0]: must be an object"),
            (r#"[{"name":"a","socket":"/run/../x"}]"#, "db/services.json: [0].socket: "),
            (r#"[{"name":7}]"#, "[0].name: must be a string"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let many = format!("[{}]", alloc::vec!["{}"; 257].join(","));
        assert!(read(&many).unwrap_err().contains("more than 256"));
    }
}
