//! No circle of imports between the parts of a crate: each can be read, and tested, without those above it.
//!
//! Parts are the modules directly below a crate's `src`, and the folders side by side in any folder below. An arrow is what
//! `crate::X`, `self::X` or a chain of `super`s names in code that users run. Files of one folder are one part and may
//! name each other; a folder and the file that bears its name are one module.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{self, Source};

/// Crates without circles: all.
const CRATES: [&str; 4] = ["protocol", "trainer", "node", "tests"];

/// The names of a module from the crate's root on; empty for the root itself.
type Path = Vec<String>;

/// From a part to those beside it that it names, with the files that do.
type Arrows = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The module path of a file below `src`, e.g. `["fit", "run"]`; empty for the crate's root.
fn module(path: &str) -> Path {
    let mut parts: Path = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// All paths of this crate that a module's code names, from the crate's root on. They may end in names of items.
fn named(code: &str, module: &Path) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "self::", "super::"] {
        let places = code.match_indices(start).filter(|(at, _)| !code[..*at].ends_with(is_part_of_path));
        for (at, _) in places {
            let mut rest = &code[at..];
            let mut from = if start == "crate::" { Path::new() } else { module.clone() };
            while let Some(further) = rest.strip_prefix("super::") {
                (rest, _) = (further, from.pop());
            }
            let rest = rest.strip_prefix("crate::").or(rest.strip_prefix("self::")).unwrap_or(rest);
            ends(rest, &from, &mut found);
        }
    }
    found
}

fn is_part_of_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':')
}

/// The path that `code` begins with, or each path in a group `{a::b, c}`, behind `from`.
fn ends(code: &str, from: &Path, found: &mut BTreeSet<Path>) {
    let code = code.trim_start();
    if let Some(group) = code.strip_prefix('{') {
        return parts(group).into_iter().for_each(|part| ends(part, from, found));
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    let (word, rest) = code.split_at(end);
    let mut path = from.clone();
    if !matches!(word, "" | "self") {
        path.push(word.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(rest) if !word.is_empty() => ends(rest, &path, found),
        _ => drop(found.insert(path)),
    }
}

/// The parts of a group, up to the brace that closes it.
fn parts(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if c == '}' && depth == 0 && start == at + 1 {
            break;
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The arrows between the parts of each folder of a crate, by the folder's path.
fn arrows(sources: &[Source], name: &str) -> BTreeMap<Path, Arrows> {
    let source = format!("{name}/src/");
    let modules: Vec<_> = sources
        .iter()
        .filter(|file| !file.lines.is_empty())
        .filter_map(|file| Some((file, module(file.path.strip_prefix(&source)?))))
        .collect();
    let paths = modules.iter().map(|(_, path)| path);
    let folders: BTreeSet<Path> = paths.flat_map(|path| (0..path.len()).map(|len| path[..len].to_vec())).collect();
    let is_part = |path: &[String]| path.len() == 1 || folders.contains(path);
    let mut arrows: BTreeMap<Path, Arrows> = BTreeMap::new();
    for (file, from) in &modules {
        let code: String = file.lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let exists = |part: &[String]| modules.iter().any(|(_, path)| path.starts_with(part));
        for to in named(&code, from) {
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            let (Some(ours), Some(theirs)) = (from.get(..=common), to.get(..=common)) else { continue };
            if is_part(ours) && is_part(theirs) && exists(theirs) {
                let beside = arrows.entry(from[..common].to_vec()).or_default();
                let files = beside.entry(ours[common].clone()).or_default().entry(theirs[common].clone()).or_default();
                files.insert(file.path.clone());
            }
        }
    }
    arrows
}

/// A way along the arrows from a part back to itself.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    arrows.keys().find_map(|start| way(arrows, start, start, &mut BTreeSet::new()))
}

fn way(arrows: &Arrows, from: &str, to: &str, seen: &mut BTreeSet<String>) -> Option<Vec<String>> {
    for next in arrows.get(from)?.keys() {
        if next == to {
            return Some(vec![from.to_owned(), to.to_owned()]);
        }
        if seen.insert(next.clone())
            && let Some(mut rest) = way(arrows, next, to, seen)
        {
            rest.insert(0, from.to_owned());
            return Some(rest);
        }
    }
    None
}

#[test]
fn parts_of_a_crate_do_not_import_each_other_in_circles() {
    let sources = sources::all();
    let mut found = Vec::new();
    for name in CRATES {
        let arrows = arrows(&sources, name);
        assert!(arrows.contains_key(&Path::new()), "{name} has modules");
        for (folder, arrows) in arrows {
            let Some(circle) = circle(&arrows) else { continue };
            let step = |pair: &[String]| format!("  {} -> {}: {:?}", pair[0], pair[1], arrows[&pair[0]][&pair[1]]);
            let steps: Vec<String> = circle.windows(2).map(step).collect();
            let folder = folder.join("/");
            found.push(format!("{name}/src/{folder}: {} is a circle\n{}", circle.join(" -> "), steps.join("\n")));
        }
    }
    assert!(found.is_empty(), "move what both need below both:\n{}", found.join("\n"));
}

fn path(text: &str) -> Path {
    text.split("::").map(str::to_owned).collect()
}

fn file(path: &str, code: &str) -> Source {
    let lines = code.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect();
    Source { path: path.to_owned(), text: code.to_owned(), code: Vec::new(), lines }
}

#[test]
fn paths_are_found_in_every_spelling() {
    let code = "use crate::a::B;\nuse crate::{b::{x, y}, c,\n    d::Z};\nlet e = crate::e::f();\nuse super::super::g::H;\n\
                use super::near;\npub(in crate::i) fn j() {}\nuse other_crate::k;\nuse self::own::{self, L};\nuse super::*;";
    let found = named(code, &path("fit::run"));
    let expected = [
        "a::B",
        "b::x",
        "b::y",
        "c",
        "d::Z",
        "e::f",
        "fit",
        "fit::near",
        "fit::run::own",
        "fit::run::own::L",
        "g::H",
        "i",
    ];
    assert_eq!(found, expected.map(path).into());
    assert_eq!(module("fit/identity/written.rs"), path("fit::identity::written"));
    assert_eq!((module("fit/mod.rs"), module("lib.rs")), (path("fit"), Path::new()));
}

#[test]
fn a_circle_is_found_and_a_ring_beside_it_is_not_needed() {
    let arrow = |from: &str, to: &str| (from.to_owned(), BTreeMap::from([(to.to_owned(), BTreeSet::new())]));
    assert_eq!(circle(&[arrow("a", "b"), arrow("b", "c")].into()), None);
    let found = circle(&[arrow("a", "b"), arrow("b", "c"), arrow("c", "b")].into());
    assert_eq!(found, Some(["b", "c", "b"].map(str::to_owned).to_vec()));
}

#[test]
fn a_circle_between_folders_is_found_at_any_depth() {
    let mut sources = vec![
        file("c/src/net/guard/mod.rs", "use super::bulk::Frame;"),
        file("c/src/net/guard/bans.rs", "use super::score::Score;"),
        file("c/src/net/guard/score.rs", "use super::bans::Bans;"),
        file("c/src/net/bulk/mod.rs", "mod frame;"),
        file("c/src/net/bulk/frame.rs", "use crate::text;"),
        file("c/src/text.rs", "fn text() {}"),
    ];
    let circles = |sources: &[Source]| {
        let folders = arrows(sources, "c").into_iter();
        folders.filter_map(|(folder, arrows)| circle(&arrows).map(|_| folder.join("/"))).collect::<Vec<_>>()
    };
    assert_eq!(circles(&sources), [""; 0], "files of one folder may name each other");
    sources[4] = file("c/src/net/bulk/frame.rs", "use super::super::guard::{Ban,\n    Guard};");
    assert_eq!(circles(&sources), ["net"]);
    sources[5] = file("c/src/text.rs", "fn text() -> crate::net::Text {}");
    sources[0] = file("c/src/net/guard/mod.rs", "use crate::text;");
    assert_eq!(circles(&sources), [""], "of top modules files count too");
}
