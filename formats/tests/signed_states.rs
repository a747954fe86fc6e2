//! States that OpenSSL signed and Python wrote, read by us: see `tests/formats/golden/states/README.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use formats::compatible::{self, Fit, Unstated};
use formats::document::Warning;
use formats::group::{Goal, RestartPolicy};
use formats::json::{self, Limits};
use formats::lxc;
use formats::object::ObjectId;
use formats::resolve::resolve;
use formats::state::{Owner, Revision};
use formats::trust::{Signer, Trust};
use formats::verify::{Cover, KeyError, Mode, Policy, Untrusted, VerifyError, verify};
use ring::rand::SystemRandom;

const STATES: [&str; 8] = [
    "es256.json",
    "es256-der.json",
    "es384.json",
    "rs256.json",
    "keys-only.json",
    "noeku.json",
    "wrong-alg.json",
    "doublestar.json",
];

/// A moment at which all certificates of the directory are valid: the first day of 2060.
const NOW: Duration = Duration::from_secs(2_840_140_800);

const STRICT: Policy = Policy { mode: Mode::Strict, boot_chain_checks_fit: false };

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/formats/golden/states").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn state(name: &str) -> Revision {
    Revision::parse(&read(name)).unwrap()
}

fn authority(name: &str) -> Trust {
    let mut trust = Trust::new();
    trust.add_certificates(&read(&format!("keys/{name}.crt.pem"))).unwrap();
    trust
}

fn public_key(name: &str) -> Trust {
    let mut trust = Trust::new();
    trust.add_public_keys(&read(&format!("keys/{name}.pub.pem"))).unwrap();
    trust
}

fn strict_at(name: &str, trust: &Trust, now: Duration) -> Result<Vec<Cover>, VerifyError> {
    verify(Untrusted::new(state(name)), STRICT, &trust.at(now)).map(|verified| verified.coverage().rows.clone())
}

fn strict(name: &str, trust: &Trust) -> Result<Vec<Cover>, VerifyError> {
    strict_at(name, trust, NOW)
}

/// Why the first signature does not count.
fn refusal(result: Result<Vec<Cover>, VerifyError>) -> KeyError {
    match result {
        Err(VerifyError::Signature { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_canonical_form_is_byte_for_byte_that_of_another_writer() {
    for name in STATES {
        let bytes = read(name);
        let value = json::parse(&bytes, Limits::STATE).unwrap();
        assert_eq!(value.to_json().canonical().as_bytes(), bytes, "{name}");
        let again = json::parse(value.to_json().pretty().as_bytes(), Limits::STATE).unwrap().to_json().canonical();
        assert_eq!(again.as_bytes(), bytes, "{name}, by way of the indented form");
    }
}

#[test]
fn a_full_state_resolves_without_a_warning() {
    let revision = state("es256.json");
    let resolved = resolve(&revision).unwrap();
    assert_eq!(resolved.warnings, Vec::<Warning>::new());
    let found: Vec<_> = resolved
        .containers
        .iter()
        .map(|one| (one.manifest.name.as_str(), resolved.device.groups[one.group].name.as_str(), one.status_goal))
        .collect();
    assert_eq!(found, [("files", "data", Goal::Mounted), ("web", "app", Goal::Started)]);
    assert_eq!(resolved.containers[1].restart_policy, RestartPolicy::Container);
    assert_eq!(resolved.containers[1].auto_recovery.max_retries, 5);
    assert!(matches!(revision.owner("_config/web/etc/dev-disk\\x2dx.mount"), Owner::Container(_)));
}

#[test]
fn every_object_of_a_state_is_there_under_its_name() {
    let revision = state("es256.json");
    let mut count = 0;
    for (key, id) in revision.objects() {
        assert_eq!(ObjectId::of(&read(&format!("objects/{id}"))), id, "{key}");
        count += 1;
    }
    assert_eq!(count, 12);
}

#[test]
fn the_configuration_of_a_container_is_understood_line_by_line() {
    let revision = state("es256.json");
    let (_, id) = revision.objects().find(|(key, _)| *key == "web/lxc.container.conf").unwrap();
    let config = lxc::Config::parse(&read(&format!("objects/{id}"))).unwrap();
    let command = config.items().find_map(|item| match item {
        lxc::Item::InitCmd(command) => Some(command.words().to_vec()),
        _ => None,
    });
    assert_eq!(command.unwrap(), ["/docker-entrypoint.sh", "nginx", "-g", "daemon off;"]);
}

#[test]
fn signatures_of_every_algorithm_verify_against_the_authority() {
    for name in ["es256.json", "es256-der.json", "es384.json", "rs256.json"] {
        let rows = strict(name, &authority("ca")).unwrap();
        // Not signed are the three signatures, which nothing signs, and two `src.json`, which are excluded by name.
        assert_eq!(rows.iter().filter(|row| !matches!(row, Cover::Protected { .. })).count(), 5, "{name}");
    }
}

#[test]
fn signatures_verify_against_a_list_of_public_keys_without_any_authority() {
    for (name, key) in
        [("keys-only.json", "es256"), ("es256.json", "es256"), ("rs256.json", "rs256"), ("es384.json", "es384")]
    {
        assert!(strict(name, &public_key(key)).is_ok(), "{name}");
    }
    let mut several = public_key("rs256");
    several.add_public_keys(&read("keys/es256.pub.pem")).unwrap();
    assert!(strict("keys-only.json", &several).is_ok());
    assert_eq!(refusal(strict("keys-only.json", &public_key("stranger"))), KeyError::Mismatch);
    assert_eq!(refusal(strict("keys-only.json", &authority("ca"))), KeyError::NoKey);
}

#[test]
fn a_chain_that_does_not_end_in_the_store_is_refused() {
    assert_eq!(
        refusal(strict("es256.json", &authority("stranger"))),
        KeyError::Chain("no trusted authority issued it".into())
    );
}

#[test]
fn a_certificate_counts_only_within_its_dates_and_for_signing_code() {
    let late = Duration::from_secs(7_258_118_400);
    let expired = refusal(strict_at("es256.json", &authority("ca"), late));
    assert!(matches!(&expired, KeyError::Chain(why) if why.contains("expired")), "{expired}");
    let early = refusal(strict_at("es256.json", &authority("ca"), Duration::ZERO));
    assert!(matches!(&early, KeyError::Chain(why) if why.contains("valid from")), "{early}");
    let other = refusal(strict("noeku.json", &authority("ca")));
    assert_eq!(other, KeyError::Chain("it is not for signing code".into()));
}

#[test]
fn the_algorithm_must_go_with_the_key_whatever_the_header_says() {
    assert_eq!(refusal(strict("wrong-alg.json", &authority("ca"))), KeyError::Algorithm);
    assert_eq!(refusal(strict("wrong-alg.json", &public_key("rs256"))), KeyError::Algorithm);
}

#[test]
fn a_signature_over_two_stars_is_read_as_its_tool_meant_it() {
    let rows = strict("doublestar.json", &authority("ca")).unwrap();
    assert!(rows.iter().filter(|row| matches!(row, Cover::Protected { by: 0 })).count() > 15);
}

#[test]
fn no_changed_byte_of_what_is_signed_passes() {
    let good = read("es256.json");
    let (trust, signed) = (authority("ca"), state("es256.json"));
    let mut refused = 0;
    // Every 7th byte, one bit of it: in keys, ids, manifests, headers and signatures alike.
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let verified = Revision::parse(&bad).map(|revision| verify(Untrusted::new(revision), STRICT, &trust.at(NOW)));
        let Ok(Ok(verified)) = verified else {
            refused += 1;
            continue;
        };
        // What nobody signs may change: what devices ignore, and the names of the signatures.
        let same = |key: &str| verified.get(key).map(|entry| entry.raw) == signed.get(key).map(|entry| entry.raw);
        let changed: Vec<_> = verified.entries().map(|entry| entry.key).filter(|key| !same(key)).collect();
        let harmless = |key: &&str| key.ends_with("/src.json") || key.starts_with("_sigs/");
        assert!(changed.iter().all(harmless), "byte {at}: {changed:?}");
    }
    assert!(refused > good.len() / 7 * 9 / 10, "{refused}");
}

#[test]
fn what_we_sign_with_keys_of_openssl_verifies_in_every_form_of_the_key() {
    let random = SystemRandom::new();
    let plain = r##"{"#spec":"pantavisor-service-system@1","web/n.json":{"a":1}}"##;
    let revision = Revision::parse(plain.as_bytes()).unwrap();
    for (key, name) in [
        ("es256.key", "es256"),
        ("es256.sec1", "es256"),
        ("es384.key", "es384"),
        ("rs256.key", "rs256"),
        ("rs256.pkcs1", "rs256"),
    ] {
        // An intermediate authority issued the certificate of es384, so that one is tried by its key alone.
        let chain = (name != "es384").then(|| read(&format!("keys/{name}.crt.pem")));
        let signer = Signer::from_pem(&read(&format!("keys/{key}.pem")), chain.as_deref(), &random).unwrap();
        assert_eq!(signer.public_key().as_bytes(), read(&format!("keys/{name}.pub.pem")), "{key}");
        let document = signer.sign(&revision, &["#spec", "web/**"], &["web/src.json"], &random).unwrap();
        let text = plain.replace("}}", &format!("}},\"_sigs/web.json\":{document}}}"));
        let trust = if name == "es384" { public_key(name) } else { authority("ca") };
        let signed = Revision::parse(text.as_bytes()).unwrap();
        assert!(verify(Untrusted::new(signed), STRICT, &trust.at(NOW)).is_ok(), "{key}");
    }
}

#[test]
fn a_signed_state_names_the_product_it_fits() {
    let device = resolve(&state("es256.json")).unwrap().device;
    let fits = |product: &str| {
        let product = Fit::parse(product).unwrap();
        compatible::check(device.compatible.as_deref(), &product, Unstated::Refuse)
    };
    assert_eq!(fits("qemu-x86_64-grub/golden"), Ok(()));
    let error = fits("rpi4-tryboot/golden").unwrap_err().to_string();
    assert_eq!(error, "this device is rpi4-tryboot/golden, and the revision is made for qemu-x86_64-grub/golden");
}

#[test]
fn every_truncation_of_a_state_is_refused() {
    let good = read("keys-only.json");
    for end in 0..good.len() {
        assert!(Revision::parse(&good[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_state_beyond_the_limits_is_refused_with_the_limit() {
    let message = |bytes: &[u8]| Revision::parse(bytes).unwrap_err().to_string();
    assert!(message(&vec![b' '; 2 * 1024 * 1024 + 1]).contains("longer than 2097152 bytes"));
    assert!(message(&[b'['; 1000]).contains("deeper than 32"));
    let many: String = (0..16_385).map(|n| format!("\"{n}.json\":0,")).collect();
    let many = format!(r##"{{{many}"#spec":"pantavisor-service-system@1"}}"##);
    assert!(message(many.as_bytes()).contains("more than 16384 keys"));
}
