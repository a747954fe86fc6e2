//! The developer's key: made on first use, kept for its owner alone.
//!
//! ```text
//!   <config>/pvs/key.default.pem       P-256, PKCS#8, 0600; no passphrase
//!   <config>/pvs/pub.default.pem       its public half: what a device must trust
//!   <config>/pvs/x5c.default.pem       optional: a chain of certificates for it, the signer's first
//!   <config>/pvs/cacerts.default.pem   optional: authorities that `sig ls` trusts
//! ```

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use formats::json::Json;
use formats::object::ObjectId;
use formats::state::Revision;
use formats::trust::{SignError, Signer, Trust};
use ring::rand::SystemRandom;

use crate::error::{Context as _, Error, Result};
use crate::repo::durable::{self, create, sync_directory, temporary_in};

/// A key that can sign, and the file it came from.
#[derive(Debug)]
pub struct DeveloperKey {
    signer: Signer,
    path: PathBuf,
    random: SystemRandom,
}

/// The files of a configuration directory.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    directory: PathBuf,
}

impl KeyFiles {
    /// Those of a configuration directory, which need not exist.
    #[must_use]
    pub fn of(config: &Path) -> Self {
        Self { directory: config.join("pvs") }
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("key.default.pem")
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.directory.join("pub.default.pem")
    }

    /// The chain of certificates for it.
    #[must_use]
    pub fn chain(&self) -> PathBuf {
        self.directory.join("x5c.default.pem")
    }

    /// The authorities that are trusted here.
    #[must_use]
    pub fn authorities(&self) -> PathBuf {
        self.directory.join("cacerts.default.pem")
    }

    /// The key, which is made if there is none; and whether it was.
    ///
    /// # Errors
    /// It cannot be made or read, or others than its owner can read it.
    pub fn open_or_make(&self) -> Result<(DeveloperKey, bool)> {
        let made = !self.key().exists() && self.make()?;
        let chain = self.chain();
        let key = DeveloperKey::open(&self.key(), chain.exists().then_some(chain.as_path()))?;
        // The public half is derived, so a lost one is simply written again.
        if made || !self.public().exists() {
            durable::replace(&self.public(), key.public_key().as_bytes(), 0o644)?;
        }
        Ok((key, made))
    }

    /// Makes a key. `false` if somebody else has just done so: then theirs counts.
    fn make(&self) -> Result<bool> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).context("create", &self.directory)?;
        let text = Signer::generate(&SystemRandom::new()).map_err(|error| Error::user(error.to_string()))?;
        let temporary = temporary_in(&self.directory);
        let file = create(&temporary, 0o600)?;
        let done = (|| {
            std::io::Write::write_all(&mut &file, text.as_bytes()).context("write", &temporary)?;
            file.sync_all().context("write", &temporary)?;
            // A link and not a rename: it never replaces a key.
            match fs::hard_link(&temporary, self.key()) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                linked => linked.context("create", &self.key()).map(|()| true),
            }
        })();
        let _ = fs::remove_file(&temporary);
        sync_directory(&self.directory)?;
        done
    }
}

impl DeveloperKey {
    /// Reads a key and the chain of certificates that goes with it.
    ///
    /// # Errors
    /// A file cannot be read or used, or others than its owner can read the key.
    pub fn open(path: &Path, chain: Option<&Path>) -> Result<Self> {
        let random = SystemRandom::new();
        let mode = fs::metadata(path).context("read the key", path)?.mode();
        if mode & 0o077 != 0 {
            return Err(Error::user(format!(
                "the key {} can be used by others (mode {:o})",
                path.display(),
                mode & 0o777
            ))
            .hint(format!("chmod 600 {}", path.display())));
        }
        let key = fs::read(path).context("read the key", path)?;
        let certificates = chain.map(|chain| fs::read(chain).context("read", chain)).transpose()?;
        let signer = Signer::from_pem(&key, certificates.as_deref(), &random).map_err(|error| {
            let file = if error == SignError::Chain { chain.unwrap_or(path) } else { path };
            Error::user(format!("{}: {error}", file.display()))
        })?;
        Ok(Self { signer, path: path.to_owned(), random })
    }

    /// The file it came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public half in PEM.
    #[must_use]
    pub fn public_key(&self) -> String {
        self.signer.public_key()
    }

    /// The SHA-256 of its public half as it stands in certificates (SPKI, DER).
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let pem = self.public_key();
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        // It was written here, so it is base64.
        ObjectId::of(&Base64::decode_vec(&body).unwrap_or_default()).to_string()
    }

    /// A store that trusts this key and nothing else.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let mut trust = Trust::new();
        // It signs, so it can verify; an empty store would only say that nothing is ours.
        let _ = trust.add_public_keys(self.public_key().as_bytes());
        trust
    }

    /// Signs what the patterns select: the document for `_sigs/NAME.json`. None if they select nothing.
    ///
    /// # Errors
    /// A pattern that devices and tools read differently, or that cannot be read at all.
    pub fn sign(&self, revision: &Revision, include: &[&str], exclude: &[&str]) -> Result<Option<Json>> {
        let text = match self.signer.sign(revision, include, exclude, &self.random) {
            Err(SignError::Nothing) => return Ok(None),
            Err(error @ SignError::Random) => return Err(Error::internal(error.to_string())),
            signed => signed.map_err(|error| Error::user(error.to_string()))?,
        };
        let value = formats::json::parse(text.as_bytes(), formats::json::Limits::DOCUMENT);
        Ok(Some(value.map_err(|error| Error::internal(format!("our own signature: {error}")))?.to_json()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(&scratch.path().join("pvr"));
        let (first, made) = files.open_or_make().unwrap();
        assert!(made);
        assert_eq!(fs::metadata(files.key()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(files.public()).unwrap().mode() & 0o777, 0o644);
        let (again, made) = files.open_or_make().unwrap();
        assert!(!made);
        assert_eq!(first.public_key(), again.public_key());
        assert_eq!(fs::read_to_string(files.public()).unwrap(), first.public_key());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(scratch.path());
        files.open_or_make().unwrap();
        fs::set_permissions(files.key(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(files.open_or_make().unwrap_err().hint.unwrap().starts_with("chmod 600"));
    }

    #[test]
    fn two_who_make_a_key_at_once_end_with_the_same_one() {
        let scratch = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(scratch.path());
        let keys: Vec<String> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| files.open_or_make().unwrap().0.public_key())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
