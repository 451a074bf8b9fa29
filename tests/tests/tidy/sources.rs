//! The sources of the repository, with test code told apart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One `.rs` file.
pub struct Source {
    /// From the top of the repository, with forward slashes.
    pub path: String,
    pub text: String,
    /// The lines of a crate's `src` that are no test code, comments taken off, each with its number.
    pub lines: Vec<(usize, String)>,
    /// Those of them that are compiled into what users run.
    pub code: Vec<(usize, String)>,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

/// All sources of the four crates.
pub fn all() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["protocol", "trainer", "node", "tests"] {
        walk(&root().join(folder), &mut paths);
    }
    paths.sort();
    let texts: Vec<(PathBuf, String)> = paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source is UTF-8");
            (path, text)
        })
        .collect();
    let tests: BTreeSet<PathBuf> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    texts.into_iter().map(|(path, text)| source(&path, text, &tests)).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            paths.push(path);
        }
    }
}

fn source(path: &Path, text: String, tests: &BTreeSet<PathBuf>) -> Source {
    let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
    let in_src = relative.split('/').nth(1) == Some("src");
    let tested = path.ancestors().any(|part| tests.contains(part) || tests.contains(&part.with_extension("rs")));
    let lines = if in_src && !tested { code(&text) } else { Vec::new() };
    // Nobody runs the crate `tests`.
    let code = if relative.starts_with("tests/") { Vec::new() } else { lines.clone() };
    Source { path: relative, text, lines, code }
}

/// Lines up to the test module that ends the file, without comments. (A `//` within a text ends the line too early,
/// which can only hide what follows it on that line.)
fn code(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].trim_end().ends_with('{');
    let end = lines.windows(2).position(opens_tests).unwrap_or(lines.len());
    let bare = |(index, line): (usize, &&str)| (index + 1, line.split("//").next().unwrap_or_default().to_owned());
    lines[..end].iter().enumerate().map(bare).collect()
}

/// The files of modules that are declared under `#[cfg(test)]`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let folder = match stem {
        "mod" | "lib" | "main" => path.parent().expect("a file has a folder").to_owned(),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = |pair: &[&str]| {
        let name = pair[1].strip_suffix(';')?.split_once("mod ")?.1;
        (pair[0] == "#[cfg(test)]").then(|| folder.join(format!("{name}.rs")))
    };
    lines.windows(2).filter_map(declared).collect()
}

#[test]
fn test_code_is_told_apart() {
    let text = "use a;\n// x.unwrap()\nfn f() {}\n#[cfg(test)]\nmod tests {\n    x.unwrap();\n}\n";
    let code: String = code(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(code, "use a;fn f() {}");
    let declared = test_modules(Path::new("/r/src/a.rs"), "#[cfg(test)]\nmod tests;\nmod b;\n");
    assert_eq!(declared, [PathBuf::from("/r/src/a/tests.rs")]);
    let declared = test_modules(Path::new("/r/src/a/mod.rs"), "#[cfg(test)]\npub(crate) mod testing;\n");
    assert_eq!(declared, [PathBuf::from("/r/src/a/testing.rs")]);
}
