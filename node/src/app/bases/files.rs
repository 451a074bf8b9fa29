//! Which files make a base: on this machine, to publish them; in a manifest, to take them.

use std::path::Path;

use potluck_protocol::limits::JSON_MAX;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::text::RelPath;
use potluck_trainer::base;
use serde_json::Value;

use crate::failure::{Failure, Kind, Outcome};
use crate::store::Source;
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

/// The bounds of the files that are rewritten: those of the reader.
const REWRITTEN_MAX: u64 = 64 * JSON_MAX as u64;

/// The file that is wrong, and why.
pub type Wrong = (String, String);

/// The files of a base that lies here, under the paths that they get in its manifest.
pub fn here(place: &Path) -> Outcome<Vec<(RelPath, Source)>> {
    if place.is_file() {
        return Ok(vec![(portable(GGUF)?, Source::Path(place.to_path_buf()))]);
    }
    let names = base::folder_files(place).map_err(|error| failures::base(&error))?;
    names.into_iter().map(|name| Ok((portable(&name)?, source(place, &name)?))).collect()
}

fn portable(name: &str) -> Outcome<RelPath> {
    RelPath::new(name).map_err(|error| {
        Failure::new(Kind::Usage, error).hint("rename the file, in model.safetensors.index.json as well")
    })
}

fn source(place: &Path, name: &str) -> Outcome<Source> {
    let path = place.join(name);
    if !matches!(name, CONFIG | TOKENIZER_CONFIG) {
        return Ok(Source::Path(path));
    }
    let reading = |error| Failure::io(format!("read {}", path.display()), &error);
    // Whoever opened the base has read it; a file that grew since is left as it is, and the digests notice.
    if std::fs::metadata(&path).map_err(reading)?.len() > REWRITTEN_MAX {
        return Ok(Source::Path(path));
    }
    Ok(Source::Bytes(without_paths(potluck_trainer::files::read(&path, REWRITTEN_MAX).map_err(reading)?)))
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
    Ok(None)
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::id::{Digest, FileDigest};
    use potluck_protocol::manifest::{DatasetInfo, FileEntry, Kind as ManifestKind};
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
