//! Licences as SPDX writes them. What it has no expression for is quoted under a name of its own.

use std::collections::BTreeMap;

use formats::object::ObjectId;
use spdx::Expression;

/// What is known of nobody's licence.
pub(super) const UNKNOWN: &str = "NOASSERTION";

/// Quoted licences: their names, and the text that the database has.
pub(super) type Quoted = BTreeMap<String, String>;

/// The expression for what a database has.
pub(super) fn expression(text: Option<&str>, quoted: &mut Quoted) -> String {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty() && *text != "unknown") else {
        return UNKNOWN.into();
    };
    // Yocto writes & and |.
    let words = text.replace('&', " AND ").replace('|', " OR ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(known) = known(&words) {
        return known;
    }
    let digest = ObjectId::of(text.as_bytes()).to_string();
    let name = format!("LicenseRef-pvr-{}", digest.get(..16).unwrap_or(&digest));
    quoted.insert(name.clone(), text.into());
    name
}

/// The text as an expression with names that SPDX has today.
fn known(words: &str) -> Option<String> {
    let strict = |text: &str| {
        let own = |text: &str| text.contains("LicenseRef-") || text.contains("DocumentRef-");
        (Expression::parse(text).is_ok() && !own(text)).then(|| text.to_owned())
    };
    strict(words).or_else(|| strict(&Expression::canonicalize(words).ok()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_stays_one_and_anything_else_is_quoted() {
        let mut quoted = Quoted::new();
        for (text, is) in [
            ("MIT", "MIT"),
            ("GPL-2.0-only & MIT", "GPL-2.0-only AND MIT"),
            ("(MIT | BSD-3-Clause) & GPL-2.0-or-later", "( MIT OR BSD-3-Clause ) AND GPL-2.0-or-later"),
            ("GPL-2.0-or-later WITH Autoconf-exception-2.0", "GPL-2.0-or-later WITH Autoconf-exception-2.0"),
            ("", UNKNOWN),
            ("unknown", UNKNOWN),
        ] {
            assert_eq!(
                expression(Some(text), &mut quoted).replace("( ", "(").replace(" )", ")"),
                is.replace("( ", "(").replace(" )", ")")
            );
        }
        assert_eq!(expression(None, &mut quoted), UNKNOWN);
        assert!(quoted.is_empty());
        for text in ["custom", "GPL-2.0-only AND bzip2-1.0.4", "LicenseRef-of-somebody", "a\"b\nc"] {
            let name = expression(Some(text), &mut quoted);
            assert!(name.starts_with("LicenseRef-pvr-"), "{text}: {name}");
            assert_eq!(quoted.get(&name).map(String::as_str), Some(text));
        }
    }
}
