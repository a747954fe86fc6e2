//! What `pvr` signs, devices take; what was changed afterwards, they refuse.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::bench::{Bench, golden, golden_key, strict};
use formats::state::Revision;
use formats::trust::Trust;
use formats::verify::{KeyError, VerifyError};

#[test]
fn a_commit_is_signed_with_a_key_that_is_made_on_first_use_and_said_loudly() {
    let bench = Bench::new();
    bench.write("README.md", "# x");
    bench.ok(&["add"]);
    let said = bench.ok(&["commit"]).stderr;
    let key = bench.top().join(".config/pvr/pvs/key.default.pem");
    assert!(said.contains("pvr has made a signing key for you") && said.contains(key.to_str().unwrap()), "{said}");
    assert_eq!(key.metadata().unwrap().mode() & 0o777, 0o600);
    bench.strict().unwrap();
    bench.write("README.md", "# y");
    let said = bench.ok(&["commit"]).stderr;
    assert!(!said.contains("made a signing key"), "{said}");
    bench.strict().unwrap();
}

#[test]
fn the_directory_of_keys_is_where_the_user_says() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", "2");
    for (variable, place) in [("XDG_CONFIG_HOME", "xdg/pvr"), ("PVR_CONFIG_DIR", "own")] {
        let value = bench.top().join(place.trim_end_matches("/pvr"));
        let done = bench.command(&["sig", "key"]).env(variable, value).output().unwrap();
        let public = fs::read(bench.top().join(place).join("pvs/pub.default.pem")).unwrap();
        assert_eq!(done.stdout, public);
    }
}

#[test]
fn a_state_that_was_changed_after_it_was_signed_is_refused() {
    let bench = Bench::with_web();
    bench.strict().unwrap();
    let text = bench.read(".pvr/json");
    let changed = text.replace(r#""group":"app""#, r#""group":"root""#);
    assert_ne!(text, changed);
    bench.write(".pvr/json", changed);
    let Err(VerifyError::Signature { key, why: KeyError::Mismatch }) = bench.strict() else { panic!() };
    assert_eq!(key, "_sigs/web.json");
    let ran = bench.run(&["sig", "ls"]);
    assert!(ran.code == 13 && ran.stdout.is_empty() && ran.stderr.contains("_sigs/web.json"), "{}", ran.stderr);
    let ran = bench.run(&["sig", "verify"]);
    assert_eq!(ran.code, 13);
    assert!(ran.stdout.contains("_sigs/web.json: does not count: ") && ran.stdout.contains("_root.json: counts: "));
    assert!(ran.stderr.contains("1 of 2 signatures do not count: _sigs/web.json"), "{}", ran.stderr);
    bench.write(".pvr/json", text.replace(r#","web/run.json""#, r#","unsigned.json":{},"web/run.json""#));
    assert!(matches!(bench.strict(), Err(VerifyError::Uncovered { .. })));
}

#[test]
fn each_kind_of_key_signs_what_its_certificate_verifies() {
    for (name, chain) in [("es256", "es256"), ("es384", "es384"), ("rs256", "rs256")] {
        let bench = Bench::with_web();
        let (key, other) = (golden_key(&bench, name), bench.top().join("chain.pem"));
        let mut pem = fs::read(golden(&format!("keys/{chain}.crt.pem"))).unwrap();
        if name == "es384" {
            pem.extend(fs::read(golden("keys/middle.crt.pem")).unwrap());
        }
        fs::write(&other, pem).unwrap();
        // Those of the developer's key are somebody else's now, and stay; so they go first.
        fs::remove_dir_all(bench.path("_sigs")).unwrap();
        for image in ["first", "second"] {
            bench.write("web/root.squashfs", image);
            let mut commit = bench.command(&["commit", "-m", name]);
            let done = commit.env("PVR_SIG_KEY", &key).env("PVR_X5C_PATH", &other).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let mut trust = Trust::new();
        trust.add_certificates(&fs::read(golden("keys/ca.crt.pem")).unwrap()).unwrap();
        strict(&bench.revision(), &trust).unwrap();
        let ca = golden("keys/ca.crt.pem");
        let listed = bench.ok(&["sig", "--cacerts", ca.to_str().unwrap(), "ls"]).stdout;
        assert!(listed.contains(r#""protected": ["#), "{listed}");
        let stranger = golden("keys/stranger.crt.pem");
        let ran = bench.run(&["sig", "ls", "--cacerts", stranger.to_str().unwrap()]);
        assert!(ran.code == 13 && ran.stderr.contains("no trusted authority issued it"), "{}", ran.stderr);
    }
}

#[test]
fn a_golden_state_that_others_signed_stays_signed_when_something_else_is_added() {
    let bench = Bench::with_golden("es256.json");
    bench.ok(&["reset"]);
    let before = Revision::parse(&fs::read(golden("es256.json")).unwrap()).unwrap();
    bench.write("_config/files/new", "1");
    bench.ok(&["add"]);
    // Under the pattern of somebody else's signature.
    let books = bench.books();
    bench.refused(&["commit"], &["_sigs/files.json: made with another key", "hint: ", "--no-sign"]);
    assert_eq!(bench.books(), books);
    fs::remove_file(bench.path("_config/files/new")).unwrap();
    bench.write("extra/x", "1");
    bench.ok(&["add"]);
    let said = bench.ok(&["commit"]).stderr;
    assert!(said.contains("Signing _sigs/extra.json\n") && said.matches("Signing").count() == 1, "{said}");
    let after = bench.revision();
    for key in ["_sigs/bsp.json", "_sigs/web.json", "_sigs/files.json"] {
        assert_eq!(before.get(key).unwrap().raw, after.get(key).unwrap().raw);
    }
    let mut trust = Trust::new();
    for key in [golden("keys/es256.pub.pem"), bench.top().join(".config/pvr/pvs/pub.default.pem")] {
        trust.add_public_keys(&fs::read(key).unwrap()).unwrap();
    }
    strict(&after, &trust).unwrap();
}

#[test]
fn a_signature_in_the_dialect_of_tools_counts_as_one() {
    let bench = Bench::with_golden("doublestar.json");
    bench.ok(&["reset"]);
    assert!(bench.ok(&["commit"]).stderr.ends_with("nothing to commit\n"));
    bench.write("web/root.squashfs", "2");
    bench.refused(&["commit"], &["made with another key"]);
}

#[test]
fn a_signature_without_a_certificate_is_known_by_the_key_that_it_names() {
    for name in ["es256", "es384", "rs256"] {
        let bench = Bench::new();
        let key = golden_key(&bench, name);
        bench.write("theirs/x", "1");
        bench.write("ours/x", "1");
        bench.ok(&["add"]);
        bench.ok(&["commit", "--no-sign"]);
        bench.ok(&["sig", "--key", &key, "add", "--part", "theirs"]);
        let said = bench.ok(&["commit"]).stderr;
        assert!(said.contains("Signing _sigs/ours.json\n") && !said.contains("Signing _sigs/theirs.json"), "{said}");
        bench.write("theirs/x", "2");
        bench.refused(&["commit"], &["_sigs/theirs.json: made with another key"]);
        let said = bench.ok(&["commit", "--key", &key]).stderr;
        assert!(said.contains("Signing _sigs/theirs.json\n") && !said.contains("Signing _sigs/ours.json"), "{said}");
        let mut trust = Trust::new();
        for key in [golden(&format!("keys/{name}.pub.pem")), bench.top().join(".config/pvr/pvs/pub.default.pem")] {
            trust.add_public_keys(&fs::read(key).unwrap()).unwrap();
        }
        strict(&bench.revision(), &trust).unwrap();
    }
}

#[test]
fn the_owner_of_a_golden_state_signs_its_changes_again() {
    let bench = Bench::with_golden("keys-only.json");
    bench.ok(&["reset"]);
    let key = golden_key(&bench, "es256");
    bench.write("web/root.squashfs", "changed");
    // Its signatures name no key, so only their patterns could tell; with the key at hand they are known.
    bench.ok(&["commit", "--no-sign"]);
    let said = bench.ok(&["sig", "--key", &key, "up", "web"]).stderr;
    assert!(said.starts_with("Signing _sigs/web.json\n"), "{said}");
    bench.ok(&["commit", "--key", &key]);
    let mut trust = Trust::new();
    trust.add_public_keys(&fs::read(golden("keys/es256.pub.pem")).unwrap()).unwrap();
    strict(&bench.revision(), &trust).unwrap();
}

#[test]
fn without_signing_a_commit_says_what_devices_will_refuse() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", "2");
    let said = bench.ok(&["commit", "--no-sign"]).stderr;
    assert!(said.contains("warning: _sigs/web.json: does not fit this state"), "{said}");
    bench.ok(&["commit"]);
    bench.strict().unwrap();
    fs::remove_dir_all(bench.path("_sigs")).unwrap();
    let said = bench.ok(&["commit", "--no-sign"]).stderr;
    assert!(said.contains("warning: 5 paths are not signed (#spec, …)"), "{said}");
}

#[test]
fn the_signature_of_a_removed_container_goes_with_it() {
    let bench = Bench::with_web();
    bench.write("files/x", "1");
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    fs::remove_dir_all(bench.path("web")).unwrap();
    let said = bench.ok(&["commit"]).stderr;
    assert!(said.contains("Removing _sigs/web.json, which has nothing left to sign\n"), "{said}");
    assert!(!bench.path("_sigs/web.json").exists());
    assert_eq!(bench.ok(&["status"]).stdout, "");
    bench.strict().unwrap();
}

#[test]
fn signatures_with_patterns_of_their_own() {
    let bench = Bench::with_web();
    bench.ok(&["sig", "add", "--part", "web", "--noconfig", "--output", "-"]);
    let other = bench.run(&["sig", "add", "--raw", "all", "-i", "**"]);
    assert!(other.code == 1 && other.stderr.contains("would not agree"), "{}", other.stderr);
    bench.refused(&["sig", "add", "--part", "none"], &["selects nothing of the committed state"]);
    bench.refused(&["sig", "add", "--raw", "../x", "-i", "web/**"], &["the name \"../x\""]);
    bench.ok(&["sig", "add", "--raw", "image", "-i", "web/root.squashfs"]);
    assert_eq!(bench.ok(&["status"]).stdout, "A _sigs/image.json\n");
    bench.ok(&["commit"]);
    bench.write("web/root.squashfs", "2");
    let said = bench.ok(&["commit"]).stderr;
    assert!(said.contains("Signing _sigs/image.json\nSigning _sigs/web.json\n"), "{said}");
    bench.strict().unwrap();
    assert_eq!(bench.run(&["sig", "add"]).code, 2);
    assert_eq!(bench.run(&["sig", "add", "--part", "a", "--raw", "b"]).code, 2);
}

#[test]
fn a_listing_has_the_form_that_scripts_read() {
    let bench = Bench::new();
    assert_eq!(bench.ok(&["sig", "ls"]).stdout, "{}\n");
    let bench = Bench::with_web();
    snapbox::assert_data_eq!(
        bench.ok(&["sig", "ls"]).stdout,
        snapbox::str![[r##"
{
    "protected": [
        "#spec",
        "web/lxc.container.conf",
        "web/root.squashfs",
        "web/run.json"
    ],
    "excluded": [
        "_sigs/web.json",
        "web/src.json"
    ],
    "notseen": [
        "_sigs/_root.json"
    ]
}

"##]]
    );
    let listed = bench.ok(&["sig", "ls", "web", "-s"]).stdout;
    assert_eq!(listed.matches(r#""signature": "#).count(), 1, "{listed}");
    bench.refused(&["sig", "ls", "none"], &["no signature _sigs/none.json"]);
}

/// A certificate of a real openssl for a key, good for a month from today on.
fn certificate(bench: &Bench, key: &str) -> String {
    let path = bench.top().join("signer.pem").to_str().unwrap().to_owned();
    let ran = std::process::Command::new("openssl")
        .args(["req", "-x509", "-new", "-key", key, "-out", &path, "-subj", "/O=Example/CN=developer 7"])
        .args(["-days", "30", "-addext", "extendedKeyUsage=codeSigning", "-addext", "basicConstraints=CA:FALSE"])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    path
}

#[test]
fn each_signature_is_told_with_its_signer_and_what_is_unsigned() {
    let bench = Bench::with_web();
    let key = golden_key(&bench, "es256");
    let chain = certificate(&bench, &key);
    bench.ok(&["sig", "rm", "web"]);
    bench.ok(&["commit", "--key", &key, "--x5c", &chain]);
    let ran = bench.run(&["sig", "verify"]);
    assert_eq!(ran.code, 13, "nobody here trusts that key yet");
    assert!(ran.stdout.contains("_sigs/_root.json: counts: protects 1 path; ES256, a key without"), "{}", ran.stdout);
    let public = golden("keys/es256.pub.pem");
    let ran = bench.ok(&["sig", "-p", public.to_str().unwrap(), "verify", "web"]);
    assert!(ran.stdout.starts_with("_sigs/web.json: counts: protects 3 paths; ES256, "), "{}", ran.stdout);
    assert!(ran.stdout.contains("CN=developer 7") && ran.stdout.contains("O=Example"), "{}", ran.stdout);
    let json = bench.ok(&["sig", "--pubkey", public.to_str().unwrap(), "verify", "web", "--json"]).stdout;
    assert!(json.contains("\"counts\": true") && json.contains("\"unsigned\": []"), "{json}");
    bench.ok(&["sig", "rm", "web"]);
    bench.ok(&["commit", "--no-sign"]);
    let ran = bench.ok(&["sig", "verify"]);
    assert!(ran.stdout.ends_with("web/lxc.container.conf: not signed\nweb/root.squashfs: not signed\nweb/run.json: not signed\nweb/src.json: not signed\n"), "{}", ran.stdout);
    bench.refused(&["sig", "rm", "web"], &["no signature _sigs/web.json"]);
    bench.refused(&["sig", "rm", "../web/run.json"], &["../web/run.json"]);
}

#[test]
fn an_expired_certificate_is_told_by_name_and_date() {
    let bench = Bench::with_web();
    let key = golden_key(&bench, "es256");
    let chain = golden("keys/expired.crt.pem").to_str().unwrap().to_owned();
    bench.ok(&["sig", "rm", "web"]);
    bench.ok(&["commit", "--key", &key, "--x5c", &chain]);
    let ran = bench.run(&["sig", "-c", &chain, "ls", "web"]);
    assert_eq!(ran.code, 13, "{}", ran.stderr);
    let told = "_sigs/web.json: the certificate of CN=Golden expired expired on 2021-02-03";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}

#[test]
fn a_payload_stands_in_a_signature_if_it_is_asked_for_and_it_still_counts() {
    let bench = Bench::with_web();
    let ran = bench.ok(&["sig", "--with-payload", "--output", "-", "add", "--part", "web"]);
    let document = formats::json::parse(ran.stdout.as_bytes(), formats::json::Limits::DOCUMENT).unwrap().to_json();
    let member = |name: &str| document.get(name).unwrap().as_str().unwrap().to_owned();
    use base64ct::Encoding as _;
    let payload = base64ct::Base64UrlUnpadded::decode_vec(&member("payload")).unwrap();
    let payload = String::from_utf8(payload).unwrap();
    assert!(
        payload.starts_with("{\"web/lxc.container.conf\":\"") && payload.contains("\"web/run.json\":{"),
        "{payload}"
    );
    bench.ok(&["sig", "add", "--part", "web", "--with-payload"]);
    bench.ok(&["commit"]);
    bench.strict().unwrap();
    assert!(bench.read("_sigs/web.json").contains("\"payload\""));
    let ran = bench.command(&["sig", "ls"]).env("PVS_CERTS_URL", "http://x").output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
}
