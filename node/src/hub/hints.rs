//! What to type when a base does not come from the hub, and the exit code.

use super::HubError;
use super::digest::Wrong;
use super::settings::SettingsError;
use crate::failure::{Failure, Kind};

/// The ways to a base that need no hub.
const OTHERWISE: &str = "give a folder of safetensors or a .gguf file instead (`--base PATH`), or find the base in the swarm: `potluck search --kind base`, then `potluck base add BASE-ID` or `potluck pull ID`";

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        if let HubError::Io { source, .. } = &error {
            let failure = Self { message: error.to_string(), ..Self::io("", source) };
            return match failure.kind {
                Kind::NoSpace => failure.hint(SPACE),
                Kind::Denied => failure.hint("check who owns it, or put the cache elsewhere with HF_HOME"),
                _ => failure,
            };
        }
        let (kind, hint) = advice(&error);
        let failure = Self::new(kind, error);
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }
}

/// Exit code and hint; an empty one is none.
fn advice(error: &HubError) -> (Kind, String) {
    match error {
        HubError::Settings(SettingsError::NoHome) => {
            (Kind::Usage, "say where the hub's cache is: set HF_HOME to a folder".to_owned())
        }
        HubError::Settings(SettingsError::Value(..)) => {
            (Kind::Usage, "set it to another value, or unset it: docs/hub.md says what each variable does".to_owned())
        }
        HubError::Unreachable { .. } => {
            (Kind::Unreachable, format!("check the connection, or name a mirror with HF_ENDPOINT; or {OTHERWISE}"))
        }
        HubError::NotFound { .. } => (
            Kind::NotFound,
            format!(
                "check the spelling on the hub's page, and set HF_TOKEN if it is private; a folder that is meant must exist; or {OTHERWISE}"
            ),
        ),
        HubError::Token { .. } | HubError::Denied { .. } => (Kind::Denied, denied(error)),
        HubError::Status { status: 429, .. } => (
            Kind::Failed,
            "run the same command again later; whoever sends a token (HF_TOKEN) may ask the hub more often".to_owned(),
        ),
        HubError::Status { .. } => (Kind::Failed, format!("try again later; or {OTHERWISE}")),
        HubError::Page { endpoint, .. } => (Kind::Verification, no_page(endpoint)),
        HubError::Wrong { wrong, .. } => (Kind::Verification, wrong_file(wrong)),
        HubError::Answer { .. } => (Kind::Verification, MIRROR.to_owned()),
        HubError::NoBase { pickles: true, .. } => (
            Kind::Incompatible,
            "its *.bin files are pickles, which run code when opened: look for a version of the model with safetensors"
                .to_owned(),
        ),
        HubError::NoBase { .. } => (
            Kind::Incompatible,
            "a base needs config.json, tokenizer.json and safetensors; a .gguf file is given by its path".to_owned(),
        ),
        HubError::Broken { .. } => (Kind::Timeout, AGAIN.to_owned()),
        HubError::Offline { variable, .. } => (
            Kind::NotFound,
            format!(
                "unset {variable} and run the same command again: what is missing or wrong is fetched; or {OTHERWISE}"
            ),
        ),
        HubError::TooLarge { .. } => (
            Kind::Incompatible,
            format!("look for a smaller model; if this one is not so large on the hub's page, {MIRROR}"),
        ),
        HubError::NoSpace { .. } => (Kind::NoSpace, SPACE.to_owned()),
        HubError::Busy { .. } => (Kind::Conflict, "wait until it has ended, then run the command again".to_owned()),
        HubError::Interrupted => (Kind::Interrupted, AGAIN.to_owned()),
        HubError::Io { .. } => (Kind::Failed, String::new()),
    }
}

const MIRROR: &str = "check HF_ENDPOINT: it must be the hub or a mirror that speaks as the hub does";
const SPACE: &str = "free some space, or put the cache on another disk with HF_HOME";
const AGAIN: &str = "run the same command again: it goes on from what is here";

fn denied(error: &HubError) -> String {
    match error {
        HubError::Token { from, endpoint, .. } => format!(
            "make a new token at {endpoint}/settings/tokens and put it in the place of the one in {from} (`hf auth login` does so); or try without one: set HF_HUB_DISABLE_IMPLICIT_TOKEN=1"
        ),
        HubError::Denied { gate: Some(gate), token: Some(from), .. } => {
            format!("ask for access at {gate} with the account of the token in {from}; or {OTHERWISE}")
        }
        HubError::Denied { gate: Some(gate), .. } => {
            format!("ask for access at {gate}, then set HF_TOKEN to a token of yours; or {OTHERWISE}")
        }
        _ => format!(
            "the server or a proxy before it forbids this: check HF_ENDPOINT, HTTPS_PROXY and whether the token in HF_TOKEN may read it; or {OTHERWISE}"
        ),
    }
}

fn no_page(endpoint: &str) -> String {
    format!(
        "open {endpoint} in a browser: the network may want a log-in first, or a proxy may stand before the hub; if that is no hub, set HF_ENDPOINT"
    )
}

fn wrong_file(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Pointer => {
            "the server keeps this repository without its large files: name the hub or another mirror with HF_ENDPOINT"
                .to_owned()
        }
        Wrong::Page => "the network may want a log-in first, or HF_ENDPOINT names no hub".to_owned(),
        Wrong::Length { .. } | Wrong::Hash { .. } => MIRROR.to_owned(),
    }
}
