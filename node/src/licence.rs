//! Licences, as this node signs them: SPDX expressions, so that whoever searches for one finds it. What strangers state
//! is text, whatever it says.

use potluck_protocol::limits::LICENCE_MAX;
use spdx::error::Reason;
use spdx::identifiers::{EXCEPTIONS, LICENSES};

use crate::failure::{Failure, Kind, Outcome};

/// Names that the hub gives to licences which SPDX does not list. They are written as `LicenseRef-NAME`.
const OF_THE_HUB: [&str; 19] = [
    "apple-amlr",
    "apple-ascl",
    "bigcode-openrail-m",
    "bigscience-bloom-rail-1.0",
    "bigscience-openrail-m",
    "creativeml-openrail-m",
    "deepfloyd-if-license",
    "fair-noncommercial-research-license",
    "gemma",
    "grok2-community",
    "h-research",
    "intel-research",
    "llama2",
    "llama3",
    "llama3.1",
    "llama3.2",
    "llama3.3",
    "llama4",
    "openrail",
];

/// What a user may call a licence of their own.
const REFERENCE: &str = "LicenseRef-";
/// Words so unlike every id are no misspelling of one.
const LIKE: f64 = 0.85;
/// In the list, and no licence: it is said by saying nothing.
const NOTHING: &str = "NOASSERTION";

/// The expression in its one spelling; empty if none is stated.
pub fn stated(text: &str) -> Outcome<String> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let expression = words(text).iter().map(|word| known(word)).collect::<Outcome<Vec<_>>>();
    let expression = expression.map_err(|failure| whole_name(text).map_or(failure, |id| refused(text, Some(id))))?;
    let expression = expression.join(" ").replace("( ", "(").replace(" )", ")");
    if expression.len() > LICENCE_MAX {
        return Err(Failure::new(Kind::Usage, format!("the licence is longer than {LICENCE_MAX} bytes"))
            .hint("name it shortly, e.g. LicenseRef-NAME, and explain it in --description"));
    }
    spdx::Expression::parse(&expression).map_err(|error| {
        let term = error.original.get(error.span.clone()).unwrap_or(&expression);
        match error.reason {
            Reason::DeprecatedLicenseId => deprecated(term),
            reason => {
                Failure::new(Kind::Usage, format!("`{}` is no SPDX expression: {reason}", expression.escape_debug()))
                    .hint("e.g. `MIT`, `MIT OR Apache-2.0`, `Apache-2.0 WITH LLVM-exception`")
            }
        }
    })?;
    Ok(expression)
}

/// Whether what is stated somewhere is the licence that is wanted: case does not count, nor whether a name of the hub is
/// written as SPDX wants it.
pub fn is(wanted: &str, theirs: &str) -> bool {
    let spelt = |text: &str| stated(text).unwrap_or_else(|_| text.trim().to_owned());
    spelt(wanted).eq_ignore_ascii_case(&spelt(theirs))
}

/// Whether something under this licence may be taken where one of these has to be stated; any will do where there are none.
pub fn taken(rules: &[String], theirs: &str) -> bool {
    rules.is_empty() || rules.iter().any(|one| is(one, theirs))
}

/// What to say to whoever searches for something that is no SPDX expression.
pub fn doubt(text: &str) -> Option<String> {
    let failure = stated(text).err()?;
    Some(format!("{}; {}", failure.message, failure.hint.unwrap_or_default()))
}

/// Words and brackets.
fn words(text: &str) -> Vec<String> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// A word of an expression in its one spelling.
fn known(word: &str) -> Outcome<String> {
    if matches!(word, "(" | ")") {
        return Ok(word.to_owned());
    }
    let upper = word.to_ascii_uppercase();
    if matches!(upper.as_str(), "AND" | "OR" | "WITH") {
        return Ok(upper);
    }
    if word.get(..REFERENCE.len()).is_some_and(|start| start.eq_ignore_ascii_case(REFERENCE)) {
        let name = &word[REFERENCE.len()..];
        return if name.is_empty() { Err(refused(word, None)) } else { Ok(format!("{REFERENCE}{name}")) };
    }
    if let Some(name) = OF_THE_HUB.iter().find(|name| name.eq_ignore_ascii_case(word)) {
        return Ok(format!("{REFERENCE}{name}"));
    }
    let (id, plus) = word.strip_suffix('+').map_or((word, ""), |id| (id, "+"));
    let mut licences = LICENSES.iter().map(|one| one.name).chain(EXCEPTIONS.iter().map(|one| one.name));
    let found =
        licences.find(|name| name.eq_ignore_ascii_case(id) && *name != NOTHING).map(|name| format!("{name}{plus}"));
    found.ok_or_else(|| refused(word, nearest(word)))
}

fn refused(text: &str, nearest: Option<&str>) -> Failure {
    let failure = Failure::new(Kind::Usage, format!("`{}` is no SPDX licence", text.escape_debug()));
    match nearest {
        Some(id) => failure.hint(format!("did you mean `{id}`? A licence that SPDX does not list is LicenseRef-NAME")),
        None => failure.hint(
            "give an id of https://spdx.org/licenses, e.g. Apache-2.0; a licence that is not listed there is \
             LicenseRef-NAME; leave it out to state none",
        ),
    }
}

/// `GPL-3.0` does not say whether later ones are meant too.
fn deprecated(id: &str) -> Failure {
    let base = id.trim_end_matches('+');
    let forms = ["-only", "-or-later"].map(|end| format!("{base}{end}"));
    let failure = Failure::new(Kind::Usage, format!("`{id}` is an SPDX id that is not used any more"));
    if forms.iter().all(|form| spdx::license_id(form).is_some()) {
        failure.hint(format!("say which is meant: `{}` or `{}`", forms[0], forms[1]))
    } else {
        failure.hint("https://spdx.org/licenses names the one that replaces it")
    }
}

/// Letters and digits, in lower case: `apache 2.0`, `Apache-2.0` and `apache_2.0` are one.
fn folded(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// What SPDX lists and has not replaced.
fn in_use() -> impl Iterator<Item = &'static spdx::License> {
    let current = |name: &str| spdx::license_id(name).is_some_and(|id| !id.is_deprecated());
    LICENSES.iter().filter(move |one| one.name != NOTHING && current(one.name))
}

/// A name of several words, such as `Apache 2.0` or `MIT License`.
fn whole_name(text: &str) -> Option<&'static str> {
    let wanted = folded(text);
    in_use().find(|one| folded(one.name) == wanted || folded(one.full_name) == wanted).map(|one| one.name)
}

/// The id that a word was most likely meant to be.
fn nearest(word: &str) -> Option<&'static str> {
    let listed = spdx::imprecise_license_id(word).filter(|(id, len)| *len == word.len() && !id.is_deprecated());
    if let Some((id, _)) = listed {
        return Some(id.name);
    }
    let wanted = folded(word);
    let likeness = in_use().map(|one| (strsim::jaro_winkler(&wanted, &folded(one.name)), one.name));
    let best = likeness.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.len().cmp(&a.1.len())))?;
    (best.0 >= LIKE).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_has_one_spelling() {
        let cases = [
            ("", ""),
            ("  ", ""),
            ("apache-2.0", "Apache-2.0"),
            ("mit or apache-2.0", "MIT OR Apache-2.0"),
            ("( mit AND cc0-1.0 )or BSD-3-clause", "(MIT AND CC0-1.0) OR BSD-3-Clause"),
            ("apache-2.0 with llvm-exception", "Apache-2.0 WITH LLVM-exception"),
            ("gpl-3.0-only", "GPL-3.0-only"),
            ("Llama3.2", "LicenseRef-llama3.2"),
            ("gemma", "LicenseRef-gemma"),
            ("licenseref-Mine", "LicenseRef-Mine"),
        ];
        for (text, spelling) in cases {
            assert_eq!(stated(text).as_deref(), Ok(spelling), "{text}");
            assert_eq!(stated(spelling).as_deref(), Ok(spelling), "{spelling} stays");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_what_was_meant() {
        let cases = [
            ("apache2", "`Apache-2.0`"),
            ("Apache 2.0", "`Apache-2.0`"),
            ("MIT License", "`MIT`"),
            ("gplv3", "`GPL-3.0-only`"),
            ("GPL-3.0", "`GPL-3.0-only` or `GPL-3.0-or-later`"),
            ("gpl-3.0+", "`GPL-3.0-only` or `GPL-3.0-or-later`"),
            ("Apache-2", "`Apache-2.0`"),
            ("cc-by-sa4", "`CC-BY-SA-4.0`"),
            ("other", "LicenseRef-NAME"),
            ("NOASSERTION", "leave it out"),
            ("mit and", "e.g. `MIT`"),
            ("(mit", "e.g. `MIT`"),
            ("LicenseRef-", "LicenseRef-NAME"),
            ("LicenseRef-\u{1b}[2J", "e.g. `MIT`"),
            ("a\u{1b}[2J", "LicenseRef-NAME"),
        ];
        for (text, says) in cases {
            let failure = stated(text).expect_err(text);
            assert_eq!(failure.kind, Kind::Usage, "{text}");
            assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains(says)), "{text}: {failure:?}");
            assert!(!failure.message.contains('\u{1b}'), "{failure}");
        }
        let long = ["Apache-2.0"; 9].join(" OR ");
        assert!(stated(&long).is_err_and(|failure| failure.message.contains("64 bytes")));
    }

    #[test]
    fn rules_of_an_earlier_spelling_take_what_is_published_now() {
        let old = ["apache-2.0", "gemma"].map(str::to_owned);
        for licence in ["Apache-2.0", "LicenseRef-gemma", "apache-2.0", "gemma"] {
            assert!(taken(&old, licence), "{licence}");
        }
        assert!(!taken(&old, "MIT") && !taken(&old, "") && !taken(&old, "Apache-2.0 OR MIT"));
        assert!(taken(&["LicenseRef-gemma".to_owned()], "gemma"), "and the other way round");
        assert!(taken(&[], "MIT") && taken(&[], ""));
    }

    #[test]
    fn strangers_spell_as_they_like() {
        assert!(is("apache-2.0", "Apache-2.0") && is("gemma", "LicenseRef-Gemma") && is("apache2", "Apache2"));
        assert!(!is("MIT", "Apache-2.0") && !is("apache-2.0", "apache2") && !is("MIT", ""));
        assert!(doubt("apache2").is_some_and(|text| text.contains("Apache-2.0")) && doubt("MIT").is_none());
    }
}
