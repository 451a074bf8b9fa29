//! Manifests that must be refused: codes, files, paths and the fields of an adapter.

use potluck_protocol::limits::{DECODE_MAX, EVALUATIONS_MAX, PARENTS_MAX, RANK_MAX, SHARD_MAX, TARGETS_MAX};
use potluck_protocol::manifest::{AdapterInfo, FileEntry, Kind, Manifest};

use crate::refused::{HUGE, ends, patch, retext};
use crate::vectors::Refused;
use crate::{by_hand, channels, samples};

pub fn all() -> Vec<Refused> {
    [codes(), files(), paths(), adapter(), channels::refused()].concat()
}

fn codes() -> Vec<Refused> {
    let good = by_hand::manifest(&samples::adapter());
    let base = by_hand::manifest(&samples::base(None));
    // The kind, the base's id, the architecture (41 bytes), then the optional recipe.
    let option = 4 + 32 + 41;
    let name = |to: &[u8]| retext(&good, "iso-dates", to);
    let mut all = vec![
        Refused::new("unknown_kind", "enum tag 7", patch(&good, 0, &[7]), "Undecodable"),
        Refused::new("option_2", "2 before an optional recipe", patch(&base, option, &[2]), "Undecodable"),
        Refused::new(
            "option_missing",
            "1 before no recipe: the bytes shift",
            patch(&base, option, &[1]),
            "Undecodable",
        ),
        Refused::new("flag_2", "a flag of 2 in the architecture", patch(&base, option - 1, &[2]), "Undecodable"),
        Refused::new("targets_2_63", "2^63 target modules", patch(&good, 72, &HUGE), "Undecodable"),
        Refused::new("name_empty", "no name", name(b""), "Undecodable"),
        Refused::new("name_slash", "a name that is a path", name(b"a/b"), "Undecodable"),
        Refused::new("name_no_utf8", "a name that is no UTF-8", name(b"\xff\xfe"), "Undecodable"),
        Refused::new(
            "licence_control",
            "an escape in the licence",
            retext(&good, "Apache-2.0", b"\x1b[2J"),
            "Malformed: the licence",
        ),
    ];
    all.extend(ends(&good));
    all
}

fn files() -> Vec<Refused> {
    let with = |files: Vec<FileEntry>| by_hand::manifest(&Manifest { files, ..samples::adapter() });
    let [first, second] = ["a.json", "b.safetensors"].map(|path| samples::file(path, 10));
    let upper = samples::file("A.json", 10);
    let table = |table_len, pieces: usize| {
        with(vec![FileEntry { table_len, table: vec![samples::shard("t"); pieces], ..first.clone() }])
    };
    let sizes = |len| with(vec![FileEntry { len, ..first.clone() }, FileEntry { len, ..second.clone() }]);
    let sorting = "Malformed: the files are not sorted by path, each path once";
    let pieces = "Malformed: `a.json`: the shard table's length and pieces do not fit";
    let bytes = "Malformed: the files hold more than 4294967296 bytes";
    vec![
        Refused::new("no_files", "no files", with(vec![]), "Malformed: 0 files"),
        Refused::new("unsorted_files", "files in the wrong order", with(vec![second.clone(), first.clone()]), sorting),
        Refused::new("duplicate_files", "a file twice", with(vec![first.clone(), first.clone()]), sorting),
        Refused::new(
            "case_twins",
            "paths that differ in case only",
            with(vec![upper, first.clone()]),
            "Malformed: two paths",
        ),
        Refused::new("table_short", "a table of two pieces named by one", table(SHARD_MAX as u32 + 1, 1), pieces),
        Refused::new("table_long", "a table of one piece named by two", table(48, 2), pieces),
        Refused::new("table_huge", "a table beyond the decoder's bound", table(DECODE_MAX as u32 + 1, 5), pieces),
        Refused::new("bytes_overflow", "lengths whose sum overflows", sizes(u64::MAX), bytes),
        Refused::new("bytes_many", "more bytes than an adapter may have", sizes(3 << 30), bytes),
    ]
}

fn paths() -> Vec<Refused> {
    let good = by_hand::manifest(&samples::adapter());
    let paths: [(&str, &[u8]); 14] = [
        ("path_parent", b"../adapter_config.json"),
        ("path_inner_parent", b"a/../../x"),
        ("path_absolute", b"/etc/passwd"),
        ("path_drive", b"C:\\x"),
        ("path_backslash", b"a\\b"),
        ("path_nul", b"a\0b"),
        ("path_no_utf8", b"a\xffb"),
        ("path_surrogate", b"\xed\xa0\x80"),
        ("path_empty", b""),
        ("path_dot", b"."),
        ("path_hidden", b".bashrc"),
        ("path_device", b"NUL.json"),
        ("path_deep", b"a/b/c/d/e"),
        ("path_option", b"-rf"),
    ];
    let refused = |(name, path): (&str, &[u8])| {
        let says = format!("a file at {:?}", String::from_utf8_lossy(path));
        Refused::new(name, &says, retext(&good, "adapter_config.json", path), "Undecodable")
    };
    paths.into_iter().map(refused).collect()
}

fn adapter() -> Vec<Refused> {
    let with = |change: &dyn Fn(&mut AdapterInfo)| {
        let mut info = samples::adapter_info();
        change(&mut info);
        by_hand::manifest(&Manifest { kind: Kind::Adapter(info), ..samples::adapter() })
    };
    let targets = |targets: &[&str]| with(&|a| a.target_modules = targets.iter().map(|&t| t.to_owned()).collect());
    let many: Vec<String> = (0..=TARGETS_MAX).map(|n| format!("t{n:04}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let parents = with(&|a| a.parents = vec![samples::manifest_id("p"); PARENTS_MAX + 1]);
    let evaluations = with(&|a| a.evaluations = vec![a.evaluations[0].clone(); EVALUATIONS_MAX + 1]);
    let sorting = "Malformed: target_modules are not sorted, each once";
    vec![
        Refused::new("rank_0", "r = 0", with(&|a| a.r = 0), "Malformed: r is 0, not 1 to 1024"),
        Refused::new("rank_large", "r = RANK_MAX + 1", with(&|a| a.r = RANK_MAX + 1), "Malformed: r is 1025"),
        Refused::new("no_targets", "no target modules", targets(&[]), "Malformed: 0 target modules"),
        Refused::new("many_targets", "257 target modules", targets(&many), "Malformed: 257 target modules"),
        Refused::new("unsorted_targets", "targets in the wrong order", targets(&["v_proj", "q_proj"]), sorting),
        Refused::new("duplicate_targets", "a target twice", targets(&["q_proj", "q_proj"]), sorting),
        Refused::new("many_parents", "257 parents", parents, "Malformed: too many parents"),
        Refused::new("many_evaluations", "65 evaluations", evaluations, "Malformed: too many evaluations"),
        Refused::new(
            "accuracy",
            "1,000,001 exact matches per million",
            with(&|a| a.evaluations[0].exact_match_ppm = 1_000_001),
            "Malformed: more than a million",
        ),
    ]
}
