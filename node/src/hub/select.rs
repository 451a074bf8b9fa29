//! Which of a repository's files make the base.

use potluck_trainer::base::indexed_files;

use super::{HubError, HubId};

/// Lists the files of weights that are split.
pub const INDEX: &str = "model.safetensors.index.json";
/// Weights in one file.
pub const SINGLE: &str = "model.safetensors";
/// Without these there is no base.
pub const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];
/// The folder of chat templates beside the default one.
pub const TEMPLATES: &str = "additional_chat_templates";
/// With these it knows how it wants to be spoken to.
pub const HELPFUL: [&str; 5] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

/// The names of the files to fetch, weights last. `index` gives the index of a model that lies in several files.
pub fn names(
    id: &HubId,
    files: &[String],
    index: impl FnOnce(&str) -> Result<Vec<u8>, HubError>,
) -> Result<Vec<String>, HubError> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let missing = |missing| HubError::NoBase { id: id.to_string(), missing, pickles: false };
    if let Some(absent) = NEEDED.into_iter().find(|name| !has(name)) {
        return Err(missing(absent));
    }
    let small = NEEDED.into_iter().chain(HELPFUL.into_iter().filter(|name| has(name)));
    let mut names: Vec<String> = small.map(str::to_owned).collect();
    names.extend(files.iter().filter(|file| is_template(file)).cloned());
    if has(SINGLE) {
        // As in a folder: an index beside it is not read.
        names.push(SINGLE.to_owned());
    } else if has(INDEX) {
        names.push(INDEX.to_owned());
        names.extend(weights(id, &index(INDEX)?)?);
    } else {
        let pickles =
            files.iter().any(|file| file.ends_with(".bin") || file.ends_with(".pt") || file.ends_with(".pth"));
        return Err(HubError::NoBase { id: id.to_string(), missing: "model.safetensors", pickles });
    }
    match names.iter().find(|name| !has(name)) {
        Some(name) => Err(HubError::answer(&id.to_string(), format!("its index names `{name}`, which is not there"))),
        None => Ok(names),
    }
}

/// A chat template beside the default one: a plain name in its own folder. // I13
pub fn is_template(file: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let name = file.strip_prefix(TEMPLATES).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    name.len() <= 255 && name.ends_with(".jinja") && !name.starts_with('.') && name.bytes().all(plain)
}

/// Plain names of safetensors: the same rule by which a folder is read. // I13
pub fn weights(id: &HubId, index: &[u8]) -> Result<Vec<String>, HubError> {
    let wrong = |error: &dyn std::fmt::Display| HubError::answer(&id.to_string(), format!("{INDEX}: {error}"));
    let index = serde_json::from_slice(index).map_err(|error| wrong(&error))?;
    Ok(indexed_files(&index).map_err(|error| wrong(&error))?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(files: &[&str], index: &str) -> Result<Vec<String>, String> {
        let files: Vec<_> = files.iter().map(|&file| file.to_owned()).collect();
        let id = "a/b".parse().expect("an id");
        names(&id, &files, |_| Ok(index.as_bytes().to_vec())).map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_is_needed_is_taken() {
        let all = [
            "README.md",
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "onnx/model.onnx",
            "code.py",
            "special_tokens_map.json",
            INDEX,
            "additional_chat_templates/tool_use.jinja",
            "additional_chat_templates/../x.jinja",
            "additional_chat_templates/x.py",
        ];
        let taken = select(&all, "").expect("a base");
        let small = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
        let rest = ["additional_chat_templates/tool_use.jinja", "model.safetensors"];
        assert_eq!(taken, [&small[..], &rest].concat(), "and no index beside a single file");
    }

    #[test]
    fn an_index_decides_which_weights() {
        let files =
            ["config.json", "tokenizer.json", INDEX, "m-1.safetensors", "m-2.safetensors", "consolidated.safetensors"];
        let index = r#"{"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#;
        assert_eq!(select(&files, index).expect("a base")[3..], ["m-1.safetensors", "m-2.safetensors"]);
        for wrong in
            ["", "{}", r#"{"weight_map":{"a":"../m-1.safetensors"}}"#, r#"{"weight_map":{"a":"m-3.safetensors"}}"#]
        {
            assert!(select(&files, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(select(&["config.json", "model.safetensors"], "").is_err_and(|error| error.contains("tokenizer.json")));
        assert!(select(&["tokenizer.json"], "").is_err_and(|error| error.contains("config.json")));
        let pickled = ["config.json", "tokenizer.json", "pytorch_model.bin"].map(str::to_owned);
        let error = names(&"a/b".parse().expect("an id"), &pickled, |_| Ok(Vec::new())).expect_err("no safetensors");
        assert!(matches!(error, HubError::NoBase { pickles: true, .. }));
    }
}
