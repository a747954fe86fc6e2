//! From a container's configuration to what the engine is told: the bytes are the configuration.

use container::Launch;
use container::cgroup::Limit;
use formats::state::Revision;
use init::assembly::{Assembly, AssemblyError, GroupSetting, Settings};

/// One container, as tools make it, whose configuration comes from elsewhere.
const STATE: &str = concat!(
    r##"{"#spec":"pantavisor-service-system@1","##,
    r#""web/lxc.container.conf":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
    r#""web/root.squashfs":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
    r#""web/run.json":{"name":"web","type":"lxc","config":"lxc.container.conf","root-volume":"root.squashfs","#,
    r#""volumes":[],"storage":{"lxc-overlay":{"persistence":"boot"},"docker--var-lib-web":{"persistence":"permanent"}}}}"#,
);

/// The revision with this configuration in it.
fn assembled(bytes: &[u8]) -> Result<Assembly, AssemblyError> {
    let revision = Revision::parse(STATE.as_bytes()).expect("the state is one");
    let read = |key: &str| (key == "web/lxc.container.conf").then(|| bytes.to_vec());
    Assembly::of(&revision, &Settings::default(), read)
}

/// Whether it is a configuration that can be followed.
#[must_use]
pub fn is_assembled(bytes: &[u8]) -> bool {
    assembled(bytes).is_ok()
}

pub(crate) fn assembly(bytes: &[u8]) {
    let assembly = match assembled(bytes) {
        Ok(assembly) => assembly,
        // Why not is for people, and is said without a panic.
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let program = assembly.get("web").and_then(|web| web.program.as_ref()).expect("it has a program");
    let launch = program.launch.encode().and_then(|bytes| Launch::decode(&bytes));
    assert_eq!(launch.as_ref(), Ok(&program.launch));
    let limits: Vec<&Limit> = program.settings.iter().filter_map(GroupSetting::limit).collect();
    let memory = limits.iter().find_map(|limit| if let Limit::Memory(bytes) = limit { *bytes } else { None });
    for (at, limit) in limits.iter().enumerate() {
        assert!(!limit.is_none() && limits[..at].iter().all(|other| !other.is_about_the_same(limit)), "{limits:?}");
        if let Limit::MemoryAndSwap(both) = limit {
            assert!(memory.is_some() && memory <= *both, "{limits:?}");
        }
    }
}
