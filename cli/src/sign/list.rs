//! `pvr sig ls`: what the signatures of the committed state protect, by keys that are trusted here.

use std::time::Duration;

use formats::glob::Dialect;
use formats::json::Json;
use formats::signature::{Selected, Signature};
use formats::state::Revision;
use formats::trust::TrustAt;
use formats::verify::{Claim, KeyError, Verifier};

use super::certificate::Certificate;
use super::full;
use crate::error::{Error, ErrorKind, Result};
use crate::repo::Repo;

/// What is protected and what is not; every key of the state is in one list.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Listing {
    /// Signed.
    pub protected: Vec<String>,
    /// Named as not signed, and not signed by another.
    pub excluded: Vec<String>,
    /// Not mentioned.
    pub not_seen: Vec<String>,
    /// The documents of the signatures that were looked at.
    pub signatures: Vec<Json>,
}

/// Looks at the signatures that are named, or at all.
///
/// # Errors
/// One that is not there, cannot be read or does not count: then nothing is listed.
pub fn list(repo: &Repo, names: &[String], trust: &TrustAt<'_>, now: Duration) -> Result<Listing> {
    let state = repo.committed()?;
    let revision = state.revision()?;
    let all = chosen(&revision, names)?;
    let mut listing = Listing::default();
    let mut rows = vec![Selected::Untouched; revision.entries().count()];
    for signature in &all {
        let selection = selected(&revision, signature, trust).map_err(|why| refused(signature, &why, now))?;
        for (row, selected) in rows.iter_mut().zip(selection) {
            if *row != Selected::Included && selected != Selected::Untouched {
                *row = selected;
            }
        }
        listing.signatures.extend(state.get(&signature.key).cloned());
    }
    for (entry, row) in revision.entries().zip(rows) {
        let list = match row {
            Selected::Included => &mut listing.protected,
            Selected::Excluded => &mut listing.excluded,
            Selected::Untouched => &mut listing.not_seen,
        };
        list.push(entry.key.into());
    }
    Ok(listing)
}

/// The signatures of a revision that are named, or all.
pub(super) fn chosen(revision: &Revision, names: &[String]) -> Result<Vec<Signature>> {
    let mut all = Signature::all(revision).map_err(|error| Error::user(error.to_string()))?;
    let wanted: Vec<String> = names.iter().map(|name| full(name)).collect();
    if let Some(missing) = wanted.iter().find(|name| !all.iter().any(|one| one.key == **name)) {
        return Err(Error::user(format!("the committed state has no signature {missing}"))
            .hint("`pvr sig ls` without a name looks at all of them"));
    }
    all.retain(|one| wanted.is_empty() || wanted.contains(&one.key));
    Ok(all)
}

/// What a signature selects in the dialect in which it counts.
pub(super) fn selected(
    revision: &Revision,
    signature: &Signature,
    verifier: &impl Verifier,
) -> std::result::Result<Vec<Selected>, KeyError> {
    let attempt = |dialect| {
        let selection = signature.select(revision, dialect);
        let input = signature.input(revision, &selection);
        let (algorithm, chain) = (signature.algorithm, signature.chain.as_slice());
        verifier.check(&Claim { algorithm, chain, input: &input, signature: &signature.bytes }).map(|()| selection.0)
    };
    attempt(Dialect::Device).or_else(|why| attempt(Dialect::Tool).map_err(|_| why))
}

/// Why a signature does not count, in words. The dates of a certificate are told with its name.
pub(super) fn reason(signature: &Signature, why: &KeyError, now: Duration) -> String {
    let chain = signature.chain.iter().filter_map(|der| Certificate::parse(der));
    let untimely = || chain.filter_map(|certificate| certificate.untimely(now)).next();
    match why {
        KeyError::Chain(_) => untimely().unwrap_or_else(|| why.to_string()),
        why => why.to_string(),
    }
}

fn refused(signature: &Signature, why: &KeyError, now: Duration) -> Error {
    let hint = match why {
        KeyError::Mismatch => {
            "if it is yours: `pvr commit` makes it again. If not: give its signer's --pubkey or --cacerts"
        }
        KeyError::NoKey | KeyError::Chain(_) => "give the authority with --cacerts, or the signer's key with --pubkey",
        KeyError::Algorithm => "have it signed again",
    };
    let message = format!("{}: {}", signature.key, reason(signature, why, now));
    Error { kind: ErrorKind::Signature, message, hint: Some(hint.into()) }
}

impl Listing {
    /// The listing as other tools print it: `{}` if there is no signature at all.
    #[must_use]
    pub fn to_json(&self, with_signatures: bool) -> Json {
        if self.signatures.is_empty() {
            return Json::object();
        }
        let mut json = Json::object()
            .with("protected", self.protected.clone())
            .with("excluded", self.excluded.clone())
            .with("notseen", self.not_seen.clone());
        if with_signatures {
            let part = |document: &Json, name| document.get(name).cloned().unwrap_or(Json::Null);
            let signature = |document: &Json| {
                Json::object()
                    .with("protected", part(document, "protected"))
                    .with("signature", part(document, "signature"))
            };
            json.set("sigs", self.signatures.iter().map(signature).collect::<Vec<Json>>());
        }
        json
    }
}
