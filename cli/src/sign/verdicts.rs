//! `pvr sig verify`: each signature of the committed state, who made it, and whether it counts; and what none of them protects.

use std::time::Duration;

use formats::json::Json;
use formats::signature::Selected;
use formats::state::Revision;
use formats::trust::TrustAt;

use super::auto;
use super::certificate::Certificate;
use super::list::{chosen, reason, selected};
use crate::error::Result;
use crate::repo::Repo;

/// What there is to say of the signatures of a state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Verdicts {
    /// A row for each that was asked about.
    pub rows: Vec<Row>,
    /// What a strict device would find unsigned, if all of them count.
    pub unsigned: Vec<String>,
}

/// What there is to say of one.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The key of the state that holds it.
    pub key: String,
    /// `ES256`
    pub algorithm: &'static str,
    /// The certificate of the signer, if it names one.
    pub signer: Option<Certificate>,
    /// How many keys it protects; why it does not count.
    pub verdict: std::result::Result<usize, String>,
}

/// Looks at the signatures that are named, or at all.
///
/// # Errors
/// One that is not there or cannot be read.
pub fn verdicts(repo: &Repo, names: &[String], trust: &TrustAt<'_>, now: Duration) -> Result<Verdicts> {
    let revision = repo.committed()?.revision()?;
    let row = |signature: &formats::signature::Signature| {
        let verdict = selected(&revision, signature, trust).map_err(|why| reason(signature, &why, now));
        Row {
            key: signature.key.clone(),
            algorithm: signature.algorithm.as_str(),
            signer: signature.chain.first().and_then(|der| Certificate::parse(der)),
            verdict: verdict.map(|rows| rows.iter().filter(|one| **one == Selected::Included).count()),
        }
    };
    let rows = chosen(&revision, names)?.iter().map(row).collect();
    Ok(Verdicts { rows, unsigned: unsigned(&revision)? })
}

/// The keys that no signature of a revision covers, as a strict device counts, whoever made them.
fn unsigned(revision: &Revision) -> Result<Vec<String>> {
    Ok(auto::unsigned(revision)?.into_iter().map(str::to_owned).collect())
}

impl Verdicts {
    /// Whether every signature counts.
    #[must_use]
    pub fn all_count(&self) -> bool {
        self.rows.iter().all(|row| row.verdict.is_ok())
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let row = |row: &Row| {
            let mut json = Json::object().with("signature", row.key.as_str()).with("algorithm", row.algorithm);
            if let Some(signer) = &row.signer {
                json.set("signer", signer.subject.as_str());
                json.set("issuer", signer.issuer.as_str());
                json.set("until", formats::date::date(signer.until.as_secs()));
            }
            match &row.verdict {
                Ok(count) => json.with("counts", true).with("protects", *count as u64),
                Err(why) => json.with("counts", false).with("why", why.as_str()),
            }
        };
        let rows: Vec<Json> = self.rows.iter().map(row).collect();
        Json::object().with("signatures", rows).with("unsigned", self.unsigned.clone())
    }
}
