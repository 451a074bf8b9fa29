//! Which files make a base: on this machine, to publish them; in a manifest, to take them.

use std::path::{Path, PathBuf};

use potluck_protocol::limits::{JSON_MAX, SAFETENSORS_HEADER_MAX};
use potluck_protocol::manifest::{BaseInfo, Kind as ManifestKind, Manifest};
use potluck_protocol::text::RelPath;
use potluck_trainer::base;
use serde_json::Value;

use crate::failure::{Failure, Kind, Outcome};
use crate::store::Source;
use crate::text::{bytes, shell};
use crate::worker::failures;

/// What a published GGUF file is called, whatever it is called here.
const GGUF: &str = "model.gguf";

const CONFIG: &str = "config.json";

const TOKENIZER: &str = "tokenizer.json";

const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Files of a folder beside its weights.
const SMALL: [&str; 8] = [
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
];

/// Where libraries note what they loaded, often a path of the machine that saved the model.
const ORIGINS: [&str; 2] = ["_name_or_path", "name_or_path"];

/// The bound of a small file: that of the longest that its reader takes, a tokenizer.
const SMALL_MAX: u64 = 64 * JSON_MAX as u64;

/// The file that is wrong, and why.
pub type Wrong = (String, String);

/// The files of a base that lies here, under the paths that they get in its manifest.
pub fn here(place: &Path) -> Outcome<Vec<(RelPath, Source)>> {
    if place.is_file() {
        return Ok(vec![(portable(GGUF)?, Source::Path(place.to_path_buf()))]);
    }
    let names = base::folder_files(place).map_err(|error| failures::base(&error))?;
    let looking = |error| Failure::io(format!("look at {}", place.display()), &error);
    let whole = std::fs::canonicalize(place).map_err(looking)?;
    names.into_iter().map(|name| Ok((portable(&name)?, source(&inside(place, &whole, &name)?, &name)?))).collect()
}

/// Where a file of a folder lies. Whoever made the folder may have put a link in it to any file of this machine, which
/// must not be published for it: what it leads to is in the folder too, or among the blobs of the hub's cache.
fn inside(place: &Path, whole: &Path, name: &str) -> Outcome<PathBuf> {
    let path = place.join(name);
    let target =
        std::fs::canonicalize(&path).map_err(|error| Failure::io(format!("read {}", path.display()), &error))?;
    if target.starts_with(whole) || blobs(whole).is_some_and(|blobs| target.parent() == Some(&blobs)) {
        return Ok(target);
    }
    let message = format!(
        "{} is a link that leads out of the folder, to {}, and would publish what is there",
        path.display(),
        target.display()
    );
    Err(Failure::new(Kind::Usage, message).hint(format!(
        "if that file is one of the base, put it in the place of the link, then publish again: `cp --remove-destination {} {}`",
        shell(&target.to_string_lossy()),
        shell(&path.to_string_lossy())
    )))
}

/// The blobs to which the hub's cache links what is in a snapshot, at any depth: `models--OWNER--NAME/snapshots/COMMIT/FILE`
/// and `models--OWNER--NAME/snapshots/COMMIT/FOLDER/FILE` lead to `models--OWNER--NAME/blobs/ETAG`.
fn blobs(folder: &Path) -> Option<PathBuf> {
    let named =
        |folder: &Path, fits: fn(&str) -> bool| folder.file_name().and_then(|name| name.to_str()).is_some_and(fits);
    let snapshots = folder.ancestors().skip(1).find(|folder| named(folder, |name| name == "snapshots"))?;
    let repository = snapshots.parent().filter(|folder| named(folder, |name| name.starts_with("models--")))?;
    Some(repository.join("blobs"))
}

fn portable(name: &str) -> Outcome<RelPath> {
    RelPath::new(name).map_err(|error| {
        Failure::new(Kind::Usage, error).hint("rename the file, in model.safetensors.index.json as well")
    })
}

fn source(path: &Path, name: &str) -> Outcome<Source> {
    if !matches!(name, CONFIG | TOKENIZER_CONFIG) {
        return Ok(Source::Path(path.to_path_buf()));
    }
    let reading = |error| Failure::io(format!("read {}", path.display()), &error);
    // Whoever opened the base has read it; a file that grew since is left as it is, and the digests notice.
    if std::fs::metadata(path).map_err(reading)?.len() > SMALL_MAX {
        return Ok(Source::Path(path.to_path_buf()));
    }
    Ok(Source::Bytes(without_paths(potluck_trainer::files::read(path, SMALL_MAX).map_err(reading)?)))
}

/// A configuration without the paths of this machine; the very same bytes if there are none. // I16
fn without_paths(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(&bytes) else { return bytes };
    let is_path = |value: &Value| value.as_str().is_some_and(is_path);
    let telling: Vec<_> = ORIGINS.into_iter().filter(|name| fields.get(*name).is_some_and(is_path)).collect();
    if telling.is_empty() {
        return bytes;
    }
    for name in telling {
        fields.shift_remove(name);
    }
    format!("{:#}\n", Value::Object(fields)).into_bytes()
}

/// Anything but `name` or `owner/name`, which are the hub's.
fn is_path(text: &str) -> bool {
    text.starts_with(['/', '~', '.']) || text.contains(['\\', ':']) || text.matches('/').count() > 1
}

/// The name of the GGUF file of a base's manifest; `None` if it is a folder. No other file may be there: what a person
/// asks for by a base's id is a base, and no place for anything else.
pub fn check(manifest: &Manifest) -> Result<Option<&str>, Wrong> {
    if manifest.licence.trim().is_empty() {
        return Err((String::new(), "a base states its licence, this one states none".to_owned()));
    }
    let paths: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    if let [gguf] = paths[..]
        && gguf.ends_with(".gguf")
        && !gguf.contains('/')
    {
        check_sizes(manifest)?;
        return Ok(Some(gguf));
    }
    let weights = |path: &str| path.ends_with(".safetensors") && !path.contains('/');
    let template = |path: &str| {
        let name = path.strip_prefix("additional_chat_templates/").and_then(|name| name.strip_suffix(".jinja"));
        name.is_some_and(|name| !name.contains('/'))
    };
    if let Some(other) = paths.iter().find(|path| !SMALL.contains(path) && !weights(path) && !template(path)) {
        return Err((
            (*other).to_owned(),
            "not a file of a base: a base is a folder of safetensors, or one GGUF file".to_owned(),
        ));
    }
    for needed in [CONFIG, TOKENIZER] {
        if !paths.contains(&needed) {
            return Err((needed.to_owned(), "the base comes without it and cannot be used".to_owned()));
        }
    }
    if !paths.iter().any(|path| weights(path)) {
        return Err(("*.safetensors".to_owned(), "the base comes without weights".to_owned()));
    }
    check_sizes(manifest)?;
    Ok(None)
}

/// Before a byte is fetched: the files can be those of the architecture that the manifest states, and the small ones what
/// their reader takes.
fn check_sizes(manifest: &Manifest) -> Result<(), Wrong> {
    let ManifestKind::Base(info) = &manifest.kind else { return Ok(()) };
    let is_weights = |path: &str| path.ends_with(".safetensors") || path.ends_with(".gguf");
    let (weights, small): (Vec<_>, Vec<_>) = manifest.files.iter().partition(|file| is_weights(file.path.as_str()));
    if let Some(long) = small.iter().find(|file| file.len > SMALL_MAX) {
        let reason = format!("it has {}, and no reader takes more than {}", bytes(long.len), bytes(SMALL_MAX));
        return Err((long.path.to_string(), reason));
    }
    let (total, most) = (weights.iter().map(|file| file.len).sum::<u64>(), weights_max(info, weights.len()));
    if total <= most {
        return Ok(());
    }
    let path = weights.first().map_or_else(String::new, |file| file.path.to_string());
    let (total, most) = (bytes(total), bytes(most));
    Err((path, format!("its weights have {total}, and those of the architecture that it states at most {most}")))
}

/// The most that weights of an architecture can take: in f64, with an output projection beside the embedding that it may
/// equal, the headers, and in a GGUF file the tokenizer.
fn weights_max(info: &BaseInfo, files: usize) -> u64 {
    let shapes = &info.architecture;
    let parameters: u64 = shapes.tensors().iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
    let projection = u64::from(shapes.vocab_size) * u64::from(shapes.hidden_size);
    8 * (parameters + projection) + files as u64 * (SAFETENSORS_HEADER_MAX as u64 + 8) + SMALL_MAX
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::id::{Digest, FileDigest};
    use potluck_protocol::manifest::{DatasetInfo, FileEntry};
    use potluck_protocol::signed::PublicKey;
    use potluck_protocol::text::Name;

    use super::*;

    fn manifest(licence: &str, paths: &[&str]) -> Manifest {
        let file = |path: &&str| FileEntry {
            path: RelPath::new(*path).expect("a path"),
            len: 0,
            digest: FileDigest(Digest::of(b"")),
            table: Vec::new(),
            table_len: 0,
        };
        Manifest {
            kind: ManifestKind::Dataset(DatasetInfo { rows: 0 }),
            name: Name::new("n").expect("a name"),
            licence: licence.to_owned(),
            description: String::new(),
            created: 0,
            publisher: PublicKey::of(&Keypair::generate()),
            files: paths.iter().map(file).collect(),
        }
    }

    #[test]
    fn a_base_is_a_folder_or_a_gguf_and_nothing_else() {
        let folder = ["config.json", "model.safetensors", "tokenizer.json"];
        let checked = |licence, paths: &[&str]| check(&manifest(licence, paths)).map(|gguf| gguf.map(str::to_owned));
        assert_eq!(checked("MIT", &folder), Ok(None));
        let beside = ["special_tokens_map.json", "added_tokens.json", "additional_chat_templates/tool_use.jinja"];
        assert_eq!(checked("MIT", &[&folder[..], &beside].concat()), Ok(None));
        assert_eq!(checked("MIT", &["m.gguf"]), Ok(Some("m.gguf".to_owned())));
        let wrong = |licence, paths: &[&str]| checked(licence, paths).expect_err("refused").0;
        assert_eq!(wrong(" ", &folder), "");
        for (without, missing) in folder.iter().zip(["config.json", "*.safetensors", "tokenizer.json"]) {
            let rest: Vec<_> = folder.iter().filter(|path| *path != without).copied().collect();
            assert_eq!(wrong("MIT", &rest), missing);
        }
        for other in [
            "a.gguf",
            "code.py",
            "model.bin",
            "sub/model.safetensors",
            "README.md",
            "additional_chat_templates/x.py",
            "additional_chat_templates/a/x.jinja",
        ] {
            assert_eq!(wrong("MIT", &[&folder[..], &[other]].concat()), other);
        }
    }

    #[test]
    fn a_base_states_no_more_bytes_than_its_architecture_can_have() {
        let mut base = manifest("MIT", &["config.json", "model.safetensors", "tokenizer.json"]);
        let architecture = potluck_trainer::tiny::architecture();
        let id = potluck_protocol::id::BaseId(Digest::of(b"base"));
        base.kind = ManifestKind::Base(BaseInfo { base: id, architecture, recipe: None });
        let with = |index: usize, len: u64| {
            let mut base = base.clone();
            base.files[index].len = len;
            check(&base).map(|gguf| gguf.map(str::to_owned))
        };
        let ours =
            potluck_trainer::tiny::FILES.iter().find(|(name, _)| *name == "model.safetensors").expect("its weights");
        assert_eq!(with(1, ours.1.len() as u64), Ok(None));
        for (index, len) in [(0, SMALL_MAX + 1), (1, 1 << 30), (2, 1 << 40)] {
            assert_eq!(with(index, len).expect_err("more than can be").0, base.files[index].path.as_str());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_is_not_published_and_the_hubs_own_are_at_any_depth() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, cached) = (root.path().join("dl"), root.path().join("models--a--b/snapshots/c"));
        let blobs = root.path().join("models--a--b/blobs");
        for folder in [&folder, &cached, &blobs] {
            std::fs::create_dir_all(folder).expect("writable");
        }
        for (name, bytes) in potluck_trainer::tiny::FILES {
            std::fs::write(folder.join(name), bytes).expect("writable");
            std::fs::write(blobs.join(name), bytes).expect("writable");
            std::os::unix::fs::symlink(format!("../../blobs/{name}"), cached.join(name)).expect("linked");
        }
        let names = |place: &Path| here(place).map(|files| files.len()).map_err(|failure| failure.message);
        assert_eq!(names(&cached), Ok(potluck_trainer::tiny::FILES.len()));
        assert_eq!(names(&folder), Ok(potluck_trainer::tiny::FILES.len()));
        let secret = root.path().join("secrets.json");
        std::fs::write(&secret, "{}").expect("writable");
        for place in [&folder, &cached] {
            std::os::unix::fs::symlink(&secret, place.join("generation_config.json")).expect("linked");
            let failure = here(place).map(drop).expect_err("it would be published");
            assert!(failure.kind == Kind::Usage && failure.message.contains("secrets.json"), "{failure:?}");
            assert!(failure.hint.is_some_and(|hint| hint.contains("cp --remove-destination")));
        }
        // So is a folder in it; other folders of the cache are not, nor is a folder that only looks like one.
        let blob = |place: &Path, to: &str| {
            std::fs::create_dir_all(place).expect("writable");
            for (name, _) in potluck_trainer::tiny::FILES {
                std::os::unix::fs::symlink(format!("{to}/{name}"), place.join(name)).expect("linked");
            }
            names(place)
        };
        let all = Ok(potluck_trainer::tiny::FILES.len());
        assert_eq!(blob(&cached.join("onnx/small"), "../../../../blobs"), all);
        for (place, to) in [
            ("models--a--c/snapshots/c/onnx", "../../../../models--a--b/blobs"),
            ("models--a--b/snapshots/c/deep", "../../../../dl"),
            ("snapshots/c/onnx", "../../../models--a--b/blobs"),
            ("models--a--b/other/c/onnx", "../../../blobs"),
        ] {
            let message = blob(&root.path().join(place), to).expect_err(place);
            assert!(message.contains("leads out of the folder"), "{place}: {message}");
        }
        // The cache's own folder of blobs is no way out either.
        std::fs::create_dir_all(root.path().join("models--d--e")).expect("writable");
        std::os::unix::fs::symlink(root.path().join("dl"), root.path().join("models--d--e/blobs")).expect("linked");
        let led = blob(&root.path().join("models--d--e/snapshots/c"), "../../blobs");
        assert!(led.is_err_and(|message| message.contains("leads out of the folder")));
    }

    #[test]
    fn paths_of_this_machine_are_left_out_of_configurations() {
        for told in ["/home/me/models/x", "~/x", "./x", "C:\\x", "a/b/c"] {
            let text = format!(r#"{{"a":1,"_name_or_path":{},"b":2}}"#, Value::from(told));
            let kept: Value = serde_json::from_slice(&without_paths(text.into_bytes())).expect("JSON");
            assert_eq!(kept, serde_json::json!({"a": 1, "b": 2}), "{told}");
        }
        for same in [r#"{ "_name_or_path" : "owner/name" }"#, r#"{"a":1}"#, "no json", r#"{"name_or_path":"x"}"#] {
            assert_eq!(without_paths(same.as_bytes().to_vec()), same.as_bytes());
        }
    }
}
