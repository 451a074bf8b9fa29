//! No circle of imports between the top modules of a crate: each can be read, and tested, without those above it.
//!
//! An arrow is what a `crate::X` or a chain of `super`s names in code that users run. Modules are files and folders directly
//! below a crate's `src`.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{self, Source};

/// Crates without circles.
const CRATES: [&str; 2] = ["protocol", "trainer"];

/// From a module to the modules that it names, with the files that do.
type Arrows = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The module path of a file below `src`, e.g. `["fit", "run"]`; empty for the crate's root.
fn module(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts
}

/// The first names behind every `crate::`, and behind the chain of `super`s that leads to the crate's root.
fn named(code: &str, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in ["crate::".to_owned(), "super::".repeat(depth)].iter().filter(|start| !start.is_empty()) {
        let places = code.match_indices(start.as_str()).filter(|(at, _)| !code[..*at].ends_with(is_part_of_path));
        places.for_each(|(at, _)| heads(&code[at + start.len()..], &mut found));
    }
    found
}

fn is_part_of_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':')
}

/// The first name of a path, or of each path in a group `{a::b, c}`.
fn heads(rest: &str, found: &mut BTreeSet<String>) {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else {
        found.insert(word(rest));
        return;
    };
    let (mut depth, mut begins) = (0usize, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                found.insert(word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
}

/// The arrows between the top modules of a crate.
fn arrows(sources: &[Source], name: &str) -> Arrows {
    let source = format!("{name}/src/");
    let files: Vec<_> = sources
        .iter()
        .filter(|file| !file.code.is_empty())
        .filter_map(|file| Some((file, module(file.path.strip_prefix(&source)?))))
        .collect();
    let tops: BTreeSet<&str> = files.iter().filter_map(|(_, module)| module.first().copied()).collect();
    let mut arrows = Arrows::new();
    for (file, module) in &files {
        let Some(from) = module.first() else { continue };
        let code: String = file.code.iter().map(|(_, line)| format!("{line}\n")).collect();
        let to = named(&code, module.len()).into_iter().filter(|to| to != from && tops.contains(to.as_str()));
        for to in to {
            arrows.entry((*from).to_owned()).or_default().entry(to).or_default().insert(file.path.clone());
        }
    }
    arrows
}

/// A way along the arrows from a module back to itself.
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
fn modules_do_not_import_each_other_in_circles() {
    let sources = sources::all();
    for name in CRATES {
        let arrows = arrows(&sources, name);
        assert!(!arrows.is_empty(), "{name} has modules");
        if let Some(circle) = circle(&arrows) {
            let step = |pair: &[String]| format!("{} -> {}: {:?}", pair[0], pair[1], arrows[&pair[0]][&pair[1]]);
            let steps: Vec<String> = circle.windows(2).map(step).collect();
            panic!("{name}: {} is a circle\n{}", circle.join(" -> "), steps.join("\n"));
        }
    }
}

#[test]
fn arrows_are_found_in_every_spelling() {
    let code = "use crate::a::B;\nuse crate::{b::{x, y}, c,\n    d::Z};\nlet e = crate::e::f();\nuse super::super::g::H;\n\
                use super::near;\npub(in crate::i) fn j() {}\nuse other_crate::k;";
    let names: Vec<String> = named(code, 2).into_iter().collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "g", "i"]);
    assert_eq!(module("fit/identity/written.rs"), ["fit", "identity", "written"]);
    assert_eq!((module("fit/mod.rs"), module("lib.rs")), (vec!["fit"], vec![]));
}

#[test]
fn a_circle_is_found_and_a_ring_beside_it_is_not_needed() {
    let arrow = |from: &str, to: &str| (from.to_owned(), BTreeMap::from([(to.to_owned(), BTreeSet::new())]));
    assert_eq!(circle(&[arrow("a", "b"), arrow("b", "c")].into()), None);
    let found = circle(&[arrow("a", "b"), arrow("b", "c"), arrow("c", "b")].into());
    assert_eq!(found, Some(["b", "c", "b"].map(str::to_owned).to_vec()));
}
