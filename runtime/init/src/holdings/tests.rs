//! What is admitted of whom: two keys, of which one signs apps only.

use std::fs;
use std::path::Path;

use formats::trust::Signer;
use ring::rand::SystemRandom;
use tempfile::TempDir;

use super::*;

/// Lines of a confined container, with a root of its own.
const CONFINED: &str = "lxc.cgroup.devices.deny = a\nlxc.cap.keep = chown\nlxc.no_new_privs = 1\n\
    lxc.seccomp.profile = seccomp.bpf\nlxc.namespace.keep = user net\nlxc.init.cmd = /init\n";

struct Bench {
    dir: TempDir,
    maker: Signer,
    shop: Signer,
}

impl Bench {
    fn new() -> Self {
        let signer = || {
            let key = Signer::generate(&SystemRandom::new()).unwrap();
            Signer::from_pem(key.as_bytes(), None, &SystemRandom::new()).unwrap()
        };
        let bench = Self { dir: TempDir::new().unwrap(), maker: signer(), shop: signer() };
        for dir in ["trust", "storage"] {
            fs::create_dir(bench.dir.path().join(dir)).unwrap();
        }
        bench.trusts("maker.pem", bench.maker.public_key().as_bytes());
        bench
    }

    fn trusts(&self, name: &str, text: &[u8]) {
        fs::write(self.dir.path().join("trust").join(name), text).unwrap();
    }

    fn holdings(&self) -> Result<Holdings, HoldError> {
        let dir = Dir::open(&self.dir.path().join("storage"))?;
        let (trust, ceiling) = trust(&self.dir.path().join("trust"))?;
        Ok(Holdings {
            objects: Objects::open(&dir)?,
            trails: Trails::open(&dir)?,
            metadata: MetadataStore::new(&dir)?,
            places: None,
            dir,
            trust,
            ceiling,
            policy: Policy { mode: Mode::Strict, boot_chain_checks_fit: false },
            settings: Settings::of("board=host\nline=demo", String::new()).unwrap(),
            assembling: assembly::Settings::default(),
        })
    }

    /// Takes in a device with one app, of which each signer signs what these patterns say.
    fn takes(&self, config: &str, maker: &[&str], shop: &[&str], roles: &str) -> Result<(), String> {
        let holdings = self.holdings().map_err(|error| error.to_string())?;
        let state = self.state(&holdings, config, b"hsqs", (maker, shop), roles);
        let admitted = holdings.admit(state.as_bytes()).map_err(|error| error.to_string())?;
        holdings.assemble(&admitted).map(drop).map_err(|error| error.to_string())
    }

    fn state(
        &self,
        holdings: &Holdings,
        config: &str,
        root: &[u8],
        (maker, shop): (&[&str], &[&str]),
        roles: &str,
    ) -> String {
        let filter: Vec<u8> = [6_u16.to_le_bytes(), [0; 2], [0; 2], 0x7fff_u16.to_le_bytes()].concat();
        let object = |bytes: &[u8]| {
            let id = ObjectId::of(bytes);
            holdings.objects.put(id, &mut &*bytes, 1 << 20).unwrap();
            id
        };
        let (config, filter, root) = (object(config.as_bytes()), object(&filter), object(root));
        let run = format!(
            r#"{{"name":"web","type":"lxc","config":"lxc.container.conf","group":"app","root-volume":"root.squashfs"{roles}}}"#
        );
        let members = format!(
            r##""#spec":"pantavisor-service-system@1","device.json":{{"compatible":["host/demo"]}},"web/lxc.container.conf":"{config}","web/root.squashfs":"{root}","web/run.json":{run},"web/seccomp.bpf":"{filter}""##
        );
        let bare = Revision::parse(format!("{{{members}}}").as_bytes()).unwrap();
        let mut signed = members;
        for (name, signer, patterns) in [("maker", &self.maker, maker), ("shop", &self.shop, shop)] {
            if !patterns.is_empty() {
                let document = signer.sign(&bare, patterns, &[], &SystemRandom::new()).unwrap();
                signed += &format!(",\"_sigs/{name}.json\":{document}");
            }
        }
        format!("{{{signed}}}")
    }
}

const DEVICE: &[&str] = &["#spec", "device.json"];
const APP: &[&str] = &["web/**"];

#[test]
fn a_signer_of_apps_signs_containers_up_to_the_ceiling_and_nothing_else() {
    let bench = Bench::new();
    let more = [CONFINED, "lxc.cap.keep = sys_admin\n"].concat();
    assert!(bench.takes(CONFINED, DEVICE, APP, "").unwrap_err().contains("_sigs/shop.json"), "it is a stranger yet");
    bench.trusts("shop.apps.pem", bench.shop.public_key().as_bytes());
    assert_eq!(bench.takes(CONFINED, DEVICE, APP, ""), Ok(()));
    let refused = bench.takes(&more, DEVICE, APP, "").unwrap_err();
    assert_eq!(refused, "web is signed by a signer of apps, who may not grant: the capability sys_admin");
    let refused = bench.takes(CONFINED, DEVICE, APP, r#","roles":["mgmt"]"#).unwrap_err();
    assert!(refused.ends_with("may not grant: manages the device"), "{refused}");
    // What the maker has signed whole is the maker's, whoever signs it too; and not if one file of it is another's.
    assert_eq!(bench.takes(&more, &["#spec", "device.json", "web/**"], APP, ""), Ok(()));
    let most = &["#spec", "device.json", "web/run.json", "web/lxc.container.conf", "web/seccomp.bpf"];
    assert!(bench.takes(&more, most, &["web/root.squashfs"], "").is_err());
    let refused = bench.takes(CONFINED, &["#spec", "web/**"], &["device.json"], "").unwrap_err();
    assert_eq!(refused, "device.json is signed by a signer of apps, who may sign containers only");
}

#[test]
fn the_ceiling_is_as_high_as_its_file_says_and_a_file_that_is_wrong_stops_everything() {
    let bench = Bench::new();
    let more = [CONFINED, "lxc.cap.keep = sys_time\n"].concat();
    bench.trusts("apps.conf", b"lxc.cap.keep = sys_time\n");
    bench.trusts("shop.apps.pem", bench.shop.public_key().as_bytes());
    assert_eq!(bench.takes(&more, DEVICE, APP, ""), Ok(()));
    let asks = r#","drivers":{"required":[],"optional":["wifi"],"manual":[]}"#;
    let refused = bench.takes(CONFINED, DEVICE, APP, asks).unwrap_err();
    assert!(refused.ends_with("may not grant: loads the driver wifi"), "{refused}");
    bench.trusts("apps.conf", b"run.drivers = wifi\n");
    assert_eq!(bench.takes(CONFINED, DEVICE, APP, asks), Ok(()));
    bench.trusts("apps.conf", b"lxc.cap.keep = time\n");
    let refused = bench.takes(CONFINED, DEVICE, APP, "").unwrap_err();
    assert!(refused.contains("apps.conf: line 1: lxc.cap.keep"), "{refused}");
}

#[test]
fn without_a_signer_of_apps_nothing_is_limited() {
    let bench = Bench::new();
    bench.trusts("shop.pem", bench.shop.public_key().as_bytes());
    // It would be an error if anybody read it.
    bench.trusts("apps.conf", b"nonsense");
    assert_eq!(bench.takes("lxc.init.cmd = /init\n", DEVICE, APP, ""), Ok(()));
    assert!(trust(Path::new("/nowhere")).is_err());
}

#[test]
fn an_image_that_is_none_is_refused_when_it_arrives_and_leaves_no_trail() {
    let bench = Bench::new();
    let holdings = bench.holdings().unwrap();
    let id = RevisionId::parse("locals/one").unwrap();
    let all: &[&str] = &["#spec", "device.json", "web/**"];
    let receive = |root: &[u8]| {
        let state = bench.state(&holdings, CONFINED, root, (all, &[]), "");
        holdings.receive(&id, state.as_bytes(), None).map(drop)
    };
    for root in [&b"hsq"[..], b"", &[0; 4096]] {
        let refused = receive(root).unwrap_err();
        assert_eq!(refused.to_string(), "web/root.squashfs has no squashfs file system in it; make the image anew");
        assert_eq!(refused.refused().status, Status::Unprocessable);
        assert!(holdings.trails.load(&id).is_err());
    }
    receive(b"hsqs and so on").unwrap();
    assert!(holdings.trails.load(&id).is_ok());
}
